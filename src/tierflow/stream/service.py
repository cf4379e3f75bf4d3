"""The watching process: owns the lock, the ledger and all parts of a stream, and runs them until it is told to end."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from tierflow.errors import TryAgainError
from tierflow.stream.begin import configure, own_output
from tierflow.stream.choose import Choice
from tierflow.stream.commit import Committer
from tierflow.stream.dispatch import Dispatcher
from tierflow.stream.hooks import Hooks
from tierflow.stream.ledger import Ledger
from tierflow.stream.naming import StreamNames
from tierflow.stream.publisher import Publisher
from tierflow.stream.readiness import Readiness
from tierflow.stream.ready_thread import ReadyThread
from tierflow.stream.recover import recover
from tierflow.stream.requests import handle
from tierflow.stream.show import Show, ended_line
from tierflow.stream.signals import heard
from tierflow.stream.states import OPEN, State
from tierflow.stream.status import process_space
from tierflow.stream.watcher import Watcher
from tierflow.stream.whole import make_whole
from tierflow.stream.window import Window

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from tierflow.config import Config
    from tierflow.stream.signals import Asked

_LOG = logging.getLogger(__name__)

GRACE_S = 10.0
"""After a first signal: seconds in which what is being handled may be finished."""
KEEP_NEWS = 20_000
KEEP_BATCHES = 5_000
_TICK_S = 0.2
_BEAT_S = 1.0
_TRIM_S = 60.0


class Service:
    """A stream that runs.

    Args:
        config: Resolved configuration, with an absolute input.
        root: Input folder.
        output: Output folder.
        once: End when everything that is there has been handled.
        idle_s: End after so many seconds without anything to do; None: never.
        console: Where a status line goes; None: nowhere.
    """

    def __init__(
        self,
        config: Config,
        root: Path,
        output: Path,
        *,
        once: bool = False,
        idle_s: float | None = None,
        console: Console | None = None,
    ) -> None:
        self._config, self._root, self._output = config, root, output.absolute()
        self._idle_s = 0.0 if once else idle_s
        self._show = Show(console)
        self._wake = threading.Event()
        self._started_at = time.time()
        self._draining = self._stopping = False
        self._idle_since: float | None = None
        self._beat_at = self._trimmed_at = 0.0
        self._problem: str | None = None
        self._refused: str | None = None
        self._asked_at = 0.0

    def run(self) -> int:
        """Watch until told to end.

        Returns:
            0.

        Raises:
            TryAgainError: if another process uses the output.
            ConfigError: if the configuration is wrong.
            TierflowError: if something can't go on; nothing is lost.
        """
        with own_output(self._output), heard() as asked:
            configure(self._config, self._output)
            self._ledger = Ledger(self._output)
            try:
                self._run(asked)
            finally:
                self._ledger.close()
        return 0

    # ---- what requests ask for

    def pause(self) -> None:
        """Begin no new micro-batch; go on watching, also after the next start."""
        self._ledger.note(paused=True)
        self._dispatcher.paused = True
        self._ledger.tell("state", {"paused": True})

    def resume(self) -> None:
        """Go on."""
        self._ledger.note(paused=False)
        self._dispatcher.paused = False
        self._ledger.tell("state", {"paused": False})

    def drain(self) -> None:
        """Handle everything that is ready, then end."""
        self._draining = True
        self.resume()

    def stop(self) -> None:
        """Finish what is being handled, then end."""
        self._stopping = True

    def rescan(self) -> None:
        """Look at all files now."""
        self._watcher.rescan_now()

    def decide_again(self, object_ids: Sequence[str]) -> int:
        """Bring objects to where people's decisions say that they belong."""
        return self._committer.decide_again(object_ids)

    # ---- running

    def _run(self, asked: Asked) -> None:
        with ExitStack() as parts:
            self._note("running")
            if not self._start(parts, asked):
                self._note("stopped")
                return
            self._show.start(f"watching {self._root}; results in {self._output}; end with Ctrl-C")
            parts.callback(self._show_end)
            while not self._is_over(asked):
                self._turn()
            self._finish()
        make_whole(self._ledger, self._output, self._config, self._window, report=self._is_drained())
        self._note("stopped")

    def _show_end(self) -> None:
        left_out = self._watcher.health()["left_out_message"]
        self._show.stop(ended_line(self._ledger.counts(), self._output, left_out=left_out))

    def _start(self, parts: ExitStack, asked: Asked) -> bool:
        """Start all parts; they are ended in the reverse order, so that what tells of the others ends last.

        Returns:
            False if a signal asked for the end before they could be started.
        """
        config, ledger, output = self._config, self._ledger, self._output
        self._window = Window(config)
        self._window.load(output)
        publisher, hooks = Publisher(ledger, config, output), Hooks(ledger, config)
        self._committer = Committer(
            ledger, config, output, self._window, choice=Choice(config, ledger), on_fold=publisher.dirty
        )
        names = StreamNames(ledger, config, self._root)
        if not self._recover(asked):
            return False
        for told in (hooks, publisher):
            told.start()
            parts.callback(told.stop)
        self._ready = ReadyThread(Readiness(ledger, config, self._root, names=names), wake=self._wake.set)
        self._watcher = Watcher(ledger, config, self._root, output, self._ready.bell)
        self._dispatcher = Dispatcher(
            ledger,
            config,
            output,
            self._committer,
            names,
            wake=self._wake.set,
            newer_than=self._watcher.newer_than,
        )
        parts.callback(self._dispatcher.close)
        self._dispatcher.paused = bool(ledger.fact("paused", False))
        for part in (self._ready, self._watcher):
            part.start()
            parts.callback(part.stop)
        return True

    def _recover(self, asked: Asked) -> bool:
        """Finish what a former process left. While a disk or the input is away, that waits, as all handling does.

        Returns:
            False if a signal asked for the end first.

        Raises:
            TryAgainError: if a disk or the input is away and this is to end once there is nothing more to do.
        """
        while asked.to_stop is None:
            try:
                recover(self._ledger, self._committer)
            except TryAgainError as error:
                if self._idle_s is not None:
                    raise
                if self._problem is None:
                    _LOG.warning("what was left unfinished waits: %s", error)
                self._problem = str(error)
                with suppress(TryAgainError):
                    self._note("running")
                time.sleep(_BEAT_S)
            else:
                self._problem = None
                return True
        return False

    def _turn(self) -> None:
        self._hear()
        try:
            wait_s = self._dispatcher.step(time.time())
            self._beat()
            self._problem = None
        except TryAgainError as error:
            if self._problem is None:
                _LOG.warning("waiting: %s", error)
            wait_s, self._problem = _BEAT_S, str(error)
        if self._ready.error is not None:
            raise self._ready.error
        self._wake.wait(min(wait_s, _TICK_S))
        self._wake.clear()

    def _hear(self) -> None:
        """Carry out what people ask for. Where that can't be done for now, only they wait."""
        now = time.monotonic()
        if now < self._asked_at:
            return
        try:
            handle(self._ledger, self)
            self._refused = None
        except TryAgainError as error:
            if self._refused is None:
                _LOG.warning("a request waits: %s", error)
            self._refused, self._asked_at = str(error), now + _BEAT_S

    def _is_over(self, asked: Asked) -> bool:
        if asked.to_stop is not None or self._stopping:
            return True
        states = self._ledger.counts()
        if self._draining:
            # Asked for while nobody watched, it is heard before the first look at the folder.
            begun = states[State.SEEN] + states[State.READY] + states[State.RUNNING] + self._dispatcher.flying()
            return not begun and self._looked()
        if self._idle_s is None:
            return False
        # What a person has paused isn't waited for.
        left = OPEN - {State.READY, State.FAILED} if self._dispatcher.paused else OPEN
        if any(states[state] for state in left) or self._dispatcher.flying() or not self._looked():
            self._idle_since = None
            return False
        self._idle_since = self._idle_since or time.monotonic()
        return time.monotonic() - self._idle_since >= self._idle_s

    def _looked(self) -> bool:
        """Tell whether all files were looked at since the start."""
        return self._watcher.health()["last_full_at"] is not None

    def _finish(self) -> None:
        """Let what is being handled come to its end, for some seconds."""
        self._dispatcher.paused = True
        end = time.monotonic() + GRACE_S
        while self._dispatcher.flying() and not self._dispatcher.held() and time.monotonic() < end:
            self._turn()
        if self._is_drained():
            self._ledger.tell("drained", {str(state): n for state, n in self._ledger.counts().items()})

    def _is_drained(self) -> bool:
        """Tell whether it ended because everything was handled, and not because it was told to stop."""
        return (self._draining or self._idle_since is not None) and not self._stopping

    # ---- signs of life

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._beat_at < _BEAT_S:
            return
        self._beat_at = now
        state = "draining" if self._draining else "paused" if self._dispatcher.paused else "running"
        self._note(state)
        self._committer.summary.tidy()
        oldest = self._ledger.query("SELECT min(ready_at) FROM objects WHERE state = ?", (State.READY,))[0][0]
        lag_s = max(time.time() - oldest, 0.0) if oldest else 0.0
        self._show.update(self._ledger.counts(), lag_s=lag_s, state=state, problem=self._obstacle())
        if now - self._trimmed_at >= _TRIM_S:
            self._trimmed_at = now
            self._trim()

    def _obstacle(self) -> str | None:
        away = self._watcher.health()["message"] if self._watcher.newer_than() is None else None
        return self._dispatcher.obstacle or self._ready.obstacle or self._problem or self._refused or away or None

    def _note(self, state: str) -> None:
        dispatcher = getattr(self, "_dispatcher", None)
        fact: dict[str, Any] = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "process_space": process_space(),
            "input": str(self._root),
            "started_at": self._started_at,
            "state": state,
            "beat_at": time.time(),
            "workers": dispatcher.pids() if dispatcher else [],
            "problem": self._obstacle() if dispatcher else self._problem,
        }
        self._ledger.note(service=fact)

    def _trim(self) -> None:
        self._ledger.trim_news(keep=KEEP_NEWS)
        with self._ledger.transaction() as db:
            db.execute(
                "DELETE FROM batches WHERE stage IN ('done', 'given_up') AND id <= (SELECT max(id) FROM batches) - ?",
                (KEEP_BATCHES,),
            )

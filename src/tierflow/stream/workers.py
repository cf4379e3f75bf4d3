"""Warm worker processes, as the coordinator sees them: started, given batches, watched, ended, replaced."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tierflow.errors import EXIT_CONFIG, EXIT_TRY_AGAIN, ConfigError, TierflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LOG = logging.getLogger(__name__)

WARM_UP_S = 300.0
"""Numba compiles for a minute on a slow machine, once; a worker that isn't ready after this time is ended."""

MAIN = "tierflow.stream.worker_main"
_LAST_WORDS = 400
_STARTS = 5
_OWN_PAUSE_S = 5.0
_FULL_S = 5.0
_SINGLE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class Event(NamedTuple):
    """Something that a worker told, or that happened to it.

    Attributes:
        kind: `ready`; `done` and `failed` end the batch it had; `died` too, if it had one.
        batch: Number of the batch.
        detail: What it said: `seconds`, `code`, `message`.
    """

    kind: Literal["ready", "done", "failed", "died"]
    batch: int | None
    detail: dict[str, Any]


@dataclass(eq=False)
class _Process:
    popen: subprocess.Popen[bytes]
    log: Path
    heard_at: float
    ready: bool = False
    batch: int | None = None
    broken: dict[str, Any] | None = None
    ended: str | None = None


def default_workers() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Pool:
    """Some workers.

    Args:
        config: Configuration file of the stream.
        output: Output folder.
        size: Number of processes.
        hang_s: Seconds of silence after which a worker that has a batch is ended.
        wake: Called from another thread when a worker said something.
        main: Module that a worker runs.
    """

    def __init__(
        self,
        config: Path,
        output: Path,
        *,
        size: int,
        hang_s: float,
        wake: Callable[[], None],
        main: str = MAIN,
    ) -> None:
        self._config, self._output, self._main = config, output, main
        self._size, self._hang_s = size, hang_s
        self._wake = wake
        self._inbox: SimpleQueue[tuple[_Process, bytes | None]] = SimpleQueue()
        self._processes: list[_Process] = []
        self._started = 0
        self._failed_starts = 0
        self._not_before = 0.0
        self._closed = False
        self._looked_at = time.monotonic()

    def start(self) -> None:
        """Start what is missing; a worker that doesn't even get ready is tried again with growing pauses.

        Raises:
            ConfigError: if the configuration is at fault.
            TierflowError: if workers don't start again and again.
        """
        while not self._closed and len(self._processes) < self._size and time.monotonic() >= self._not_before:
            try:
                self._processes.append(self._spawn())
            except OSError as error:
                self._not_now(error.strerror or str(error))

    def idle(self) -> int:
        """Return how many workers wait for a batch."""
        return sum(process.ready and process.batch is None for process in self._processes)

    @property
    def size(self) -> int:
        """Number of workers that are wanted."""
        return self._size

    def pids(self) -> list[int]:
        """Return the process numbers."""
        return [process.popen.pid for process in self._processes]

    def busy(self) -> Iterator[tuple[int, int, float]]:
        """Yield (batch, process number, seconds since it was last heard of)."""
        now = time.monotonic()
        for process in self._processes:
            if process.batch is not None:
                yield process.batch, process.popen.pid, now - process.heard_at

    def send(self, number: int, *, shard: Path, table: Path) -> bool:
        """Give a batch to a worker that waits.

        Args:
            number: Number of the batch.
            shard: Its shard table.
            table: Its extract table, to be written.

        Returns:
            False if there is none, or it died this moment.
        """
        free = next((process for process in self._processes if process.ready and process.batch is None), None)
        if free is None or free.popen.stdin is None:
            return False
        job = json.dumps({"batch": number, "shard": str(shard), "table": str(table)})
        try:
            free.popen.stdin.write(job.encode() + b"\n")
            free.popen.stdin.flush()
        except OSError:
            # Its reader is going to notice the end.
            free.ready = False
            return False
        free.batch, free.heard_at = number, time.monotonic()
        return True

    def events(self) -> list[Event]:
        """Return what happened since the last call; workers that hang are ended, dead ones replaced."""
        found: list[Event] = []
        self._notice_own_pause()
        while not self._inbox.empty():
            process, line = self._inbox.get()
            if process in self._processes:
                process.heard_at = time.monotonic()
                found += self._gone(process) if line is None else self._heard(process, json.loads(line))
        for process in list(self._processes):
            found += self._watch(process)
        self.start()
        return found

    def next_look(self) -> float:
        """Return the seconds until a silent worker must be looked at, or a missing one started."""
        now = time.monotonic()
        limited = [process for process in self._processes if self._limited(process)]
        waits = [process.heard_at + self._limit(process) - now for process in limited]
        if len(self._processes) < self._size:
            waits.append(self._not_before - now)
        return max(min(waits, default=3600.0), 0.0)

    def close(self) -> None:
        """End all workers: at once those that have a batch, by the end of their input those that have none."""
        self._closed = True
        for process in self._processes:
            if process.batch is not None:
                process.popen.kill()
            _hang_up(process)
        for process in self._processes:
            # One that waits for a dead network share can't even be killed; nobody waits for it either.
            with suppress(subprocess.TimeoutExpired):
                process.popen.wait(timeout=2.0)
        self._processes.clear()

    def _notice_own_pause(self) -> None:
        """After this process was stopped for a while, what workers said meanwhile may not have been read yet."""
        now = time.monotonic()
        if now - self._looked_at > _OWN_PAUSE_S:
            for process in self._processes:
                process.heard_at = now
        self._looked_at = now

    # ---- one process

    def _spawn(self) -> _Process:
        self._started += 1
        log = self._output / "logs" / "stream" / f"worker-{self._started % (2 * self._size)}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as words:
            popen = subprocess.Popen(
                [sys.executable, "-m", self._main, str(self._config), str(self._output), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                env=os.environ | dict.fromkeys(_SINGLE, "1"),
                # Ctrl-C in the terminal is the coordinator's to judge.
                start_new_session=True,
            )
        process = _Process(popen, log, time.monotonic())
        threading.Thread(target=self._listen, args=(process,), name=f"worker-{popen.pid}", daemon=True).start()
        return process

    def _listen(self, process: _Process) -> None:
        stdout = process.popen.stdout
        assert stdout is not None
        with stdout:
            for line in stdout:
                self._inbox.put((process, line))
                self._wake()
        process.popen.wait()
        self._inbox.put((process, None))
        self._wake()

    def _heard(self, process: _Process, said: dict[str, Any]) -> list[Event]:
        if "broken" in said:
            process.broken = said
        elif "ready" in said:
            process.ready, self._failed_starts = True, 0
            return [Event("ready", None, said)]
        elif "done" in said or "failed" in said:
            process.batch = None
            kind: Literal["done", "failed"] = "done" if "done" in said else "failed"
            return [Event(kind, said[kind], said)]
        return []

    def _watch(self, process: _Process) -> list[Event]:
        silent = time.monotonic() - process.heard_at
        if not self._limited(process) or silent < self._limit(process):
            return []
        process.ended = f"the worker was silent for {silent:.0f} s (stream.retry.hang_s) and was ended"
        return self._gone(process)

    def _limited(self, process: _Process) -> bool:
        return process.batch is not None or not process.ready

    def _limit(self, process: _Process) -> float:
        return self._hang_s if process.ready else max(WARM_UP_S, self._hang_s)

    def _gone(self, process: _Process) -> list[Event]:
        self._end(process)
        message = process.ended or _how_it_ended(process)
        if not process.ready:
            self._not_started(process, message)
            return []
        return [Event("died", process.batch, {"message": message, "pid": process.popen.pid})]

    def _end(self, process: _Process) -> None:
        self._processes.remove(process)
        process.popen.kill()
        _hang_up(process)

    def _not_started(self, process: _Process, message: str) -> None:
        said = process.broken or {}
        if said.get("broken") == EXIT_CONFIG:
            raise ConfigError(said["message"])
        if said.get("broken") == EXIT_TRY_AGAIN:
            self._not_now(said["message"])
            return
        self._failed_starts += 1
        if self._failed_starts >= _STARTS:
            raise TierflowError(
                f"workers don't start ({self._failed_starts} times one after another), the last one: "
                f"{said.get('message') or message}; see {process.log}. Nothing is lost: mend it and start again"
            )
        self._not_before = time.monotonic() + 2.0 ** (self._failed_starts - 1)

    def _not_now(self, why: str) -> None:
        """Put off a start for a reason that passes, such as a full disk or want of memory: it isn't counted."""
        _LOG.warning("a worker can't be started now (%s): tried again in %.0f s", why, _FULL_S)
        self._not_before = time.monotonic() + _FULL_S


def _hang_up(process: _Process) -> None:
    if process.popen.stdin is not None:
        with suppress(OSError):
            process.popen.stdin.close()


def _how_it_ended(process: _Process) -> str:
    code = process.popen.poll()
    if code is not None and code < 0:
        with suppress(ValueError):
            name = signal.Signals(-code).name
            hint = " (by a person, or because memory ran out)" if name == "SIGKILL" else ""
            return f"the worker was ended by {name}{hint}{_last_words(process.log)}"
    return f"the worker ended with exit code {code}{_last_words(process.log)}"


def _last_words(log: Path) -> str:
    with suppress(OSError), log.open(encoding="utf-8", errors="replace") as lines:
        text = " | ".join(line.strip() for line in deque(lines, maxlen=6) if line.strip())
        return f": {text[-_LAST_WORDS:]}" if text else ""
    return ""

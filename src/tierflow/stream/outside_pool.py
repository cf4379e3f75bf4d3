"""Workers elsewhere, as the coordinator sees them: the same calls as `workers.Pool`, over files of the output."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from tierflow.stream import offers
from tierflow.stream.workers import Event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOG = logging.getLogger(__name__)

SILENT_S = 20.0
"""Programs that tend batches say every second that they are alive. File servers may be some seconds late."""

_LOOK_S = 0.05
_OWN_PAUSE_S = 5.0
_WATCH_S = 1.0
_REMIND_S = 60.0


@dataclass(slots=True)
class _Out:
    batch: int
    heard_at: float
    beaten_at: int | None = None


class OutsidePool:
    """Whoever claims what is offered.

    Args:
        output: Output folder.
        size: Batches that are offered or worked on at a time.
        hang_s: Seconds without progress after which a batch is taken back from a process that measures only this one.
    """

    def __init__(self, output: Path, *, size: int, hang_s: float) -> None:
        self._output, self._size, self._hang_s = output, size, hang_s
        self._out: dict[int, _Out] = {}
        # Of a call that was cut off because the output's disk went away; told by the next one.
        self._happened: list[Event] = []
        # What a worker answers that was silent, or that has missed a restart, must be no answer to another offer.
        self._numbers = count(time.time_ns() // 1_000_000)
        self._looked_at = time.monotonic()
        self._watched_at = -_WATCH_S
        self._reminded = False

    def start(self) -> None:
        """Take back what a former process has offered: those batches begin anew."""
        offers.withdraw_all(self._output)
        self._watch(time.monotonic())

    @property
    def size(self) -> int:
        """Batches that may be out at a time."""
        return self._size

    def idle(self) -> int:
        """Return how many more batches may be offered."""
        return self._size - len(self._out)

    def pids(self) -> list[int]:
        """Return nothing: the processes aren't ours."""
        return []

    def busy(self) -> Iterator[tuple[int, int, float]]:
        """Yield (batch, 0, seconds since it was last heard of) of those that somebody has claimed."""
        now = time.monotonic()
        for out in self._out.values():
            if out.beaten_at is not None:
                yield out.batch, 0, now - out.heard_at

    def send(self, number: int, *, shard: Path, table: Path) -> bool:
        """Offer a batch; False if enough are out."""
        if self.idle() <= 0:
            return False
        paths = [str(path.relative_to(self._output)) for path in (shard, table)]
        offered = offers.Offer(next(self._numbers), *paths)
        offers.offer(self._output, offered)
        self._out[offered.number] = _Out(number, time.monotonic())
        return True

    def events(self) -> list[Event]:
        """Return what happened since the last call; batches of workers that are silent are taken back.

        Raises:
            OSError: if the output is away; nothing of what happened is forgotten.
        """
        now = time.monotonic()
        self._watch(now)
        self._notice_own_pause(now)
        for number, said in offers.answers(self._output) if self._out else ():
            # One that was taken back may still be answered.
            answered = self._out.pop(number, None)
            if answered is not None:
                self._happened.append(Event(said["kind"], answered.batch, said))
        for number, out in list(self._out.items()):
            self._listen(number, out, now)
            self._remind(out, now)
            if out.beaten_at is None or now - out.heard_at <= self._limit(number):
                continue
            offers.withdraw(self._output, number)
            del self._out[number]
            message = f"the worker that had claimed it was silent for {now - out.heard_at:.0f} s: killed, or cut off"
            self._happened.append(Event("died", out.batch, {"message": message}))
        found, self._happened = self._happened, []
        return found

    def next_look(self) -> float:
        """Return the seconds until the next look for answers."""
        return _LOOK_S if self._out else 3600.0

    def close(self) -> None:
        """Take everything back."""
        offers.unwatch(self._output)
        for number in self._out:
            offers.withdraw(self._output, number)
        self._out.clear()

    def _limit(self, number: int) -> float:
        """Return the seconds of silence that a batch may have."""
        # Who tends batches of others says so whatever they do; who measures himself says so when he gets on.
        return self._hang_s if offers.has_begun(self._output, number) else min(SILENT_S, self._hang_s)

    def _listen(self, number: int, out: _Out, now: float) -> None:
        beaten_at = offers.beaten_at(self._output, number)
        # Times of a file server are compared with each other only. A claim that vanishes stays silent.
        if beaten_at is not None and beaten_at != out.beaten_at:
            out.beaten_at, out.heard_at = beaten_at, now

    def _remind(self, out: _Out, now: float) -> None:
        """Say once that nobody works, where that may have been forgotten."""
        if out.beaten_at is not None:
            self._reminded = False
        elif now - out.heard_at > _REMIND_S and not self._reminded:
            self._reminded = True
            _LOG.warning("nobody has taken a batch for %.0f s: start `tierflow work %s`", _REMIND_S, self._output)

    def _notice_own_pause(self, now: float) -> None:
        """After this process was stopped, or waited for the file server, workers may have done so, too."""
        if now - self._looked_at > _OWN_PAUSE_S:
            for out in self._out.values():
                out.heard_at = now
        self._looked_at = now

    def _watch(self, now: float) -> None:
        if now - self._watched_at >= _WATCH_S:
            self._watched_at = now
            offers.watch(self._output)

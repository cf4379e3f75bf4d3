"""Workers elsewhere, as the coordinator sees them: the same calls as `workers.Pool`, over files of the output."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierflow.stream import offers
from tierflow.stream.workers import Event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOOK_S = 0.1


@dataclass(slots=True)
class _Out:
    heard_at: float
    beaten_at: int | None = None


class OutsidePool:
    """Whoever claims what is offered.

    Args:
        output: Output folder.
        size: Batches that are offered or worked on at a time.
        hang_s: Seconds of silence after which a batch that was claimed is taken back.
    """

    def __init__(self, output: Path, *, size: int, hang_s: float) -> None:
        self._output, self._size, self._hang_s = output, size, hang_s
        self._out: dict[int, _Out] = {}

    def start(self) -> None:
        """Take back what a former process has offered: those batches begin anew."""
        offers.withdraw_all(self._output)

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
        for number, out in self._out.items():
            if out.beaten_at is not None:
                yield number, 0, now - out.heard_at

    def send(self, number: int, *, shard: Path, table: Path) -> bool:
        """Offer a batch; False if enough are out."""
        if self.idle() <= 0:
            return False
        paths = [str(path.relative_to(self._output)) for path in (shard, table)]
        offers.offer(self._output, offers.Offer(number, *paths))
        self._out[number] = _Out(time.monotonic())
        return True

    def events(self) -> list[Event]:
        """Return what happened since the last call; batches of workers that are silent are taken back."""
        if not self._out:
            return []
        found = []
        for number, said in offers.answers(self._output):
            # One that was taken back may still be answered.
            if self._out.pop(number, None) is not None:
                kind = next(kind for kind in ("done", "failed", "died") if kind in said)
                found.append(Event(kind, number, said))
        for number, out in list(self._out.items()):
            self._listen(number, out)
            silent_s = time.monotonic() - out.heard_at
            if out.beaten_at is not None and silent_s > self._hang_s:
                offers.withdraw(self._output, number)
                del self._out[number]
                message = f"whoever had claimed it was silent for {silent_s:.0f} s (stream.retry.hang_s)"
                found.append(Event("died", number, {"message": message}))
        return found

    def next_look(self) -> float:
        """Return the seconds until the next look for answers."""
        return _LOOK_S if self._out else 3600.0

    def close(self) -> None:
        """Take everything back."""
        for number in self._out:
            offers.withdraw(self._output, number)
        self._out.clear()

    def _listen(self, number: int, out: _Out) -> None:
        beaten_at = offers.beaten_at(self._output, number)
        # Times of a file server are compared with each other only. A claim that vanishes stays silent.
        if beaten_at is not None and beaten_at != out.beaten_at:
            out.beaten_at, out.heard_at = beaten_at, time.monotonic()

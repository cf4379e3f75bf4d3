"""What Snakemake's `from_queue` gets: batches of a stream that were claimed for it."""

from __future__ import annotations

import threading
import time
from queue import Queue
from typing import TYPE_CHECKING

from tierflow.stream import offers
from tierflow.stream.outside_pool import SILENT_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

END = ""
"""What the queue holds last."""

BEGIN_S = 600.0
"""A job that hasn't begun after so long never will: Snakemake gave it up, or can't start programs."""

_LOOK_S = 0.05
_BEAT_S = 1.0


class Feed(Queue[str]):
    """A queue of targets that fills as batches are offered; it begins to when it is asked for the first.

    A file whose source vanished ends Snakemake's queue, even with `--keep-going`: only batches that were claimed go in.
    Snakemake gets slower with every target that is done, so there is an end; begin it again then. Jobs that read the
    Snakefile once more, and its linter, never ask.

    Args:
        target: Makes a target of an offer's number.
        most: Number of batches after which the queue ends. It also ends when nobody watches any more.
        output: Output folder of the stream.
    """

    def __init__(self, target: Callable[[int], str], *, most: int, output: Path) -> None:
        super().__init__()
        self._target, self._most, self._output = target, most, output.absolute()
        self._waiting: dict[int, float] = {}
        self._fed = 0
        self._beaten_at = 0.0
        self._watched = _Watched(self._output)
        self._thread = threading.Thread(target=self._fill, name="offers", daemon=True)
        self._starting = threading.Lock()

    def get(self, block: bool = True, timeout: float | None = None) -> str:
        """Return the next target."""
        with self._starting:
            if self._thread.ident is None:
                self._thread.start()
        return super().get(block, timeout)

    def _fill(self) -> None:
        while self._watched.now() and (self._fed < self._most or self._waiting):
            self._tend()
            if self._fed < self._most and (found := offers.claim(self._output)) is not None:
                self._feed(found.number)
            else:
                time.sleep(_LOOK_S)
        self.put(END)

    def _feed(self, number: int) -> None:
        self._waiting[number] = time.monotonic()
        self._fed += 1
        self.put(self._target(number))

    def _tend(self) -> None:
        now = time.monotonic()
        if now - self._beaten_at < _BEAT_S:
            return
        self._beaten_at = now
        # Until its turn has come, nobody else says that it is alive.
        self._waiting = {
            number: since
            for number, since in self._waiting.items()
            if now - since < BEGIN_S
            and not offers.has_begun(self._output, number)
            and offers.beat(self._output, number)
        }


class _Watched:
    """Whether somebody offers batches and wants answers."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._said_at: int | None = None
        self._heard_at = time.monotonic()

    def now(self) -> bool:
        """Tell whether somebody does now."""
        said_at = offers.watched_at(self._output)
        if said_at is None:
            return False
        if said_at != self._said_at:
            self._said_at, self._heard_at = said_at, time.monotonic()
        return time.monotonic() - self._heard_at < SILENT_S

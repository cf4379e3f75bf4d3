"""Whose turn it is, how much of it makes a batch, and whether it still waits for others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from tierflow.stream.batches import MB, TARGET_S, Due, Limits, Speed, next_again, next_ready
from tierflow.stream.states import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from tierflow.config import Config
    from tierflow.stream.ledger import Ledger

LEAST_S = 0.25
"""Seconds of measuring below which a batch isn't split among workers: its commit has a fixed cost."""
_LOOK_S = 1.0
_SOON_S = 0.05


class Load(NamedTuple):
    """What is under way.

    Attributes:
        size: Batches that may be measured at a time.
        idle: How many more.
        again: Batches on their way whose objects had failed before.
        committing: One is being committed.
    """

    size: int
    idle: int
    again: int
    committing: bool


class Turns:
    """Chooses what is begun next.

    Args:
        ledger: The ledger.
        config: Configuration of the stream.
        newer_than: Gives the number of the object after which objects may be begun, 0 for all; None: nothing.

    Attributes:
        speed: How long measuring takes; taught by the caller.
    """

    def __init__(self, ledger: Ledger, config: Config, *, newer_than: Callable[[], int | None]) -> None:
        self._ledger, self._newer_than = ledger, newer_than
        self._settings, self._retry = config.stream.batches, config.stream.retry
        self._limit_size = config.scan.shard_mb * MB
        self._again_last = False
        self.speed = Speed()

    def next(self, now: float, load: Load) -> tuple[Due | None, float]:
        """Return what is to be begun now; or None, and the seconds until there may be something.

        Args:
            now: Seconds since 1970.
            load: What is under way.
        """
        newer_than = self._newer_than()
        if newer_than is None:
            return None, _LOOK_S
        ready = self._ledger.counts()[State.READY]
        again = self._next_again(now, load, newer_than) if not (ready and self._again_last) else None
        self._again_last = again is not None
        if again is not None:
            return again, 0.0
        if not ready:
            return None, self._until_again(now)
        wait_s = self._gather_s(ready, now)
        if wait_s > 0:
            return None, wait_s
        # Spread over the workers that wait, unless commits are what everything waits for.
        share = TARGET_S if load.committing else self.speed.expected_s(objects=ready, size=0) / load.idle
        limits = Limits(self._settings.max_objects, self._limit_size, min(max(share, LEAST_S), self._longest_s(now)))
        return next_ready(self._ledger, limits, self.speed, newer_than=newer_than), _LOOK_S

    def _longest_s(self, now: float) -> float:
        """Return the seconds of measuring that a batch may take, about."""
        if self._settings.where == "here":
            return TARGET_S
        # Others may need seconds to begin with each: without larger batches, the queue would grow for ever.
        return max(TARGET_S, now - (self._oldest() or now))

    def _oldest(self) -> float | None:
        """Return since when the first one has been ready."""
        found = self._ledger.query("SELECT min(ready_at) FROM objects WHERE state = ?", (State.READY,))
        return None if found[0][0] is None else float(found[0][0])

    def _next_again(self, now: float, load: Load, newer_than: int) -> Due | None:
        """Return objects that failed before, unless half of the workers have such already: others must go on."""
        if load.again >= max(load.size // 2, 1):
            return None
        return next_again(self._ledger, now, longest_s=self._retry.backoff_most_s, newer_than=newer_than)

    def _until_again(self, now: float) -> float:
        found = self._ledger.query("SELECT min(not_before) FROM objects WHERE state = ?", (State.FAILED,))
        return math.inf if found[0][0] is None else max(found[0][0] - now, _SOON_S)

    def _gather_s(self, ready: int, now: float) -> float:
        """Return the seconds for which the first one still waits for others."""
        if ready >= self._settings.max_objects or not self._settings.gather_s:
            return 0.0
        first = self._oldest()
        # A time in the future was written before the clock was set back.
        return 0.0 if first is None or first > now else max(first + self._settings.gather_s - now, 0.0)

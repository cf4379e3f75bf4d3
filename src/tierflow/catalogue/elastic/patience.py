"""Waiting for a server that is away or busy: how long, and how often to knock."""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, TypeVar

from tierflow.catalogue.elastic.problems import is_passing

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)
T = TypeVar("T")
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 15.0


class Patience:
    """A clock that runs from the first failure on and starts anew whenever something succeeded.

    Args:
        patience_s: Seconds to go on trying without any success; 0 tries once.
        sleep: Waits for so many seconds.
        clock: Seconds from any start, never going backwards.
    """

    def __init__(
        self,
        patience_s: float,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patience_s, self._sleep, self._clock = patience_s, sleep, clock
        self._ends: float | None = None
        self._failures = 0
        self.retries = 0
        self.waited_s = 0.0

    def succeeded(self) -> None:
        """Note a success: the clock starts anew."""
        self._ends, self._failures = None, 0

    def wait(self, why: object = None) -> bool:
        """Note a failure and wait, twice as long as the last time, give or take.

        Args:
            why: What went wrong, for the log.

        Returns:
            Whether to try again; False, at once, when the time is over.
        """
        now = self._clock()
        if self._ends is None:
            self._ends = now + self._patience_s
        if now >= self._ends:
            return False
        longest = min(FIRST_WAIT_S * 2**self._failures, LONGEST_WAIT_S)
        # Jobs that failed together must not come back together.
        delay = min(longest * random.uniform(0.5, 1), self._ends - now)  # noqa: S311 - not a secret
        if why is not None:
            log.warning("%s (trying for another %.0f s)", why, self._ends - now)
        self._sleep(delay)
        self._failures += 1
        self.retries += 1
        self.waited_s += delay
        return True

    def call(self, request: Callable[[], T], *, explain: Callable[[Exception], object] = str) -> T:
        """Return what `request` returns, after as many tries as the time allows.

        Args:
            request: Asks the server.
            explain: Says in words for the log what went wrong.

        Raises:
            Exception: the client's own, for the last try or at once where waiting doesn't help.
        """
        while True:
            try:
                found = request()
            except Exception as error:
                if not is_passing(error) or not self.wait(explain(error)):
                    raise
            else:
                self.succeeded()
                return found

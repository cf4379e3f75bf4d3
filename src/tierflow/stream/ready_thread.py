"""The thread that looks whether files are complete: a look at a slow share must not keep the workers waiting."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Protocol

from tierflow.errors import EXIT_CONFIG, EXIT_TRY_AGAIN, exit_code_of

if TYPE_CHECKING:
    from collections.abc import Callable

_LOG = logging.getLogger(__name__)
_MOST_S = 1.0
_FAILURES = 5


class Looks(Protocol):
    """What looks; `tierflow.stream.readiness.Readiness`."""

    def step(self, now: float) -> float:
        """Look at what is due; returns the seconds until the next look is."""


class ReadyThread:
    """Has files looked at when they are due.

    Args:
        readiness: What looks.
        wake: Called after each look.

    Attributes:
        bell: Set when new files were seen.
        obstacle: What stands in the way for now, in words; None: nothing.
        error: Why it ended; None while it runs.
    """

    def __init__(self, readiness: Looks, *, wake: Callable[[], None]) -> None:
        self._readiness, self._wake = readiness, wake
        self._stopping = False
        self.bell = threading.Event()
        self.obstacle: str | None = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="readiness", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End after the look in hand."""
        self._stopping = True
        self.bell.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        failures = 0
        while not self._stopping:
            try:
                # Cleared before the look: what is seen during it rings again.
                self.bell.clear()
                wait_s = self._readiness.step(time.time())
                failures, self.obstacle = 0, None
            except Exception as error:
                failures += 1
                if self._is_final(error, failures):
                    self.error = error
                    self._wake()
                    return
                wait_s, self.obstacle = min(2.0**failures * 0.1, 10.0), str(error)
            self._wake()
            self.bell.wait(min(max(wait_s, 0.001), _MOST_S))

    @staticmethod
    def _is_final(error: Exception, failures: int) -> bool:
        code = exit_code_of(error)
        if code == EXIT_TRY_AGAIN:
            return False
        _LOG.error("looking whether files are complete failed", exc_info=error)
        return code == EXIT_CONFIG or failures >= _FAILURES

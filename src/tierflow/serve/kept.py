"""A value that is computed again when it is asked for and has become old."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")
SHARE = 20.0
"""A value that takes a second to compute is kept for so many: looking must not slow down what is looked at."""


class Kept(Generic[Value]):
    """Keeps a value; of many that ask at once, one computes it and the others wait.

    Args:
        make: Computes it.
        least_s: Seconds for which it is kept at least.
    """

    def __init__(self, make: Callable[[], Value], *, least_s: float) -> None:
        self._make, self._least_s = make, least_s
        self._lock = threading.Lock()
        self._found: tuple[float, Value] | None = None

    def get(self) -> Value:
        """Return the value."""
        with self._lock:
            begin = time.monotonic()
            if self._found is not None and begin < self._found[0]:
                return self._found[1]
            value = self._make()
            end = time.monotonic()
            self._found = (end + max(self._least_s, SHARE * (end - begin)), value)
            return value

"""Waits for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def until(
    condition: Callable[[], Found], *, seconds: float = 90.0, picture: Callable[[], object] = lambda: "waited in vain"
) -> Found:
    """Wait until a condition holds and return what it gave; fails with the picture of what there is instead."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, picture()
        time.sleep(0.01)
    return found

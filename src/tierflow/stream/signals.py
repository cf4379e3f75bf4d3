"""SIGTERM and SIGINT: the first one asks for an end in good order, the second one ends at once."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Asked:
    """Whether a signal asked for the end.

    Attributes:
        to_stop: Number of the signal that asked first; None: nobody did.
    """

    def __init__(self) -> None:
        self.to_stop: int | None = None

    def hear(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal. Only a note is made: a handler must not take a lock that the code below it may hold."""
        if self.to_stop is not None:
            # As safe as a power cut, which everything here is made for; workers end with this process.
            os._exit(128 + number)
        self.to_stop = number


@contextmanager
def heard() -> Iterator[Asked]:
    """Hear signals while the body runs; the main thread only."""
    asked = Asked()
    former = {number: signal.signal(number, asked.hear) for number in SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)

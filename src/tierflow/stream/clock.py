"""Notices that the wall clock was set, the machine slept, or this process was stopped for a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from tierflow.stream.states import OPEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tierflow.stream.ledger import Ledger

JUMP_S = 5.0
"""Smaller differences are a clock that is being trimmed."""

_MARKS = ", ".join("?" * len(OPEN))
_STATES = tuple(sorted(OPEN))


class Tick(NamedTuple):
    """What happened between two looks at the clocks.

    Attributes:
        jump_s: Seconds by which the wall clock was moved; 0 when it wasn't.
        pause_s: Seconds since the former look.
    """

    jump_s: float
    pause_s: float


class Clock:
    """Compares the wall clock with one that nobody can set.

    Args:
        wall: Gives seconds since 1970.
        steady: Gives seconds of a clock that only goes forward.
    """

    def __init__(self, *, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._steady = wall, steady
        self._last_steady = steady()
        self._offset = wall() - self._last_steady

    def tick(self) -> Tick:
        """Look at both clocks."""
        steady = self._steady()
        offset = self._wall() - steady
        jump = offset - self._offset
        pause, self._last_steady, self._offset = steady - self._last_steady, steady, offset
        return Tick(jump if abs(jump) > JUMP_S else 0.0, pause)


def shift_times(ledger: Ledger, *, jump_s: float, now: float) -> None:
    """Move the times of open objects along with the wall clock, so that their waits stay as long as they were.

    Args:
        ledger: The ledger.
        jump_s: Seconds by which the clock was moved.
        now: The time after that.
    """
    # Written before the jump: times later than now when it went back, older than the jump when it went forward.
    limit = now if jump_s < 0 else now - jump_s
    condition = "> ?" if jump_s < 0 else "<= ?"
    with ledger.transaction() as db:
        for column in ("changed_at", "seen_at", "ready_at"):
            db.execute(
                f"UPDATE objects SET {column} = {column} + ? WHERE state IN ({_MARKS}) AND {column} {condition}",  # noqa: S608
                (jump_s, *_STATES, limit),
            )
        db.execute(
            f"UPDATE objects SET not_before = not_before + ? WHERE state IN ({_MARKS}) AND not_before > 0",  # noqa: S608
            (jump_s, *_STATES),
        )
        db.execute(f"UPDATE members SET changed_at = changed_at + ? WHERE changed_at {condition}", (jump_s, limit))  # noqa: S608
        db.execute("UPDATE series SET due_at = due_at + ? WHERE due_at IS NOT NULL", (jump_s,))


def pull_back(ledger: Ledger, *, now: float, longest_wait_s: float) -> int:
    """Bring times of open objects that lie in the future back to now; returns how many there were.

    Args:
        ledger: The ledger.
        now: The time.
        longest_wait_s: No attempt or look is ever put off for longer.
    """
    with ledger.transaction() as db:
        future = db.execute(
            "UPDATE objects SET changed_at = ?, seen_at = min(seen_at, ?) "  # noqa: S608
            f"WHERE state IN ({_MARKS}) AND changed_at > ?",
            (now, now, *_STATES, now + JUMP_S),
        ).rowcount
        put_off = db.execute(
            f"UPDATE objects SET not_before = ? WHERE state IN ({_MARKS}) AND not_before > ?",  # noqa: S608
            (now, *_STATES, now + longest_wait_s),
        ).rowcount
    return int(max(future, put_off))

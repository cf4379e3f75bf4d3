"""Why objects of a shard can't have a score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tierflow.scoring import columns

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

UNSCORED = "unscored"
"""Flag of objects that were measured but got no interestingness."""


@dataclass(frozen=True, slots=True)
class Problems:
    """The objects that failed, and why; each of shape (object,).

    Attributes:
        failed: True for an object that failed.
        flag: Its flag, None where all is well.
        reason: The reason in words, likewise.
    """

    failed: NDArray[np.bool_]
    flag: NDArray[np.object_]
    reason: NDArray[np.object_]

    @classmethod
    def none(cls, count: int) -> Problems:
        """Return a record of `count` objects without a problem."""
        nothing = np.full(count, None, dtype=object)
        return cls(failed=np.zeros(count, dtype=np.bool_), flag=nothing, reason=nothing.copy())

    def good(self) -> NDArray[np.bool_]:
        """Tell which objects have no problem, shape (object,)."""
        return ~self.failed

    def note(self, row: int, flag: str, reason: str) -> None:
        """Keep a problem of the object in `row`, unless one is known already: the first is the cause of the others."""
        if not self.failed[row]:
            self.failed[row] = True
            self.flag[row] = flag
            self.reason[row] = reason


def note_unread(problems: Problems, planes: pa.Table, row: NDArray[np.int64]) -> None:
    """Note the objects of which any plane failed, and those that the extract table doesn't have.

    Args:
        problems: Where to note.
        planes: Extract table with status, flag and reason.
        row: Row of each plane's object, -1 for planes of no object here.
    """
    bad = np.flatnonzero(~columns.equals(planes["status"], "ok") & (row >= 0))
    failed = planes.select(["flag", "reason"]).take(bad).to_pylist()
    for at, plane in zip(row[bad].tolist(), failed, strict=True):
        problems.note(at, plane["flag"] or "unreadable", plane["reason"] or "failed without a reason")
    present = np.bincount(row[row >= 0], minlength=len(problems.reason)) > 0
    for at in np.flatnonzero(~present).tolist():
        problems.note(at, "missing", "the extract table has no row of it: run the step `extract` of this shard again")

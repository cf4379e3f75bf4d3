"""One value of a group from the values of its members, and which member decided it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rule = Literal["max", "min", "mean", "median"]


def reduce_groups(
    values: NDArray[np.float64], group: NDArray[np.int64], *, count: int, rule: Rule
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Reduce the values of each group to one.

    The member that decides is the highest for `max` and `mean`, the lowest for `min`, the (lower) middle one for
    `median`; of equal ones the first.

    Args:
        values: Shape (row,), no NaN.
        group: Group of each row, shape (row,), from 0.
        count: Number of groups.
        rule: How to reduce.

    Returns:
        Value of each group, NaN where it has no member, and the row that decided, -1 likewise; shape (group,).
    """
    size = np.bincount(group, minlength=count)
    if size.max(initial=0) <= 1:
        # Mostly a group is one plane: nothing to compare.
        order = np.argsort(group, kind="stable")
    else:
        position = np.arange(len(values))
        # Of equal values the first row must come last where the last one is taken, and first where the first is.
        order = np.lexsort((-position if rule in ("max", "mean") else position, values, group))
    stop = np.cumsum(size)
    start = stop - size
    filled = size > 0
    picks = {"max": stop - 1, "mean": stop - 1, "min": start, "median": start + (size - 1) // 2}
    row = np.full(count, -1, dtype=np.int64)
    row[filled] = order[picks[rule][filled]]
    result = np.full(count, np.nan)
    if rule == "mean":
        result[filled] = np.bincount(group, weights=values, minlength=count)[filled] / size[filled]
    elif rule == "median":
        upper = order[(start + size // 2)[filled]]
        result[filled] = (values[row[filled]] + values[upper]) / 2
    else:
        result[filled] = values[row[filled]]
    return result, row

"""Choose a small sample that stands for the whole: units in classes of like size, spread over plates and channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CANDIDATES = 2_000
"""Units of a stratum, at most, among which the sample is spread over plates and channels."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """Units of like size.

    Attributes:
        units: Their numbers, shape (unit,).
        take: How many of them are measured.
    """

    units: NDArray[np.int64]
    take: int


def strata(size: NDArray[np.int64], *, sample: int) -> list[Stratum]:
    """Sort units into classes of like size, and say how many of each to measure.

    A class spans a factor of 2, or of 4, 16 ... where that gave more classes than half the sample. One half of the
    sample is given out by number of units (shares of tiers go by it), the other by bytes (time goes by it); every class
    gets 2 where it has them.

    Args:
        size: Bytes of each unit, shape (unit,).
        sample: Units to measure, about.

    Returns:
        Strata from the smallest units to the largest.
    """
    power = np.log2(np.maximum(size, 1))
    width = 1
    while len(found := np.unique(power // width)) > max(sample // 2, 1):
        width *= 2
    members = [np.flatnonzero(power // width == name) for name in found]
    total = max(int(size.sum()), 1)
    wanted = [sample * (len(units) / len(size) + float(size[units].sum()) / total) / 2 for units in members]
    return [Stratum(units, min(len(units), max(2, round(want)))) for units, want in zip(members, wanted, strict=True)]


def candidates(stratum: Stratum, *, random: np.random.Generator) -> NDArray[np.int64]:
    """Return the units of a stratum among which to choose: all, or a random part of very many, in ascending order."""
    if len(stratum.units) <= CANDIDATES:
        return stratum.units
    return np.sort(random.choice(stratum.units, CANDIDATES, replace=False))


def spread(keys: Sequence[tuple[str, ...]], take: int, *, random: np.random.Generator) -> NDArray[np.int64]:
    """Choose a random position from each of `take` equal parts of things in the order of their keys.

    Neighbours in the order are alike (same channel, then plate), so every kind is met about as often as it occurs.
    Equal steps would do that too, but meet always the same planes where a step is as long as a stack.

    Args:
        keys: What to order by, such as (channel, plate, path).
        take: How many to choose, at most as many as there are keys.
        random: Gives the start.

    Returns:
        Different positions, shape (take,), in random order, so that any first part of them is a sample too.
    """
    order = sorted(range(len(keys)), key=lambda position: keys[position])
    # Parts are whole and may differ by one; from a random beginning each position is as likely as any other.
    edges = [int(edge) for edge in random.uniform(0, len(order)) + len(order) / take * np.arange(take)]
    ends = [*edges[1:], edges[0] + len(order)]
    chosen = [order[int(random.integers(*part)) % len(order)] for part in zip(edges, ends, strict=True)]
    return random.permutation(np.array(chosen, dtype=np.int64))


def round_robin(groups: Sequence[Sequence[int]]) -> list[int]:
    """Take one of each group, then another of each: who stops early has something of every group.

    >>> round_robin([[1, 2, 3], [10], [20, 21]])
    [1, 10, 20, 2, 21, 3]
    """
    longest = max(map(len, groups), default=0)
    return [group[turn] for turn in range(longest) for group in groups if turn < len(group)]

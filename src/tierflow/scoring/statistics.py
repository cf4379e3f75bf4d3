"""Robust statistics of groups of planes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Makes the median absolute deviation of a normal distribution its standard deviation: 1 / Phi^-1(3/4).
MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, slots=True)
class Spread:
    """Middle and spread of a feature in every group.

    Attributes:
        n: Finite values, shape (group,).
        median: Their median, in the feature's unit; NaN for an empty group.
        mad: 1.4826 x their median absolute deviation from the median; NaN for an empty group.
    """

    n: NDArray[np.int64]
    median: NDArray[np.float64]
    mad: NDArray[np.float64]


class Groups:
    """Rows sorted by their group once, so that many features can be summed up cheaply.

    Args:
        codes: Group of each row, shape (row,), from 0.
        count: Number of groups.
    """

    def __init__(self, codes: NDArray[np.int64], *, count: int) -> None:
        self._order = np.argsort(codes, kind="stable")
        self._edges = np.searchsorted(codes[self._order], np.arange(count + 1))

    def spread(self, values: NDArray[np.float64]) -> Spread:
        """Return median and MAD of one feature in every group.

        Args:
            values: Shape (row,); NaN and infinite values don't count.
        """
        ordered = values[self._order]
        finite = np.isfinite(ordered)
        count = len(self._edges) - 1
        n = np.zeros(count, dtype=np.int64)
        median, mad = np.full(count, np.nan), np.full(count, np.nan)
        bounds = self._edges.tolist()
        for group, (start, stop) in enumerate(pairwise(bounds)):
            part = ordered[start:stop][finite[start:stop]]
            n[group] = part.size
            if part.size:
                median[group] = middle(part)
                mad[group] = MAD_TO_SIGMA * middle(np.abs(part - median[group]))
        return Spread(n=n, median=median, mad=mad)


def middle(values: NDArray[np.float64]) -> float:
    """Return the median, as `numpy.median` does but without its cost per call: groups are many and small.

    Args:
        values: Shape (value,), at least one, all finite.
    """
    half = len(values) // 2
    if len(values) % 2:
        return float(np.partition(values, half)[half])
    parted = np.partition(values, (half - 1, half))
    return float((parted[half - 1] + parted[half]) / 2)

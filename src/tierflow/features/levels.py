"""The distribution of a plane's values: each value once, with its count. Serves everything that ignores position."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.features.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tierflow.features.pixels import GrayPlane

HISTOGRAM_BINS = 256
ENTROPY_BINS = 65536


@dataclass(frozen=True)
class Levels:
    """Every finite value of a plane once, ascending.

    Attributes:
        scaled: Values on CellProfiler's 0..1 scale, float32, shape (level,).
        raw: The same in raw counts, float64.
        counts: Pixels that have each value, int64.
    """

    scaled: NDArray[np.float32]
    raw: NDArray[np.float64]
    counts: NDArray[np.int64]

    @cached_property
    def cumulative(self) -> NDArray[np.int64]:
        """Number of pixels with this value or less, shape (level,)."""
        return np.cumsum(self.counts)

    @property
    def total(self) -> int:
        """Number of pixels."""
        return int(self.cumulative[-1])

    @cached_property
    def raw_mean(self) -> float:
        """Mean in raw counts; the sum is exact for whole numbers up to 2^53."""
        return float(self.raw @ self.counts) / self.total

    @cached_property
    def raw_variance(self) -> float:
        """Population variance in raw counts squared, from deviations, so that nothing cancels."""
        deviation = self.raw - self.raw_mean
        return float((deviation * deviation) @ self.counts) / self.total

    def index_at(self, rank: int) -> int:
        """Return the level of the pixel at `rank` (from 0) in ascending order."""
        return int(np.searchsorted(self.cumulative, rank, side="right"))

    def quantile(self, share: float) -> float:
        """Return the smallest raw value that at least `share` of the pixels don't exceed."""
        return float(self.raw[self.index_at(max(int(np.ceil(share * self.total)) - 1, 0))])

    def median_scaled(self) -> np.float32:
        """Return the median on the 0..1 scale: the float32 mean of the two middle pixels when their number is even."""
        low, high = self.scaled[self.index_at((self.total - 1) // 2)], self.scaled[self.index_at(self.total // 2)]
        return low if low == high else np.float32((low + high) / np.float32(2))

    def share_within(self, low: float, high: float) -> float:
        """Return the share of pixels with low <= raw value <= high."""
        first, last = np.searchsorted(self.raw, low, side="left"), np.searchsorted(self.raw, high, side="right")
        return float(self.counts[first:last].sum()) / self.total


def levels_of(plane: GrayPlane) -> Levels:
    """Return the distribution of a plane's finite values."""
    if plane.is_integer:
        table = count_levels(plane.values, 1 << (8 * plane.values.dtype.itemsize))
        present = np.flatnonzero(table > 0)
        return Levels(
            scaled=present.astype(np.float32) / np.float32(plane.divisor),
            raw=present.astype(np.float64),
            counts=table[present],
        )
    values = plane.values.ravel()
    if plane.finite < values.size:
        values = values[np.isfinite(values)]
    scaled, counts = np.unique(values, return_counts=True)
    return Levels(scaled=scaled, raw=scaled.astype(np.float64) * plane.count, counts=counts.astype(np.int64))


@compiled()
def count_levels(values: NDArray[Any], size: int) -> NDArray[np.int64]:
    """Count how often each value 0..size-1 occurs.

    Args:
        values: Unsigned values below `size`, shape (y, x), C-contiguous.
        size: Number of different values.
    """
    flat = values.ravel()
    # Four tables: neighbouring pixels are often equal, and a counter can't be raised twice in a row without waiting.
    table = np.zeros((4, size), dtype=np.uint32)
    whole = flat.size // 4 * 4
    for i in range(0, whole, 4):
        table[0, flat[i]] += np.uint32(1)
        table[1, flat[i + 1]] += np.uint32(1)
        table[2, flat[i + 2]] += np.uint32(1)
        table[3, flat[i + 3]] += np.uint32(1)
    for i in range(whole, flat.size):
        table[0, flat[i]] += np.uint32(1)
    out = np.empty(size, dtype=np.int64)
    for k in range(size):
        out[k] = np.int64(table[0, k]) + np.int64(table[1, k]) + np.int64(table[2, k]) + np.int64(table[3, k])
    return out


def median_deviation(levels: Levels, centre: np.float32) -> float:
    """Return the median of |value - centre| on the 0..1 scale, in float32 as CellProfiler computes it."""
    distance = np.abs(levels.scaled - centre)
    low = (levels.total - 1) // 2
    first, second = _deviation_ranks(distance, levels.counts, low, levels.total // 2)
    return float(first if first == second else np.float32((first + second) / np.float32(2)))


@compiled()
def _deviation_ranks(
    distance: NDArray[np.float32], counts: NDArray[np.int64], low: int, high: int
) -> tuple[np.float32, np.float32]:
    """Return two ranks (from 0) of `distance`, which falls and then rises, each entry taken `counts` times."""
    right = int(np.argmin(distance))
    left = right - 1
    seen = 0
    first = distance[right]
    while True:
        if left < 0 or (right < distance.size and distance[right] <= distance[left]):
            value, count = distance[right], counts[right]
            right += 1
        else:
            value, count = distance[left], counts[left]
            left -= 1
        if seen <= low < seen + count:
            first = value
        if seen <= high < seen + count:
            return first, value
        seen += count


def histogram(levels: Levels, bins: int = HISTOGRAM_BINS) -> NDArray[np.uint32]:
    """Count pixels in equal bins from the smallest to the largest raw value, the last bin closed on both sides.

    A constant plane has all its pixels in the first bin.
    """
    return _binned(levels, bins).astype(np.uint32)


def _binned(levels: Levels, bins: int) -> NDArray[np.float64]:
    low, high = float(levels.raw[0]), float(levels.raw[-1])
    if high == low:
        position = np.zeros(1, dtype=np.intp)
    else:
        position = np.minimum(((levels.raw - low) / (high - low) * bins).astype(np.intp), bins - 1)
    return np.bincount(position, weights=levels.counts.astype(np.float64), minlength=bins).astype(np.float64)


def entropy_bits(levels: Levels, *, whole_numbers: bool) -> float:
    """Shannon entropy of the pixel values: -sum q log2 q over the share q of pixels that have each value.

    Range 0 (constant) to 16 for whole numbers of up to 16 bits, each value its own class; other planes use 65,536 equal
    bins from minimum to maximum. Unit: bit. It says how many bits a pixel needs without regard to its neighbours.
    Fails as a measure of content: noise raises it, and few pixels bound it (at most log2 of their number).

    Args:
        levels: Distribution of the plane.
        whole_numbers: Whether every level is a class of its own.
    """
    counts = levels.counts if whole_numbers else _binned(levels, ENTROPY_BINS)
    share = counts[counts > 0] / levels.total
    return max(0.0, float(-(share @ np.log2(share))))

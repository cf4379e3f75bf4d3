"""CellProfiler's global Otsu threshold (two classes, weighted variance) from a distribution of values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tierflow.features.levels import Levels

CANDIDATES = 256
LOG_FLOOR_STEPS = 256.0


def otsu_threshold(levels: Levels) -> float:
    """Return `ThresholdOtsu_2W` on CellProfiler's 0..1 scale, as centrosome 1.2.3 computes it.

    Values below 0 are left out; the rest is floored at min + (max - min) / 256 + eps, taken to the logarithm and
    stretched to 0..1. About 256 cuts, evenly spaced in rank, are compared by i * variance below + (n - i) * variance
    above; the threshold lies midway between the cuts on either side of the first best one. Variances come from prefix
    sums over the levels instead of a sort of all pixels.

    Args:
        levels: Distribution of the plane.

    Returns:
        The threshold; 1 when no value is 0 or more.
    """
    kept = levels.scaled >= 0
    values, counts = levels.scaled[kept], levels.counts[kept]
    if values.size == 0:
        return 1.0
    low, high = float(values[0]), float(values[-1])
    floor = np.float32(low + (high - low) / LOG_FLOOR_STEPS + float(np.finfo(np.float32).eps))
    logs = np.log(np.maximum(values, floor)).astype(np.float64)
    log_low, log_high = float(logs[0]), float(logs[-1])
    if log_low == log_high:
        return float(np.exp(log_low))
    cut = _best_cut((logs - log_low) / (log_high - log_low), counts)
    return float(np.exp(cut * (log_high - log_low) + log_low))


def _best_cut(x: NDArray[np.float64], counts: NDArray[np.int64]) -> float:
    """Return the cut of the ascending values `x` (0..1), each taken `counts` times; at least two different values."""
    cumulative = np.cumsum(counts)
    total = int(cumulative[-1])
    step = total // min(CANDIDATES, total)
    below = np.arange(0, total - 1, step)
    cuts = x[np.searchsorted(cumulative, below + 1, side="right")]
    low = _variance_below(x, counts, cumulative, below)
    # The variance of everything after a cut is the variance below it in the mirrored order.
    mirrored = x[::-1], counts[::-1], np.cumsum(counts[::-1])
    high = _variance_below(*mirrored, total - 2 - below)
    best = int(np.argmin(low * below + high * (total - 1 - below)))
    return float((cuts[max(best - 1, 0)] + cuts[min(best + 1, cuts.size - 1)]) / 2)


def _variance_below(
    x: NDArray[np.float64], counts: NDArray[np.int64], cumulative: NDArray[np.int64], last: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the sample variance of the pixels of rank 0..last, 0 for a single pixel, for each entry of `last`."""
    level = np.searchsorted(cumulative, last, side="right")
    inside = last + 1 - (cumulative[level] - counts[level])
    sums = np.cumsum(x * counts) - x * counts
    squares = np.cumsum(x * x * counts) - x * x * counts
    number = (last + 1).astype(np.float64)
    first = sums[level] + x[level] * inside
    second = squares[level] + x[level] ** 2 * inside
    spread = np.maximum(second - first * first / number, 0.0)
    return np.where(number > 1, spread / np.maximum(number - 1, 1), 0.0)

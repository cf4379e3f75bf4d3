"""CellProfiler's Correlation: Haralick's H3 on eight gray levels at a horizontal offset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.features.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tierflow.features.levels import Levels
    from tierflow.features.pixels import GrayPlane

GRAY_LEVELS = 8
_GAP = np.uint8(255)


def quantise(scaled: NDArray[np.float32], *, low: np.float32, high: np.float32) -> NDArray[np.uint8]:
    """Put values into eight equal gray levels from `low` to `high`, as centrosome does; NaN becomes 255.

    The difference to `low` is taken in float32 and divided in float64: otherwise pixels at a level's edge move.
    """
    span = np.float64(high - low) if high > low else 1.0
    with np.errstate(invalid="ignore"):
        level = np.floor((scaled - low).astype(np.float64) / span / (1.0 / GRAY_LEVELS))
        whole = np.clip(np.nan_to_num(level, nan=0.0), 0, GRAY_LEVELS - 1).astype(np.uint8)
    return np.where(np.isnan(scaled), _GAP, whole)


def correlation_features(plane: GrayPlane, levels: Levels, *, scales: tuple[int, ...]) -> dict[str, float]:
    """Return `ImageQuality_Correlation_{N}` for every scale.

    Pearson's correlation between the gray levels of pixels (y, x) and (y, x + N) over all pairs whose pixels are both
    finite; 0 where it isn't defined (constant plane, N not below the width).

    Args:
        plane: The plane.
        levels: Its distribution.
        scales: Horizontal offsets N in pixels.
    """
    low, high = levels.scaled[0], levels.scaled[-1]
    offsets = np.array(scales, dtype=np.int64)
    if plane.is_integer:
        table = np.zeros(1 << (8 * plane.values.dtype.itemsize), dtype=np.uint8)
        table[levels.raw.astype(np.intp)] = quantise(levels.scaled, low=low, high=high)
        sums = _pair_sums_by_table(plane.values, table, offsets)
    else:
        sums = _pair_sums(quantise(plane.values, low=low, high=high), offsets)
    return {f"ImageQuality_Correlation_{n}": _pearson(sums[k]) for k, n in enumerate(scales)}


def _pearson(sums: NDArray[np.int64]) -> float:
    """Return the correlation from (pairs, sum a, sum b, sum aa, sum bb, sum ab), all whole numbers, so 0 is exact."""
    n, a, b, aa, bb, ab = (int(s) for s in sums)
    spread = (n * aa - a * a) * (n * bb - b * b)
    return (n * ab - a * b) / float(spread) ** 0.5 if spread > 0 else 0.0


@compiled()
def _pair_sums_by_table(
    values: NDArray[Any], table: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Look up each row's gray levels and add up the pair sums of all offsets while the row is at hand."""
    height, width = values.shape
    out = np.zeros((offsets.size, 6), dtype=np.int64)
    row = np.empty(width, dtype=np.uint8)
    for y in range(height):
        line = values[y]
        for x in range(width):
            row[x] = table[line[x]]
        whole = np.int64(0)
        whole_squares = np.int64(0)
        for x in range(width):
            v = np.int64(row[x])
            whole += v
            whole_squares += v * v
        for k in range(offsets.size):
            n = offsets[k]
            if n >= width:
                continue
            head = np.int64(0)
            head_squares = np.int64(0)
            tail = np.int64(0)
            tail_squares = np.int64(0)
            for x in range(n):
                v = np.int64(row[x])
                head += v
                head_squares += v * v
                u = np.int64(row[width - 1 - x])
                tail += u
                tail_squares += u * u
            product = np.int64(0)
            left = row[: width - n]
            right = row[n:]
            for x in range(left.size):
                product += np.int64(left[x]) * np.int64(right[x])
            out[k, 0] += width - n
            out[k, 1] += whole - tail
            out[k, 2] += whole - head
            out[k, 3] += whole_squares - tail_squares
            out[k, 4] += whole_squares - head_squares
            out[k, 5] += product
    return out


@compiled()
def _pair_sums(level: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add up the pair sums of gray levels, leaving out pairs with a gap (255)."""
    height, width = level.shape
    out = np.zeros((offsets.size, 6), dtype=np.int64)
    for k in range(offsets.size):
        n = offsets[k]
        for y in range(height):
            for x in range(width - n):
                a = np.int64(level[y, x])
                b = np.int64(level[y, x + n])
                if a < 8 and b < 8:
                    out[k, 0] += 1
                    out[k, 1] += a
                    out[k, 2] += b
                    out[k, 3] += a * a
                    out[k, 4] += b * b
                    out[k, 5] += a * b
    return out

"""Sums over tiles, CellProfiler's way of cutting a plane into them, and LocalFocusScore."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.features.compiled import compiled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TileSums:
    """Pixel count, sum and sum of squares per tile, each of shape (tile row, tile column), in the values' own unit."""

    number: NDArray[np.float64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]

    def mean(self) -> NDArray[np.float64]:
        """Return the mean of each tile; NaN where a tile has no finite pixel."""
        with np.errstate(invalid="ignore"):
            mean: NDArray[np.float64] = self.total / self.number
        return mean

    def divided(self, by: float) -> TileSums:
        """Return the sums of the values divided by `by`."""
        return TileSums(self.number, self.total / by, self.squares / by / by)

    def joins_to(self, shape: tuple[int, int]) -> bool:
        """Tell whether tiles of `shape` (rows, columns) are blocks of these tiles."""
        return not any(mine % theirs for mine, theirs in zip(self.number.shape, shape, strict=True))

    def merged(self, shape: tuple[int, int]) -> TileSums:
        """Join blocks of neighbouring tiles so that `shape` (rows, columns) tiles remain."""
        rows, columns = shape

        def join(a: NDArray[np.float64]) -> NDArray[np.float64]:
            blocks = a.reshape(rows, a.shape[0] // rows, columns, a.shape[1] // columns)
            joined: NDArray[np.float64] = blocks.sum(axis=(1, 3))
            return joined

        return TileSums(join(self.number), join(self.total), join(self.squares))


@lru_cache(maxsize=256)
def edges_of(size: int, scale: int) -> NDArray[np.int64]:
    """Return the first pixel of each tile along one axis, and `size` at the end.

    CellProfiler cuts `size` pixels into m = ceil(size / scale) tiles and puts pixel i into tile floor(i * m / size).

    Args:
        size: Length of the axis in pixels.
        scale: Largest edge of a tile in pixels.
    """
    tiles = -(-size // scale)
    # Tile t starts at the first i with i * tiles >= t * size.
    edges = -(-np.arange(tiles + 1, dtype=np.int64) * size // tiles)
    edges.setflags(write=False)
    return edges


def tile_sums(values: NDArray[Any], scales: Iterable[int]) -> dict[int, TileSums]:
    """Return the sums over the tiles of every scale.

    The finest scale is summed from the pixels, and so is every scale whose tiles aren't unions of tiles already
    summed; the others are joined from those.

    Args:
        values: uint8, uint16 or float32 (NaN = left out), shape (y, x), C-contiguous.
        scales: Largest edges of a tile in pixels.
    """
    height, width = values.shape
    done: dict[int, TileSums] = {}
    for scale in sorted(set(scales)):
        rows, columns = edges_of(height, scale), edges_of(width, scale)
        shape = (rows.size - 1, columns.size - 1)
        finer = next((s for s in done.values() if s.joins_to(shape)), None)
        if finer is not None:
            done[scale] = finer.merged(shape)
        elif values.dtype.kind == "u":
            total, squares = _sum_whole(values, rows, columns)
            number = np.multiply.outer(np.diff(rows), np.diff(columns)).astype(np.float64)
            done[scale] = TileSums(number, total.astype(np.float64), squares.astype(np.float64))
        else:
            done[scale] = TileSums(*_sum_real(values, rows, columns))
    return done


@compiled()
def _sum_whole(
    values: NDArray[Any], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Sum whole numbers exactly; down the columns of a row of tiles first, because that loop runs on vectors."""
    tall, wide = rows.size - 1, columns.size - 1
    width = values.shape[1]
    total = np.zeros((tall, wide), dtype=np.uint64)
    squares = np.zeros((tall, wide), dtype=np.uint64)
    line = np.empty(width, dtype=np.uint64)
    line_squares = np.empty(width, dtype=np.uint64)
    for r in range(tall):
        line[:] = np.uint64(0)
        line_squares[:] = np.uint64(0)
        for y in range(rows[r], rows[r + 1]):
            row = values[y]
            for x in range(width):
                v = np.uint64(row[x])
                line[x] += v
                line_squares[x] += v * v
        for c in range(wide):
            a = np.uint64(0)
            b = np.uint64(0)
            for x in range(columns[c], columns[c + 1]):
                a += line[x]
                b += line_squares[x]
            total[r, c] = a
            squares[r, c] = b
    return total, squares


@compiled()
def _sum_real(
    values: NDArray[np.float32], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Sum real numbers in float64 and count those that are no NaN."""
    tall, wide = rows.size - 1, columns.size - 1
    number = np.zeros((tall, wide))
    total = np.zeros((tall, wide))
    squares = np.zeros((tall, wide))
    for r in range(tall):
        for y in range(rows[r], rows[r + 1]):
            for c in range(wide):
                for x in range(columns[c], columns[c + 1]):
                    v = np.float64(values[y, x])
                    if not np.isnan(v):
                        number[r, c] += 1
                        total[r, c] += v
                        squares[r, c] += v * v
    return number, total, squares


def local_focus_score(sums: TileSums) -> float:
    """Return CellProfiler's LocalFocusScore in the unit of the values that were summed.

    v = population variance / mean of a tile, tiles with mean 0 left out; the result is the population variance of v
    over its median, 0 when the median isn't above 0. (CellProfiler's help speaks of a mean; this is what it computes.)
    """
    mean = sums.mean()
    kept = (mean != 0) & ~np.isnan(mean)
    if not kept.any():
        return 0.0
    number, mean = sums.number[kept], mean[kept]
    spread = np.maximum(sums.squares[kept] - sums.total[kept] * mean, 0.0)
    normalised = spread / (number * mean)
    median = float(np.median(normalised))
    return float(np.var(normalised)) / median if np.isfinite(median) and median > 0 else 0.0


def local_focus_features(sums: Mapping[int, TileSums], *, scales: Iterable[int], per_unit: float) -> dict[str, float]:
    """Return `ImageQuality_LocalFocusScore_{N}` for every scale.

    Args:
        sums: Tile sums by scale.
        scales: Scales to report.
        per_unit: What the summed values are divided by to lie on CellProfiler's 0..1 scale.
    """
    return {f"ImageQuality_LocalFocusScore_{n}": local_focus_score(sums[n]) / per_unit for n in scales}

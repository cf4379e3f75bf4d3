"""Single objects in an otherwise empty plane: tiles that stand out from their neighbours."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.features.compiled import compiled
from tierflow.features.tiles import edges_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tierflow.features.tiles import TileSums

_CLIP_SIGMAS = 4.0
_MIN_TILES = 3


def object_z(values: NDArray[Any], sums: TileSums, *, scale: int, sigma: float) -> float:
    """How surely some tile differs from its four neighbours, in standard errors of a tile's mean.

    Tiles of at most `scale` px; robust mean t of a tile = mean + mean of (value - mean) clipped at +-4 sigma, so that a
    hot pixel or a cosmic ray counts as 4 sigma at most; contrast = t - mean of the four neighbours' t (ramps vanish);
    the result is max |contrast| / (sigma * sqrt(1.25 / pixels per tile)) over tiles not at the border. Range 0 upwards,
    no unit; below 5 for pure noise, 15 and more for one faint nucleus in an empty field. Finds sparse objects that
    `structure_z` misses, and misses even textures that `structure_z` finds. Fails on dust, fringes and stripes.

    Args:
        values: Finite pixels, shape (y, x), C-contiguous.
        sums: Tile sums of the plane at `scale`.
        scale: Largest edge of a tile in pixels.
        sigma: Pixel noise in the unit of the values, above 0.

    Returns:
        0 for planes of fewer than 3 x 3 tiles; `structure_z` serves there.
    """
    mean = sums.mean()
    if min(mean.shape) < _MIN_TILES:
        return 0.0
    # A tile without a finite pixel was filled with the plane's mean.
    mean = np.where(np.isfinite(mean), mean, np.float64(np.nanmean(mean)))
    rows, columns = edges_of(values.shape[0], scale), edges_of(values.shape[1], scale)
    number = np.multiply.outer(np.diff(rows), np.diff(columns))
    robust = mean + _clipped_sums(values, mean, rows, columns, _CLIP_SIGMAS * sigma) / number
    neighbours = (robust[:-2, 1:-1] + robust[2:, 1:-1] + robust[1:-1, :-2] + robust[1:-1, 2:]) / 4
    contrast = np.abs(robust[1:-1, 1:-1] - neighbours) * np.sqrt(number[1:-1, 1:-1] / 1.25)
    return float(contrast.max()) / sigma if math.isfinite(sigma) else math.nan


@compiled(fastmath=True)
def _clipped_sums(
    values: NDArray[Any],
    centre: NDArray[np.float64],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    reach: float,
) -> NDArray[np.float64]:
    """Sum (value - centre of its tile), clipped at +-reach, per tile."""
    width = values.shape[1]
    tall, wide = centre.shape
    out = np.zeros((tall, wide))
    middle = np.empty(width, dtype=np.float32)
    line = np.empty(width, dtype=np.float32)
    high = np.float32(reach)
    low = -high
    for r in range(tall):
        line[:] = np.float32(0)
        for c in range(wide):
            middle[columns[c] : columns[c + 1]] = np.float32(centre[r, c])
        for y in range(rows[r], rows[r + 1]):
            row = values[y]
            for x in range(width):
                line[x] += min(max(np.float32(row[x]) - middle[x], low), high)
        for c in range(wide):
            total = 0.0
            for x in range(columns[c], columns[c + 1]):
                total += line[x]
            out[r, c] = total
    return out

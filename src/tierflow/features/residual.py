"""What is left of a plane when smooth structure is taken away: the level of its pixel noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.features.compiled import compiled
from tierflow.features.tiles import edges_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

TILE_PX = 20
# The mask (1 -2 1) x (1 -2 1) gives white noise of variance 1 the variance 6 * 6.
_GAIN = 36.0
# Smallest share of a tile's pixels that must have a full neighbourhood for the tile to count.
_MIN_TILE_PIXELS = 8


@dataclass(frozen=True, slots=True)
class Residual:
    """Noise and energies of a plane, in the unit of its values.

    Attributes:
        sigma: Standard deviation of the pixel noise; NaN when no tile is large enough.
        white_power: Mean power per pixel that white noise would have at the plane's highest frequencies.
        energy: Sum of (value - mean)^2: by Parseval the mean power per coefficient.
    """

    sigma: float
    white_power: float
    energy: float


def residual_of(values: NDArray[Any], *, mean: float) -> Residual:
    """Measure the noise with the mask (1 -2 1) x (1 -2 1), which removes planes, ramps and parabolas.

    `sigma` follows J. Immerkaer, Computer Vision and Image Understanding 64 (1996) 300: sqrt(pi / 2) / 6 times the mean
    absolute response, here per tile of about 20 x 20 px, then the median over tiles so that edges in fewer than half
    of the tiles don't count.

    Args:
        values: Finite pixels, shape (y, x), C-contiguous.
        mean: Mean of the values.
    """
    height, width = values.shape
    rows, columns = edges_of(height, TILE_PX), edges_of(width, TILE_PX)
    absolute, number, squares, energy = _residual_sums(values, np.float32(mean), rows, columns)
    inner = max(0, height - 2) * max(0, width - 2)
    usable = number >= _MIN_TILE_PIXELS
    sigma = float(np.median(absolute[usable] / number[usable])) * np.sqrt(np.pi / 2) / 6 if usable.any() else np.nan
    return Residual(
        sigma=float(sigma),
        white_power=squares / inner / _GAIN if inner else float("nan"),
        energy=energy,
    )


@compiled()
def _residual_sums(
    values: NDArray[Any],
    mean: np.float32,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float]:
    """Apply the mask and add up |response| per tile, and response^2 and (value - mean)^2 over the plane."""
    height, width = values.shape
    tall, wide = rows.size - 1, columns.size - 1
    absolute = np.zeros((tall, wide))
    number = np.zeros((tall, wide))
    squares = 0.0
    energy = 0.0
    fall = np.zeros(width, dtype=np.float32)
    magnitude = np.zeros(width, dtype=np.float32)
    band_squares = np.zeros(width, dtype=np.float32)
    band_energy = np.zeros(width, dtype=np.float32)
    for r in range(tall):
        magnitude[:] = np.float32(0)
        band_squares[:] = np.float32(0)
        band_energy[:] = np.float32(0)
        lines = 0
        for y in range(rows[r], rows[r + 1]):
            here = values[y]
            for x in range(width):
                d = np.float32(here[x]) - mean
                band_energy[x] += d * d
            if y == 0 or y == height - 1:
                continue
            lines += 1
            above, below = values[y - 1], values[y + 1]
            for x in range(width):
                fall[x] = np.float32(above[x]) - np.float32(2) * np.float32(here[x]) + np.float32(below[x])
            for x in range(1, width - 1):
                d = fall[x - 1] - np.float32(2) * fall[x] + fall[x + 1]
                magnitude[x] += abs(d)
                band_squares[x] += d * d
        for x in range(width):
            energy += np.float64(band_energy[x])
            squares += np.float64(band_squares[x])
        for c in range(wide):
            for x in range(max(columns[c], 1), min(columns[c + 1], width - 1)):
                absolute[r, c] += magnitude[x]
                number[r, c] += lines
    return absolute, number, squares, energy

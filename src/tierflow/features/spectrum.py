"""PowerLogLogSlope and the power in bands of frequencies, from one transform of the plane."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.features.compiled import compiled
from tierflow.features.fft import low_corner

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_SIDE_PX = 8


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Low frequencies of a plane minus its mean, without a window.

    Attributes:
        corner: Shape (2 * rows + 1, columns + 1): row frequencies -rows..rows, column frequencies 0..columns. Those of
            negative column frequency are their conjugates.
        height: Rows of the plane.
        width: Columns of the plane.
    """

    corner: NDArray[np.complex64]
    height: int
    width: int


def spectrum_of(values: NDArray[Any], *, mean: float, highest_px: float) -> Spectrum:
    """Transform a plane, as far as the slope and the bands need it.

    The slope uses an eighth of each axis, the bands end at `highest_px` cycles per pixel, and energies of the whole
    spectrum come from the pixels (Parseval).

    Args:
        values: Finite pixels, shape (y, x), C-contiguous.
        mean: Mean of the values.
        highest_px: Upper end of the highest band in cycles per pixel.
    """
    height, width = values.shape
    # The slope's mirrored rings reach two frequencies beyond the last ring, the window's filter one beyond a band.
    rings = min(height, width) // 8 + 2
    rows, columns = (min(size // 2, max(int(highest_px * size) + 2, rings)) for size in (height, width))
    return Spectrum(low_corner(values, mean=mean, rows=rows, columns=columns), height, width)


def power_slope(spectrum: Spectrum) -> float:
    """Return CellProfiler's PowerLogLogSlope.

    Ordinary least squares of ln(sum of power in a ring) on ln(ring) for rings 2 .. floor(min(height, width) / 8) - 1,
    where bin (i, j) of the full transform lies in ring floor(sqrt(min(i, H-1-i)^2 + min(j, W-1-j)^2)) + 1. That
    mirror takes frequency -k for k - 1; it is copied because the values must agree. No window. 0 when fewer than two
    rings have power.
    """
    last = min(spectrum.height, spectrum.width) // 8 - 1
    if last < 3:
        return 0.0
    power = _ring_sums(spectrum.corner, _rings(last))[2:]
    ring = np.arange(2, last + 1, dtype=np.float64)
    kept = (power > 0) & np.isfinite(power)
    if np.count_nonzero(kept) < 2:
        return 0.0
    x, y = np.log(ring[kept]), np.log(power[kept])
    x -= x.mean()
    return float(x @ (y - y.mean()) / (x @ x))


@lru_cache(maxsize=8)
def _rings(last: int) -> NDArray[np.int32]:
    """Return ring floor(sqrt(i^2 + j^2)) + 1 of mirrored indices 0..last, or 0 beyond ring `last`; read-only."""
    index = np.arange(last + 2)
    ring = np.sqrt(np.add.outer(index**2, index**2)).astype(np.int32) + 1
    ring[ring > last] = 0
    ring.setflags(write=False)
    return ring


@compiled()
def _ring_sums(corner: NDArray[np.complex64], rings: NDArray[np.int32]) -> NDArray[np.float64]:
    """Sum |F|^2 per ring over the full transform; ring 0 collects what lies beyond.

    Column -m holds the conjugate of (-row, m) and is counted as column m - 1; the same holds for rows.
    """
    zero = corner.shape[0] // 2
    last = rings.shape[0] - 2
    out = np.zeros(last + 1)
    for k in range(-last - 1, last + 1):
        own = rings[k if k >= 0 else -k - 1]
        # The mirrored partner of row frequency k is -k.
        other = rings[k - 1 if k > 0 else -k]
        line = corner[k + zero]
        for m in range(last + 1):
            f = line[m]
            power = np.float64(f.real * f.real + f.imag * f.imag)
            out[own[m]] += power
            if m > 0:
                out[other[m - 1]] += power
    return out


@dataclass(frozen=True, slots=True)
class Band:
    """A ring of spatial frequencies in cycles per pixel, low <= f < high."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class BandPower:
    """Power of the Hann-windowed plane inside a band.

    Attributes:
        total: Sum of |F|^2 over the full transform's coefficients in the band.
        number: How many coefficients those are.
    """

    total: float
    number: int


def hann_squares(size: int) -> NDArray[np.float64]:
    """Return the squared periodic Hann window of the given length."""
    squares: NDArray[np.float64] = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)) ** 2
    return squares


def band_power(spectrum: Spectrum, bands: tuple[Band, ...]) -> list[BandPower]:
    """Return the power of the Hann-windowed plane in each band; the coefficient at frequency 0 never counts.

    A product with a Hann window is, in the transform, the three-tap filter (-1/4, 1/2, -1/4) along each axis, so the
    transform that the slope needs without a window serves here too.

    Args:
        spectrum: Reaching at least one frequency above the highest band.
        bands: Bands in cycles per pixel.
    """
    edges = sorted({edge for band in bands for edge in (band.low, band.high)})
    total, number = _band_sums(spectrum.corner, spectrum.height, spectrum.width, np.array(edges) ** 2)
    # Between two neighbouring edges the sums are the same for every band, so each coefficient is added once.
    found = []
    for band in bands:
        parts = slice(edges.index(band.low), edges.index(band.high))
        found.append(BandPower(total=float(total[parts].sum()), number=int(number[parts].sum())))
    return found


@compiled(fastmath=True)
def _band_sums(
    corner: NDArray[np.complex64], height: int, width: int, edges: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Filter rows, then columns, with the window's taps; add up the power between neighbouring (squared) edges."""
    total = np.zeros(edges.size - 1)
    number = np.zeros(edges.size - 1, dtype=np.int64)
    rows, columns = corner.shape[0] // 2, corner.shape[1] - 1
    top = np.sqrt(edges[-1])
    half, quarter = np.float32(0.5), np.float32(0.25)
    real = np.empty(columns + 2, dtype=np.float32)
    imaginary = np.empty(columns + 2, dtype=np.float32)
    power = np.empty(columns, dtype=np.float32)
    reach = min(rows - 1, int(top * height))
    for k in range(-reach, reach + 1):
        here, above, below = corner[rows + k], corner[rows + k - 1], corner[rows + k + 1]
        for m in range(columns + 1):
            real[m + 1] = half * here[m].real - quarter * (above[m].real + below[m].real)
            imaginary[m + 1] = half * here[m].imag - quarter * (above[m].imag + below[m].imag)
        # Column -1 of row k is the conjugate of column 1 of row -k, which the row filter doesn't change.
        mirror = half * corner[rows - k, 1] - quarter * (corner[rows - k + 1, 1] + corner[rows - k - 1, 1])
        real[0] = mirror.real
        imaginary[0] = -mirror.imag
        for m in range(columns):
            a = half * real[m + 1] - quarter * (real[m] + real[m + 2])
            b = half * imaginary[m + 1] - quarter * (imaginary[m] + imaginary[m + 2])
            power[m] = a * a + b * b
        square = (k / height) ** 2
        # Frequency rises along the row, so each part is one run of columns.
        start = 0
        for part in range(-1, edges.size - 1):
            beyond = edges[part + 1] - square
            end = start if beyond <= 0 else min(columns, max(start, int(np.ceil(np.sqrt(beyond) * width))))
            if part >= 0:
                for m in range(start, end):
                    # Every column frequency but 0 stands for its negative too.
                    weight = 1 if m == 0 else 2
                    total[part] += weight * np.float64(power[m])
                    number[part] += weight
            start = end
    return total, number

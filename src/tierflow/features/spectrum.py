"""The low frequencies of a plane's Fourier transform, shared by PowerLogLogSlope and the measures of structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_SIDE_PX = 8


def low_frequencies(values: NDArray[Any], *, mean: float, reach: int) -> NDArray[np.complex64]:
    """Return the transform of (values - mean) for column frequencies 0..reach, in single precision.

    Nothing above is needed: the slope uses an eighth of each axis and the bands end below; energies of the whole
    spectrum come from the pixels (Parseval).

    Args:
        values: Finite pixels, shape (y, x).
        mean: Subtracted first, so that the other coefficients keep their digits.
        reach: Highest column frequency, at most width // 2.

    Returns:
        Shape (y, reach + 1): row frequencies in numpy's order (0, 1, .. , -1), column frequencies 0..reach.
    """
    rows = np.fft.rfft(values.astype(np.float32) - np.float32(mean), axis=1)[:, : reach + 1]
    return np.fft.fft(rows, axis=0)


def power_slope(spectrum: NDArray[np.complex64], *, width: int) -> float:
    """Return CellProfiler's PowerLogLogSlope.

    Ordinary least squares of ln(sum of power in a ring) on ln(ring) for rings 2 .. floor(min(height, width) / 8) - 1,
    where bin (i, j) of the full transform lies in ring floor(sqrt(min(i, H-1-i)^2 + min(j, W-1-j)^2)) + 1. That
    mirror takes frequency -k for k - 1; it is copied because the values must agree. No window. 0 when fewer than two
    rings have power.

    Args:
        spectrum: From `low_frequencies`, reaching at least min(height, width) // 8 + 1.
        width: Number of columns of the plane.
    """
    height = spectrum.shape[0]
    last = min(height, width) // 8 - 1
    if last < 3:  # noqa: PLR2004
        return 0.0
    power = _ring_sums(spectrum, last)[2:]
    ring = np.arange(2, last + 1, dtype=np.float64)
    kept = (power > 0) & np.isfinite(power)
    if np.count_nonzero(kept) < 2:  # noqa: PLR2004
        return 0.0
    x, y = np.log(ring[kept]), np.log(power[kept])
    x -= x.mean()
    return float(x @ (y - y.mean()) / (x @ x))


@njit(cache=True, nogil=True)
def _ring_sums(spectrum: NDArray[np.complex64], last: int) -> NDArray[np.float64]:
    """Sum |F|^2 per ring 0..last over the full transform, from its non-negative column frequencies.

    Column -m holds the conjugate of (-row, m) and is counted as column m - 1; the same holds for rows.
    """
    height = spectrum.shape[0]
    out = np.zeros(last + 1)
    for signed in range(-last - 1, last + 1):
        i = signed if signed >= 0 else signed + height
        own = signed if signed >= 0 else -signed - 1
        # The mirrored partner of row frequency k is -k.
        other = signed - 1 if signed > 0 else -signed
        for m in range(last + 1):
            f = spectrum[i, m]
            power = np.float64(f.real) * np.float64(f.real) + np.float64(f.imag) * np.float64(f.imag)
            ring = int(np.sqrt(np.float64(own * own + m * m))) + 1
            if ring <= last:
                out[ring] += power
            if m > 0:
                ring = int(np.sqrt(np.float64(other * other + (m - 1) * (m - 1)))) + 1
                if ring <= last:
                    out[ring] += power
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


def band_power(spectrum: NDArray[np.complex64], *, width: int, bands: tuple[Band, ...]) -> list[BandPower]:
    """Return the power of the Hann-windowed plane in each band; the coefficient at frequency 0 never counts.

    A product with a Hann window is, in the transform, the three-tap filter (-1/4, 1/2, -1/4) along each axis, so the
    transform that the slope needs without a window serves here too.

    Args:
        spectrum: From `low_frequencies`, reaching at least one column frequency above the highest band.
        width: Number of columns of the plane.
        bands: Bands in cycles per pixel.
    """
    low = np.array([b.low for b in bands])
    high = np.array([b.high for b in bands])
    total, number = _band_sums(spectrum, width, low, high)
    return [BandPower(total=float(t), number=int(n)) for t, n in zip(total, number, strict=True)]


@njit(cache=True, nogil=True)
def _band_sums(
    spectrum: NDArray[np.complex64], width: int, low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Filter rows, then columns, with the window's three taps and add up the power per band."""
    height, columns = spectrum.shape
    total = np.zeros(low.size)
    number = np.zeros(low.size, dtype=np.int64)
    top = high.max()
    reach = min(columns - 1, width // 2)
    tall = min(int(top * height) + 1, height // 2)
    line = np.empty(columns, dtype=np.complex128)
    for k in range(-tall, tall + 1):
        if 2 * k == -height:
            # Row frequency -H/2 is H/2.
            continue
        i, up, down = k % height, (k - 1) % height, (k + 1) % height
        for m in range(columns):
            line[m] = 0.5 * spectrum[i, m] - 0.25 * (spectrum[up, m] + spectrum[down, m])
        # Column -1 of row k is the conjugate of column 1 of row -k, which the row filter doesn't change.
        n, nup, ndown = (-k) % height, (-k + 1) % height, (-k - 1) % height
        left = np.conj(0.5 * spectrum[n, 1] - 0.25 * (spectrum[nup, 1] + spectrum[ndown, 1]))
        fy = k / height
        for m in range(reach):
            fx = m / width
            f = np.sqrt(fx * fx + fy * fy)
            if f == 0 or f > top:
                continue
            before = left if m == 0 else line[m - 1]
            v = 0.5 * line[m] - 0.25 * (before + line[m + 1])
            # Every column frequency but 0 stands for its negative too.
            weight = 1 if m == 0 else 2
            power = weight * (v.real * v.real + v.imag * v.imag)
            for b in range(low.size):
                if low[b] <= f < high[b]:
                    total[b] += power
                    number[b] += weight
    return total, number

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
# Lines at a border whose mean is compared with the opposite border's.
_BORDER_PX = 8


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Low frequencies of a plane minus its mean, without a window, and of the jumps over its borders.

    Attributes:
        corner: Shape (2 * rows + 1, columns + 1): row frequencies -rows..rows, column frequencies 0..columns. Those of
            negative column frequency are their conjugates.
        down: Transform of (last rows - first rows), shape (columns + 1,): column frequencies 0..columns.
        across: Transform of (last columns - first columns), shape (2 * rows + 1,): row frequencies -rows..rows.
        height: Rows of the plane.
        width: Columns of the plane.
    """

    corner: NDArray[np.complex64]
    down: NDArray[np.complex128]
    across: NDArray[np.complex128]
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
    # The slope's mirrored rings reach two frequencies beyond the last ring.
    rings = min(height, width) // 8 + 2
    rows, columns = (min(size // 2, max(int(highest_px * size) + 2, rings)) for size in (height, width))
    # Means over a few lines, because the noise of a single line would come back as structure at low frequencies.
    lines = max(1, min(_BORDER_PX, min(height, width) // 16))
    top, bottom = (part.mean(axis=0, dtype=np.float64) for part in (values[:lines], values[-lines:]))
    left, right = (part.mean(axis=1, dtype=np.float64) for part in (values[:, :lines], values[:, -lines:]))
    return Spectrum(
        corner=low_corner(values, mean=mean, rows=rows, columns=columns),
        down=np.fft.fft(bottom - top)[: columns + 1],
        across=np.fft.fft(right - left)[np.arange(-rows, rows + 1)],
        height=height,
        width=width,
    )


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
    """Power of the plane's periodic component inside a band.

    Attributes:
        total: Sum of |F|^2 over the full transform's coefficients in the band, row and column patterns left out.
        number: How many coefficients those are.
        pattern_total: The same sum over the coefficients of row or column frequency 0.
        pattern_number: How many those are.
    """

    total: float
    number: int
    pattern_total: float = 0.0
    pattern_number: int = 0


def band_power(spectrum: Spectrum, bands: tuple[Band, ...]) -> list[BandPower]:
    """Return the power of the plane's periodic component in each band; the coefficient at frequency 0 never counts.

    The transform repeats the plane without end, so what differs between opposite borders (uneven illumination, cells
    that are cut off) would spread over all frequencies. A window avoids that but loses what lies near the border, on
    sparse planes everything. Here the smooth component that explains the jumps is subtracted instead (L. Moisan,
    Journal of Mathematical Imaging and Vision 39 (2011) 161); its transform follows from those of the jumps.

    Coefficients of row or column frequency 0 are summed on their own: all that is a function of x plus a function of y
    lies there, such as vignetting and the stripes of a camera, and hardly anything of an image.

    Args:
        spectrum: Reaching the highest band.
        bands: Bands in cycles per pixel.
    """
    edges = sorted({edge for band in bands for edge in (band.low, band.high)})
    rows, columns = spectrum.corner.shape[0] // 2, spectrum.corner.shape[1] - 1
    turn_down = 2 * np.pi * np.arange(-rows, rows + 1) / spectrum.height
    turn_across = 2 * np.pi * np.arange(columns + 1) / spectrum.width
    total, number = _band_sums(
        spectrum.corner,
        spectrum.down,
        spectrum.across,
        turn_down,
        turn_across,
        np.array(edges) ** 2,
    )
    # Between two neighbouring edges the sums are the same for every band, so each coefficient is added once.
    found = []
    for band in bands:
        parts = slice(edges.index(band.low), edges.index(band.high))
        powers, numbers = total[:, parts].sum(axis=1).tolist(), number[:, parts].sum(axis=1).tolist()
        found.append(BandPower(total=powers[0], number=numbers[0], pattern_total=powers[1], pattern_number=numbers[1]))
    return found


@compiled(fastmath=True)
def _band_sums(
    corner: NDArray[np.complex64],
    down: NDArray[np.complex128],
    across: NDArray[np.complex128],
    turn_down: NDArray[np.float64],
    turn_across: NDArray[np.float64],
    edges: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Subtract the smooth component; add up the power between neighbouring (squared) edges in cycles per pixel."""
    # First what is no row or column pattern, then what is.
    total = np.zeros((2, edges.size - 1))
    number = np.zeros((2, edges.size - 1), dtype=np.int64)
    columns = turn_across.size
    phase = 1.0 - np.exp(1j * turn_across)
    cosine = 2.0 * np.cos(turn_across) - 4.0
    per_turn = 1.0 / (2.0 * np.pi)
    spacing = turn_across[1] * per_turn
    power = np.empty(columns)
    for k in range(turn_down.size):
        frequency = turn_down[k] * per_turn
        square = frequency * frequency
        if square >= edges[-1]:
            continue
        last = min(columns, int(np.ceil(np.sqrt(edges[-1] - square) / spacing)))
        bend = 2.0 * np.cos(turn_down[k])
        twist = 1.0 - np.exp(1j * turn_down[k])
        jump = across[k]
        first = 1 if frequency == 0.0 else 0
        for m in range(first, last):
            rest = corner[k, m] - (down[m] * twist + jump * phase[m]) / (bend + cosine[m])
            power[m] = rest.real * rest.real + rest.imag * rest.imag
        # Frequency rises along the row, so each part is one run of columns.
        start = first
        for part in range(-1, edges.size - 1):
            beyond = edges[part + 1] - square
            end = start if beyond <= 0 else min(columns, max(start, int(np.ceil(np.sqrt(beyond) / spacing))))
            if part >= 0:
                for m in range(start, end):
                    # Every column frequency but 0 stands for its negative too.
                    weight = 1 if m == 0 else 2
                    kind = 1 if m == 0 or frequency == 0.0 else 0
                    total[kind, part] += weight * power[m]
                    number[kind, part] += weight
            start = end
    return total, number

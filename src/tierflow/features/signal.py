"""tierflow's own measures: pure functions from distributions, tile means and band powers to numbers."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tierflow.features.levels import Levels
    from tierflow.features.residual import Residual
    from tierflow.features.spectrum import BandPower

FOREGROUND_SIGMAS = 4.0
BACKGROUND_SHARE = 0.25
GRID = 8
_MIN_GRID = 3
_MIN_COEFFICIENTS = 8
_QUADRATIC_TERMS = 6
# Standard errors that a signal's energy is taken to have at least.
_SURE = 3.0
# Share of coefficients that are independent: the others are their conjugates.
_INDEPENDENT = 0.5
# Relative variance of the noise power times the number of pixels: 2 sum(rho^2) of the mask's response.
_NOISE_ERROR = 2 * (35 / 18) ** 2


def mid_band_share(band: BandPower, *, energy: float) -> float:
    """Share of the power spectrum's energy that lies in the mid band, frequency 0 excluded.

    band power of the plane's periodic component (see `band_power`) / energy of the plane minus its mean. Range 0..1,
    no unit; 0 for a constant plane. In-focus images have more of their energy there than blurred ones of the same
    exposure. White noise has .068, so dim images are drawn towards that from both sides; `sharpness` isn't. Fails when
    the objects are much larger or smaller than the band's periods, and on planes whose energy is mostly shading or
    debris.

    Args:
        band: Power in the mid band.
        energy: Power over all coefficients but frequency 0, in the same unit.

    Returns:
        NaN when the plane is too small to have such frequencies.
    """
    if band.number < _MIN_COEFFICIENTS:
        return float("nan")
    return min(1.0, band.total / energy) if energy > 0 else 0.0


def sharpness(mid: BandPower, low: BandPower, *, residual: Residual, pixels: int) -> float:
    """Share of the signal's energy that lies in the mid band, with the noise's energy taken away.

    (mid band power - noise) / max(power below 0.16 cycles per px - noise, 3 standard errors of that), of the plane's
    periodic component (see `band_power`), with the noise from the plane's highest frequencies, clipped to 0..1. No
    unit. The same image has about the same value at any exposure: .19 to .45 in focus, up to .002 blurred (BBBC006).
    Fails where hardly any signal is left: below a `structure_z` of about 30 it is a matter of chance between 0 and 1.
    Else it fails like `mid_band_share`.

    Args:
        mid: Power in the mid band.
        low: Power at all frequencies from just above 0 to 0.16 cycles per px.
        residual: Noise of the plane; its power must be above 0 or NaN.
        pixels: Number of pixels.

    Returns:
        NaN when the plane is too small.
    """
    if mid.number < _MIN_COEFFICIENTS or not np.isfinite(residual.white_power):
        return float("nan")
    noise = pixels * residual.white_power
    # Vignetting and stripes are energy that isn't fine detail of the object: they count below the line only.
    number, total = low.number + low.pattern_number, low.total + low.pattern_total
    error = noise * np.sqrt(number / _INDEPENDENT + _NOISE_ERROR / pixels * number**2)
    signal = max(total - number * noise, _SURE * error)
    return float(min(1.0, max(0.0, (mid.total - mid.number * noise) / signal)))


def structure_snr(octaves: Sequence[BandPower], *, residual: Residual, pixels: int) -> float:
    """How far the power at low and middle frequencies exceeds that of the plane's own noise.

    max(0, mean power per coefficient over all octaves / power that white noise of the plane's highest frequencies
    has - 1), of the plane's periodic component. Range 0 upwards, no unit: 0 for pure noise (give or take
    `structure_z`'s unit) and for constant planes, hundreds to millions for good images. Fails on noise that isn't
    white: interpolated, denoised or JPEG-compressed empty planes have structure by this measure.

    Args:
        octaves: Power in the octaves of the structure band.
        residual: Noise of the plane; its power must be above 0 or NaN.
        pixels: Number of pixels.

    Returns:
        NaN when the plane is too small.
    """
    number = sum(octave.number for octave in octaves)
    if number < _MIN_COEFFICIENTS or not np.isfinite(residual.white_power):
        return float("nan")
    total = sum(octave.total for octave in octaves)
    return max(0.0, total / number / (pixels * residual.white_power) - 1.0)


def structure_z(octaves: Sequence[BandPower], *, residual: Residual, pixels: int) -> float:
    """How sure it is that a plane holds more than white noise: excess over noise in standard errors.

    For each octave: (mean power / noise power - 1) / sqrt(1 / n + 7.6 / pixels), of the plane's periodic component,
    with n the octave's independent coefficients (half of them) and 7.6 / pixels the error of the noise power itself;
    the result is the largest. Range: below 5 for pure noise of any size, hundreds to millions for images; negative when
    even the best octave falls below the noise. No unit. Fails like `structure_snr`, and grows with the number of
    pixels: the same faint structure is surer on a larger plane.

    Args:
        octaves: Power in the octaves of the structure band.
        residual: Noise of the plane; its power must be above 0 or NaN.
        pixels: Number of pixels.

    Returns:
        NaN when the plane is too small.
    """
    if not np.isfinite(residual.white_power):
        return float("nan")
    found = [
        (octave.total / octave.number / (pixels * residual.white_power) - 1.0)
        / np.sqrt(1.0 / (octave.number * _INDEPENDENT) + _NOISE_ERROR / pixels)
        for octave in octaves
        if octave.number >= _MIN_COEFFICIENTS
    ]
    return float(max(found)) if found else float("nan")


def background_level(levels: Levels) -> float:
    """Mean of the densest quarter of the pixels: the shortest range of values that holds 25 % of them.

    Range: the pixels' own; unit: count. Finds the empty background of fluorescence and bright-field images alike.
    Fails when even surfaces of objects hold more pixels than the background does.
    """
    need = int(np.ceil(BACKGROUND_SHARE * levels.total))
    before = levels.cumulative - levels.counts
    last = np.searchsorted(levels.cumulative, before + need, side="left")
    valid = last < levels.raw.size
    first, last = np.flatnonzero(valid), last[valid]
    width = levels.raw[last] - levels.raw[first]
    inside = levels.cumulative[last] - before[first]
    best = int(np.lexsort((-inside, width))[0])
    chosen = slice(int(first[best]), int(last[best]) + 1)
    return float(levels.raw[chosen] @ levels.counts[chosen]) / float(levels.counts[chosen].sum())


def signal_to_noise(levels: Levels, *, sigma: float) -> float:
    """How far the brightest pixels stand out: (99.9th percentile - median) / noise sigma.

    Range 0 upwards, no unit; 3.1 for pure Gaussian noise, 0 for a constant plane. Fails on bright-field images (their
    objects are darker than the background) and counts debris and hot pixels that cover more than 0.1 % as signal.
    """
    return (levels.quantile(0.999) - levels.quantile(0.5)) / sigma


def foreground_share(levels: Levels, *, background: float, sigma: float) -> float:
    """Share of pixels further than 4 noise sigmas from the background, brighter or darker.

    Range 0..1; about 0.0001 for pure noise. Fails with strongly uneven illumination, which lifts empty parts out of
    the background's range, and where the background itself was missed.
    """
    reach = FOREGROUND_SIGMAS * sigma
    return 1.0 - levels.share_within(background - reach, background + reach)


def dynamic_range_bits(levels: Levels, *, sigma: float) -> float:
    """Number of gray steps that noise lets one tell apart, in bits: log2(1 + (p99.9 - p0.1) / noise sigma).

    Range 0 upwards; unit: bit. 2.8 for pure Gaussian noise, 0 for a constant plane. Fails like `noise_sigma`.
    """
    return float(np.log2(1.0 + (levels.quantile(0.999) - levels.quantile(0.001)) / sigma))


def illumination_ratio(tile_means: NDArray[np.float64]) -> float:
    """Brightest over darkest place of the fitted background.

    Tiles are grouped into at most 8 x 8 blocks; the lower quartile of a block's tile means stands for its background;
    a parabola in x and y is fitted to the blocks; the result is its maximum over its minimum at the blocks' centres.
    Range 1 upwards, no unit; 1 is even. The camera's offset counts as light, so real unevenness is larger. Fails when
    objects fill whole blocks.

    Args:
        tile_means: Mean of each tile in raw counts, shape (tile row, tile column); NaN where a tile has no pixel.

    Returns:
        NaN when there are fewer than 3 x 3 blocks, or the fit isn't above 0 everywhere.
    """
    rows, columns = (min(GRID, n) for n in tile_means.shape)
    if min(rows, columns) < _MIN_GRID:
        return float("nan")
    blocks = _low_quartiles(tile_means, rows=rows, columns=columns)
    terms = _parabola_terms(rows, columns)
    known = np.isfinite(blocks)
    if np.count_nonzero(known) < _QUADRATIC_TERMS:
        return float("nan")
    fit = terms @ np.linalg.lstsq(terms[known], blocks[known], rcond=None)[0]
    return float(fit.max() / fit.min()) if fit.min() > 0 else float("nan")


@lru_cache(maxsize=64)
def _parabola_terms(rows: int, columns: int) -> NDArray[np.float64]:
    """Return 1, x, y, x^2, xy, y^2 at the blocks' centres, shape (rows * columns, 6); read-only."""
    y, x = (axis.ravel() for axis in np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij"))
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    terms.setflags(write=False)
    return terms


def _low_quartiles(tile_means: NDArray[np.float64], *, rows: int, columns: int) -> NDArray[np.float64]:
    """Return the value that a quarter of a block's tiles don't exceed, shape (rows * columns,); NaN without a tile.

    All blocks are sorted at once: 64 calls of a percentile would cost more than the other measures of a small plane.
    """
    padded = np.append(np.where(np.isfinite(tile_means), tile_means, np.nan), np.nan)
    ordered = np.sort(padded[_tiles_of_blocks(*tile_means.shape, rows, columns)], axis=1)
    known = np.count_nonzero(np.isfinite(ordered), axis=1)
    return np.where(known > 0, ordered[np.arange(len(ordered)), known // 4], np.nan)


@lru_cache(maxsize=64)
def _tiles_of_blocks(height: int, width: int, rows: int, columns: int) -> NDArray[np.int64]:
    """Return each block's tiles as positions in the flat array, padded with one behind its end; read-only."""
    tiles = np.arange(height * width).reshape(height, width)
    bands = (np.array_split(band, columns, axis=1) for band in np.array_split(tiles, rows, axis=0))
    blocks = [block.ravel() for band in bands for block in band]
    filled = np.full((len(blocks), max(block.size for block in blocks)), height * width)
    for row, block in zip(filled, blocks, strict=True):
        row[: block.size] = block
    filled.setflags(write=False)
    return filled

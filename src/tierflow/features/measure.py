"""Measure one plane: read each pixel few times, and share what several features need."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.features import signal
from tierflow.features.about import UNITS
from tierflow.features.base import Measurement
from tierflow.features.contrast import object_z
from tierflow.features.correlation import correlation_features
from tierflow.features.intensity import intensity_features
from tierflow.features.levels import Levels, entropy_bits, histogram, levels_of
from tierflow.features.pixel_hash import hash_pixels
from tierflow.features.pixels import GrayPlane, to_gray
from tierflow.features.residual import TILE_PX, Residual, residual_of
from tierflow.features.saturation import detector_limit, saturated_share
from tierflow.features.spectrum import MIN_SIDE_PX, Band, Spectrum, band_power, power_slope, spectrum_of
from tierflow.features.tiles import TileSums, local_focus_features, tile_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tierflow.features.base import FeatureSettings
    from tierflow.io.plane import Plane

# 0.06 to 0.3 of Nyquist in cycles per pixel: the band that ranked focus best on real images.
MID_BAND_PX = Band(0.03, 0.15)
# Where the band is the same in um: the pixel size of those images (20x objective, binning 2).
USUAL_PIXEL_UM = 0.65
# The finest pixels at which the band still follows the pixel size, as a share of the usual one.
_FINEST = 2 / 3
# 0.02 to 0.32 of Nyquist in octaves: above the reach of uneven illumination, below that of pixel noise.
STRUCTURE_EDGES_PX = (0.01, 0.02, 0.04, 0.08, 0.16)
# Fewer cycles than this over the plane's longer side are uneven illumination, too.
STRUCTURE_MIN_CYCLES = 5
_JUST_ABOVE_ZERO = 1e-9


def mid_band(pixel_size_um: float | None) -> Band:
    """Return the mid band in cycles per pixel for a pixel size.

    0.046 to 0.23 cycles per um (periods of 4.3 to 21.7 um), which is 0.03 to 0.15 cycles per px at 0.65 um per px. It
    follows the pixel size only where that was shown to do no harm: coarser pixels keep 0.03 to 0.15 cycles per px
    (going up to 0.22 costs the ranking at 2 % light: AUC .56 instead of 1), finer ones than 0.43 um keep 0.02 to 0.1.

    Args:
        pixel_size_um: Edge of a pixel; None or not a positive number where unknown.
    """
    if pixel_size_um is None or not math.isfinite(pixel_size_um) or pixel_size_um <= 0:
        return MID_BAND_PX
    factor = min(max(pixel_size_um / USUAL_PIXEL_UM, _FINEST), 1.0)
    return Band(MID_BAND_PX.low * factor, MID_BAND_PX.high * factor)


def structure_octaves(longest_px: int) -> tuple[Band, ...]:
    """Return the octaves in which structure is sought, in cycles per pixel, for a plane's longer side."""
    floor = STRUCTURE_MIN_CYCLES / longest_px
    edges = [max(edge, floor) for edge in STRUCTURE_EDGES_PX]
    return tuple(Band(low, high) for low, high in pairwise(edges))


def measure_plane(plane: Plane, *, settings: FeatureSettings, scales: tuple[int, ...]) -> Measurement:
    """Return all features of a plane, its 256-bin histogram and the hash of its pixels.

    Args:
        plane: Pixels of shape (y, x) or (y, x, 3).
        settings: Pixel size and bit depth where the plane doesn't say.
        scales: Scales in pixels, ascending, each once.

    Raises:
        UnmeasurableError: when there is no pixel, no finite pixel, or the pixels aren't numbers.
    """
    gray = to_gray(plane)
    levels = levels_of(gray)
    sums = tile_sums(gray.values, {*scales, TILE_PX})
    per_unit = gray.divisor if gray.is_integer else 1.0
    found = {
        **intensity_features(levels, divisor=gray.divisor, area=gray.finite),
        **local_focus_features(sums, scales=scales, per_unit=per_unit),
        **correlation_features(gray, levels, scales=scales),
        **_spectral_features(plane, gray, levels, settings=settings, sums=sums[TILE_PX]),
        **_value_features(plane, gray, levels, settings=settings),
    }
    features = {
        name: found[name]
        for template in UNITS
        for name in ([template.replace("{N}", str(n)) for n in scales] if "{N}" in template else [template])
    }
    return Measurement(
        # An overflow somewhere must not reach a table as infinity.
        features={name: value if math.isfinite(value) else math.nan for name, value in features.items()},
        histogram=histogram(levels),
        pixel_hash=hash_pixels(plane.pixels),
    )


def _spectral_features(
    plane: Plane, gray: GrayPlane, levels: Levels, *, settings: FeatureSettings, sums: TileSums
) -> dict[str, float]:
    """Return the slope and tierflow's measures of structure and noise."""
    filled, unit = _filled(gray, levels)
    mean = levels.raw_mean / unit
    mid = mid_band(plane.pixel_size_um or settings.pixel_size_um)
    whole = Band(_JUST_ABOVE_ZERO, STRUCTURE_EDGES_PX[-1])
    bands = (mid, whole, *structure_octaves(max(gray.values.shape)))
    spectrum = spectrum_of(filled, mean=mean, highest_px=STRUCTURE_EDGES_PX[-1])
    residual = residual_of(filled, mean=mean)
    # No noise is smaller than that of rounding to whole counts (or to float32).
    rounding = max(gray.step / unit / math.sqrt(12), 2.0**-24)
    sigma = max(residual.sigma, rounding) * unit
    background = signal.background_level(levels)
    return {
        "ImageQuality_PowerLogLogSlope": 0.0 if _spread_is_zero(levels) else power_slope(spectrum),
        **_band_features(spectrum, residual, bands=bands, rounding=rounding),
        "object_z": object_z(filled, sums.divided(unit / gray.count), scale=TILE_PX, sigma=sigma / unit),
        "noise_sigma": residual.sigma * unit,
        "background": background,
        "snr": signal.signal_to_noise(levels, sigma=sigma),
        "foreground_share": signal.foreground_share(levels, background=background, sigma=sigma),
        "dynamic_range": signal.dynamic_range_bits(levels, sigma=sigma),
        "illumination_ratio": signal.illumination_ratio(sums.mean() * gray.count),
    }


def _band_features(
    spectrum: Spectrum, residual: Residual, *, bands: tuple[Band, ...], rounding: float
) -> dict[str, float]:
    names = ("mid_band_share", "sharpness", "structure_snr", "structure_z")
    if min(spectrum.height, spectrum.width) < MIN_SIDE_PX:
        return dict.fromkeys(names, math.nan)
    mid, low, *octaves = band_power(spectrum, bands)
    pixels = spectrum.height * spectrum.width
    floored = replace(residual, white_power=max(residual.white_power, rounding * rounding))
    return {
        "mid_band_share": signal.mid_band_share(mid, energy=residual.energy * pixels),
        "sharpness": signal.sharpness(mid, low, residual=floored, pixels=pixels),
        "structure_snr": signal.structure_snr(octaves, residual=floored, pixels=pixels),
        "structure_z": signal.structure_z(octaves, residual=floored, pixels=pixels),
    }


def _value_features(plane: Plane, gray: GrayPlane, levels: Levels, *, settings: FeatureSettings) -> dict[str, float]:
    """Return the measures that only look at the values as stored."""
    if gray.is_integer:
        limit = detector_limit(plane, highest=float(levels.raw[-1]), bit_depth=settings.bit_depth)
        saturated = levels.share_within(limit, math.inf)
    else:
        saturated = saturated_share(plane, bit_depth=settings.bit_depth)
    return {
        "saturated_share": saturated,
        "black_share": levels.share_within(0.0, 0.0),
        "finite_share": gray.finite / gray.values.size,
        "entropy_bits": entropy_bits(levels, whole_numbers=gray.is_integer),
    }


def _filled(gray: GrayPlane, levels: Levels) -> tuple[NDArray[Any], float]:
    """Return finite values for the transform, and the raw counts per 1.0 of them.

    The mean takes the place of NaN, as CellProfiler fills masked pixels. Real numbers are divided by the largest one:
    their squares must neither overflow nor vanish in single precision.
    """
    if gray.is_integer:
        return gray.values, 1.0
    peak = max(abs(float(levels.scaled[0])), abs(float(levels.scaled[-1]))) or 1.0
    values = gray.values / np.float32(peak)
    if gray.finite < values.size:
        values[np.isnan(values)] = np.float32(levels.raw_mean / gray.count / peak)
    return values, gray.count * peak


def _spread_is_zero(levels: Levels) -> bool:
    """Tell whether more than half of the pixels equal the mean; CellProfiler then has no slope and reports 0."""
    mean = np.float32(levels.raw_mean / float(levels.raw[-1]) * float(levels.scaled[-1])) if levels.raw[-1] else 0
    return bool(levels.counts[levels.scaled == mean].sum() * 2 > levels.total) or levels.scaled.size == 1

"""What every feature of `image_quality` means, with its unit; `{N}` stands for a scale in pixels."""

from __future__ import annotations

_CP = "As CellProfiler 4.2.8.1 computes it. "
_FEATURES: tuple[tuple[str, str, str], ...] = (
    ("ImageQuality_Scaling", "count", _CP + "What raw counts are divided by: TIFF tag 281, else by pixel type."),
    (
        "ImageQuality_FocusScore",
        "",
        _CP + "Population variance over mean, 0 upwards. Rises with sharpness, brightness and cell count alike.",
    ),
    (
        "ImageQuality_PowerLogLogSlope",
        "",
        _CP + "Slope of ln(power) on ln(frequency), about -4 to +2: +1 is white noise, -1 to -2 a usual image in"
        " focus, -3 blur. Not monotone: strong blur and weak signal climb back towards +1. 0 when undefined.",
    ),
    (
        "ImageQuality_LocalFocusScore_{N}",
        "",
        _CP + "Variance over median of the normalised variances of tiles of at most {N} x {N} px, 0 upwards.",
    ),
    (
        "ImageQuality_Correlation_{N}",
        "",
        _CP + "Correlation of eight gray levels {N} px apart along x, -1 to 1; low is sharp. 0 when undefined.",
    ),
    ("ImageQuality_PercentMaximal", "%", _CP + "Share of pixels equal to the image's own maximum, 0 to 100."),
    ("ImageQuality_PercentMinimal", "%", _CP + "Share of pixels equal to the image's own minimum, 0 to 100."),
    ("ImageQuality_TotalArea", "px", _CP + "Number of (finite) pixels."),
    ("ImageQuality_TotalIntensity", "", _CP + "Sum of the pixels on the 0..1 scale."),
    ("ImageQuality_MeanIntensity", "", _CP + "Mean of the pixels on the 0..1 scale."),
    ("ImageQuality_MedianIntensity", "", _CP + "Median of the pixels on the 0..1 scale."),
    ("ImageQuality_StdIntensity", "", _CP + "Population standard deviation on the 0..1 scale."),
    (
        "ImageQuality_MADIntensity",
        "",
        _CP + "Median distance from the median on the 0..1 scale, without 1.4826.",
    ),
    ("ImageQuality_MaxIntensity", "", _CP + "Largest pixel on the 0..1 scale."),
    ("ImageQuality_MinIntensity", "", _CP + "Smallest pixel on the 0..1 scale."),
    (
        "ImageQuality_ThresholdOtsu_2W",
        "",
        _CP + "Otsu's threshold between two classes, weighted variance, on logarithms, on the 0..1 scale.",
    ),
    (
        "mid_band_share",
        "",
        "Share of the power spectrum's energy at 0.03 to 0.15 cycles per px (0.046 to 0.23 per um where the pixel"
        " size is known and from 0.43 to 0.65 um), 0 to 1. High is sharp, at any exposure.",
    ),
    (
        "sharpness",
        "",
        "mid_band_share of the signal alone: the noise's energy is taken away, so one image has one value at any"
        " exposure. 0 to 1, about 0.2 in focus, 0.001 blurred. A matter of chance below a structure_z of 30.",
    ),
    (
        "structure_snr",
        "",
        "Power at 0.02 to 0.32 of Nyquist over that of the image's own noise, minus 1; 0 upwards. 0 is nothing but"
        " noise.",
    ),
    (
        "structure_z",
        "",
        "How sure it is that there is more than white noise: excess of the strongest octave from 0.02 to 0.32 of"
        " Nyquist in standard errors. Below 5 is nothing but noise.",
    ),
    (
        "object_z",
        "",
        "How surely some tile of 20 x 20 px differs from its neighbours, in standard errors. Below 5 is nothing but"
        " noise; finds single objects in an empty field.",
    ),
    ("snr", "", "(99.9th percentile - median) / noise_sigma, 0 upwards; 3.1 is pure noise."),
    ("noise_sigma", "count", "Standard deviation of the pixel noise in raw counts, from second differences."),
    (
        "foreground_share",
        "",
        "Share of pixels more than 4 noise_sigma away from the background, brighter or darker, 0 to 1.",
    ),
    ("saturated_share", "", "Share of pixels at the detector's limit, 0 to 1."),
    ("black_share", "", "Share of pixels that are exactly 0, 0 to 1: clipped, masked or missing."),
    ("finite_share", "", "Share of pixels that are finite numbers, 0 to 1; below 1 only in floating-point files."),
    ("background", "count", "Mean of the densest quarter of the pixels in raw counts."),
    ("illumination_ratio", "", "Brightest over darkest place of a parabola fitted to the background; 1 is even."),
    ("entropy_bits", "bit", "Shannon entropy of the pixel values, 0 to 16."),
    ("dynamic_range", "bit", "log2(1 + (99.9th - 0.1th percentile) / noise_sigma), 0 upwards."),
)

ABOUT: dict[str, str] = {name: about for name, _, about in _FEATURES}
UNITS: dict[str, str] = {name: unit for name, unit, _ in _FEATURES}

"""What features, flags and failures mean, in words for a newcomer."""

from __future__ import annotations

import re
from typing import NamedTuple

from tierflow.io.layouts.base import folder_plate
from tierflow.report.text import printable

TOP_FOLDER = folder_plate("")
"""The plate of files in the input's top folder whose names say none."""


class Meaning(NamedTuple):
    """A short name and a sentence."""

    label: str
    about: str


class Finding(NamedTuple):
    """What a flag says and what to do about it."""

    about: str
    remedy: str


_FEATURES = {
    "mid_band_share": Meaning(
        "Mid-band share",
        "Share of the image's variation at the size of cell structures: high in focus, low when blurred.",
    ),
    "snr": Meaning("Signal to noise", "How far the brightest pixels rise above the background, in units of the noise."),
    "structure_snr": Meaning("Structure to noise", "How far real structure rises above the noise."),
    "noise_sigma": Meaning("Noise", "Standard deviation of the noise, in counts."),
    "foreground_share": Meaning("Foreground share", "Share of the pixels that are brighter than the background."),
    "saturated_share": Meaning("Saturated share", "Share of the pixels at the detector's limit."),
    "background": Meaning("Background", "Level of the pixels without signal, in counts."),
    "illumination_ratio": Meaning(
        "Illumination ratio", "Brightest over darkest part of the smooth background: 1 is even."
    ),
    "entropy_bits": Meaning("Entropy", "How varied the pixel values are, in bits."),
    "dynamic_range": Meaning("Dynamic range", "Span of the pixel values that is really used."),
    "ImageQuality_PowerLogLogSlope": Meaning(
        "Power spectrum slope",
        "Slope of the log-log power spectrum: near 0 or above for noise, strongly negative for blur.",
    ),
    "ImageQuality_FocusScore": Meaning(
        "Focus score", "Variance over mean: grows with brightness as well as with focus."
    ),
    "ImageQuality_LocalFocusScore": Meaning("Local focus score", "How much the focus score differs between tiles."),
    "ImageQuality_Correlation": Meaning("Correlation", "Likeness of pixels some distance apart: low when sharp."),
    "ImageQuality_PercentMaximal": Meaning("Per cent maximal", "Per cent of the pixels at the image's own maximum."),
    "ImageQuality_PercentMinimal": Meaning("Per cent minimal", "Per cent of the pixels at the image's own minimum."),
    "ImageQuality_MeanIntensity": Meaning("Mean intensity", "Mean of the pixels, as a share of the full scale."),
    "ImageQuality_MedianIntensity": Meaning("Median intensity", "Median of the pixels, as a share of the full scale."),
    "ImageQuality_StdIntensity": Meaning("Spread of intensity", "Standard deviation of the pixels, on the full scale."),
    "ImageQuality_MADIntensity": Meaning("Median deviation", "Median distance of the pixels from their median."),
    "ImageQuality_MaxIntensity": Meaning("Highest intensity", "Largest pixel, as a share of the full scale."),
    "ImageQuality_MinIntensity": Meaning("Lowest intensity", "Smallest pixel, as a share of the full scale."),
    "ImageQuality_TotalIntensity": Meaning("Total intensity", "Sum of the pixels."),
    "ImageQuality_TotalArea": Meaning("Area", "Number of pixels."),
    "ImageQuality_Scaling": Meaning("Scaling", "Divisor that brings the pixels to 0 to 1."),
    "ImageQuality_ThresholdOtsu": Meaning("Otsu threshold", "Level that best parts foreground and background."),
}

PREFERRED = (
    "mid_band_share",
    "structure_snr",
    "snr",
    "ImageQuality_PowerLogLogSlope",
    "foreground_share",
    "saturated_share",
    "ImageQuality_MeanIntensity",
    "background",
    "ImageQuality_Correlation_20",
    "illumination_ratio",
    "entropy_bits",
    "ImageQuality_FocusScore",
)
"""Features worth a chart, the most telling first."""

PER_CHANNEL = (
    "mid_band_share",
    "ImageQuality_PowerLogLogSlope",
    "snr",
    "ImageQuality_MeanIntensity",
    "background",
    "saturated_share",
)
"""Features whose distribution is drawn for each channel: focus first, then light."""

_FLAGS = {
    "empty_file": Finding(
        "The file has no bytes.", "Copy it again from the microscope; the acquisition may have been stopped."
    ),
    "missing": Finding(
        "The file vanished after the scan, or a link leads nowhere.", "Find out who moved it, then run again."
    ),
    "unreadable": Finding("The file is damaged or not an image.", "Open it in Fiji; if that fails too, copy it again."),
    "truncated": Finding(
        "The file ends before the image does.", "Copy it again; the transfer or the acquisition broke off."
    ),
    "unsupported": Finding(
        "A kind of file that isn't read.", "Convert it to TIFF or PNG, or leave it out with scan.exclude."
    ),
    "too_large": Finding(
        "The image declares more pixels than may be held.", "Raise extract.max_plane_mb, or tile the image."
    ),
    "unmeasurable": Finding(
        "No feature can be computed from the pixels.", "Look for NaN, a single value or an empty image."
    ),
    "poison": Finding(
        "Handling it failed again and again; its worker died or hung.",
        "See the reason; open the file elsewhere, then `tierflow retry`.",
    ),
    "unscored": Finding(
        "The score could not be computed.", "See the reason; a feature that the function needs is missing."
    ),
    "not_scored": Finding(
        "The score could not be computed.", "See the reason; a feature that the function needs is missing."
    ),
    "blank": Finding("No structure above the noise.", "Check the well, the stain and the lamp."),
    "out_of_focus": Finding(
        "Much less fine detail than its neighbours.", "Check autofocus; a whole row or edge hints at a tilted plate."
    ),
    "low_signal": Finding("Little light above the background.", "Check exposure and stain."),
    "saturated": Finding(
        "Pixels at the detector's limit: intensities there are lost.", "Shorten the exposure in this channel."
    ),
    "duplicate": Finding("The same pixels occur in another file.", "A frozen camera or a double copy: keep one."),
    "uneven_illumination": Finding(
        "One side is brighter than the other.", "Check the lamp's alignment; correct the shading."
    ),
    "debris": Finding("A very bright spot or fibre.", "Look before you trust intensities."),
}

GLOSSARY = (
    ("object", "One file that is stored and routed as a whole."),
    ("plane", "One 2-D image inside an object: one channel, depth and time."),
    ("unit", "The objects that share one decision: a file, a site (field of view) or a well."),
    ("feature", "A number measured on a plane. Names that begin with ImageQuality_ equal CellProfiler's."),
    ("baseline", "Median and spread of a feature over one plate and channel: what is normal there."),
    ("robust z", "Distance from the baseline's median in units of its spread (1.4826 x MAD); beyond 3 is unusual."),
    ("interestingness", "A number from 0 to 1 that an interestingness function computes from the features."),
    ("flag", "A named finding, with the value and the limit that raised it."),
    ("policy", "Turns interestingness (and flags) into a tier by cut-offs."),
    ("tier", "A named place for files."),
    ("quarantine", "The tier of everything that could not be read, measured or scored. Nothing is thrown away."),
)


def feature(name: str) -> Meaning:
    """Return what a feature means; a plug-in's own feature is shown by its name."""
    if name in _FEATURES:
        return _FEATURES[name]
    parts = re.fullmatch(r"(ImageQuality_[A-Za-z]+)_(\w+)", name)
    if parts and parts[1] in _FEATURES:
        known = _FEATURES[parts[1]]
        scale = f"{parts[2]} px" if parts[2].isdecimal() else parts[2]
        return Meaning(f"{known.label}, {scale}", known.about)
    return Meaning(name, "")


def finding(flag: str) -> Finding:
    """Return what a flag means and what to do; empty texts for a user's own flag."""
    return _FLAGS.get(flag, Finding("", ""))


def plate(name: str) -> str:
    """Return a plate's name for people."""
    return "(top folder)" if name == TOP_FOLDER else printable(name)


def spoken(flag: str) -> str:
    """Return a flag as words in a sentence."""
    return flag.replace("_", " ")

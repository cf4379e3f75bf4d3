"""The detector's limit, and the share of pixels at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tierflow.io.plane import Plane

# Largest values of 8, 10, 12, 14 and 16 bit detectors, of signed 16 bit, and of 14, 12 and 10 bits that a camera
# wrote into the upper end of 16.
LIMITS = (255.0, 1023.0, 4095.0, 16383.0, 32767.0, 65472.0, 65520.0, 65532.0, 65535.0)


def detector_limit(plane: Plane, *, highest: float, bit_depth: int | None) -> float:
    """Return the raw count at which this plane's detector saturates, or infinity when nothing shows it.

    In this order: the configured bit depth; the file's significant bits, where they say less than the pixel type does;
    TIFF tag 281 where it is one of `LIMITS`; else the content: the highest pixel, if it equals one of `LIMITS` or the
    largest value of the type. A stated limit below the highest pixel can't be true and is passed over.

    Args:
        plane: The plane, for its metadata and type.
        highest: Highest finite raw count of the plane.
        bit_depth: Bits of the detector from the configuration.
    """
    if bit_depth is not None:
        return float(2**bit_depth - 1)
    kind = plane.pixels.dtype
    top = float(np.iinfo(kind.name).max) if kind.kind in "iu" else 1.0
    stated = [
        float(2**plane.significant_bits - 1) if plane.significant_bits else None,
        plane.full_scale if plane.full_scale in LIMITS else None,
    ]
    for limit in stated:
        if limit is not None and highest <= limit < top:
            return limit
    return highest if highest in LIMITS or highest == top else float("inf")


def saturated_share(plane: Plane, *, bit_depth: int | None) -> float:
    """Share of pixels at or above the detector's limit; for RGB, of pixels with any sample there.

    Range 0..1. Details lost to saturation can't be recovered. Unlike CellProfiler's PercentMaximal it is 0 for a dim
    image whose highest pixel is just that. Fails when the limit isn't one of the usual ones and isn't configured, for
    instance after flat-field correction or offset subtraction.

    Args:
        plane: The plane as stored.
        bit_depth: Bits of the detector from the configuration.
    """
    samples = plane.pixels if plane.pixels.ndim == 2 else plane.pixels.max(axis=2)
    finite = samples[np.isfinite(samples)] if samples.dtype.kind == "f" else samples
    if finite.size == 0:
        return float("nan")
    limit = detector_limit(plane, highest=float(finite.max()), bit_depth=bit_depth)
    return share_at(finite, limit)


def share_at(samples: NDArray[Any], limit: float) -> float:
    """Return the share of samples at or above a limit."""
    return float(np.count_nonzero(samples >= limit)) / samples.size

"""Bring the pixels of a plane into one of the forms that the kernels take, with the divisor that CellProfiler uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.errors import UnmeasurableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tierflow.io.plane import Plane

# Weights of skimage.color.rgb2gray, which CellProfiler applies to colour images.
GRAY_WEIGHTS = (0.2125, 0.7154, 0.0721)
RGB_SAMPLES = 3

# What CellProfiler divides by, per pixel type; the two 32-bit values differ there by one and so they do here.
_DIVISOR = {
    "bool": 1.0,
    "uint8": 255.0,
    "int8": 255.0,
    "uint16": 65535.0,
    "int16": 65535.0,
    "uint32": 2.0**32,
    "int32": 2.0**32 - 1,
    "uint64": 2.0**64,
    "int64": 2.0**64 - 1,
    "float16": 1.0,
    "float32": 1.0,
    "float64": 1.0,
}


@dataclass(frozen=True, slots=True)
class GrayPlane:
    """A plane in the form that the kernels take.

    Attributes:
        values: C-contiguous, shape (y, x): uint8 or uint16 raw counts, or float32 counts / divisor (gray of RGB) where
            non-finite pixels are NaN.
        divisor: What raw counts are divided by to give CellProfiler's 0..1 scale.
        count: Raw counts per 1.0 of `values`: 1 for integer values, `divisor` for float ones.
        step: Smallest difference between two raw counts that the pixel type can store; 0 for floating point.
        finite: Number of finite pixels.
    """

    values: NDArray[Any]
    divisor: float
    count: float
    step: float
    finite: int

    @property
    def is_integer(self) -> bool:
        """Whether `values` are raw counts of at most 16 bits."""
        return self.values.dtype.kind == "u"


def divisor_of(plane: Plane) -> float:
    """Return what CellProfiler divides this plane's pixels by: TIFF tag 281 when present, else by pixel type.

    Raises:
        UnmeasurableError: for pixel types that hold no single real number (complex, text, records).
    """
    if plane.full_scale is not None and np.isfinite(plane.full_scale) and plane.full_scale > 0:
        return float(plane.full_scale)
    name = plane.pixels.dtype.name
    if name not in _DIVISOR:
        raise UnmeasurableError(
            f"pixels of type {name} can't be measured; expected whole or real numbers: convert the file to one of"
            f" {', '.join(_DIVISOR)}"
        )
    return _DIVISOR[name]


def to_gray(plane: Plane) -> GrayPlane:
    """Return the plane's gray values for the kernels.

    uint8 and uint16 gray stay raw counts. All else becomes float32(raw) / divisor, as CellProfiler computes it; RGB
    becomes gray with the weights of `GRAY_WEIGHTS` after the division. Infinite pixels become NaN.

    Args:
        plane: Pixels of shape (y, x) or (y, x, 3).

    Raises:
        UnmeasurableError: when there is no pixel, no finite pixel, or the shape or type isn't that of a plane.
    """
    pixels = plane.pixels
    colour = pixels.ndim == RGB_SAMPLES and pixels.shape[2] == RGB_SAMPLES
    if pixels.ndim != 2 and not colour:
        raise UnmeasurableError(f"pixels of shape {pixels.shape} are no plane; expected (y, x) or (y, x, 3)")
    if pixels.size == 0:
        raise UnmeasurableError(f"the plane of shape {pixels.shape} has no pixels: check how the file was written")
    divisor = divisor_of(plane)
    step = 0.0 if pixels.dtype.kind == "f" else 1.0
    if not colour and pixels.dtype.name in ("uint8", "uint16"):
        native = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))
        return GrayPlane(values=native, divisor=divisor, count=1.0, step=step, finite=native.size)
    with np.errstate(over="ignore", invalid="ignore"):
        # Values beyond float32 become infinite here and count as not finite, as they would for CellProfiler.
        values = pixels.astype(np.float32) / np.float32(divisor)
        values = _gray_of(values) if colour else np.ascontiguousarray(values)
    good = np.isfinite(values)
    finite = int(np.count_nonzero(good))
    if finite == 0:
        raise UnmeasurableError(f"none of the {values.size} pixels is a finite number: check how the file was written")
    if finite < values.size:
        values[~good] = np.nan
    return GrayPlane(values=values, divisor=divisor, count=divisor, step=step, finite=finite)


def _gray_of(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weigh and add the three samples in float32, one rounding per operation, red first.

    The order and the rounding are those of CellProfiler's own pipeline: they decide on which side of a gray level's
    edge a pixel falls (Correlation). A matrix product would leave both to the processor.
    """
    red, green, blue = (rgb[..., k] * np.float32(GRAY_WEIGHTS[k]) for k in range(RGB_SAMPLES))
    gray: NDArray[np.float32] = (red + green) + blue
    return gray

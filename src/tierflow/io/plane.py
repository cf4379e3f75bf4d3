"""A plane: one 2-D image of an object, with what its file says about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Plane:
    """One image plane and the facts from its file's metadata.

    Attributes:
        pixels: Raw values as stored, shape (y, x) for gray or (y, x, 3) for RGB; never scaled. Read-only
            when it comes from a file.
        series: Image series in the file, from 0.
        c: Channel index in the file, from 0.
        z: Depth index in the file, from 0.
        t: Time index in the file, from 0.
        full_scale: TIFF tag MaxSampleValue (281) when present: CellProfiler's divisor.
        significant_bits: Bits of the detector from OME SignificantBits or MetaMorph "Camera Bit Depth".
        pixel_size_um: Edge of a pixel in um.
        channel_name: Channel's name.
        acquired_at: Time of acquisition, ISO 8601.
    """

    pixels: NDArray[np.generic[Any]]
    series: int = 0
    c: int = 0
    z: int = 0
    t: int = 0
    full_scale: float | None = None
    significant_bits: int | None = None
    pixel_size_um: float | None = None
    channel_name: str | None = None
    acquired_at: str | None = None


class Outline(NamedTuple):
    """One plane that a file declares.

    Attributes:
        position: Its (series, c, z, t), all from 0.
        shape: (y, x), or (y, x, 3) for colours.
        dtype: Type of its pixels in native byte order.
    """

    position: tuple[int, int, int, int]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

"""What a TIFF says about its planes: scale, bits, pixel size, channel, time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tierflow.io.metadata import metamorph, ome
from tierflow.io.metadata.units import to_um
from tierflow.io.plane import Plane

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

    from tierflow.io.readers.tiff_axes import Position
    from tierflow.io.readers.tiff_pixels import Pixels

_MAX_SAMPLE_VALUE = 281
_X_RESOLUTION, _Y_RESOLUTION = 282, 283
_INCH, _CENTIMETER = 2, 3
_PACKED_BITS = frozenset(range(1, 32)) - {8, 16, 24}
# Edges of a pixel that a microscope or scanner has; outside lie the 72 and 300 dots per inch of graphics programs.
_PLAUSIBLE_UM = (5e-4, 20.0)


class FileFacts:
    """What the first page says about all planes of a file.

    Attributes:
        ome: OME-XML of the file.
        imagej: ImageJ's properties of the file.
    """

    def __init__(self, tif: TiffFile, first: TiffPage, file_name: str) -> None:
        """Read the metadata of `first`, the first page of `tif`."""
        self.ome = ome.read(first.description, file_name=file_name)
        self.imagej = _imagej(tif, first)
        self._pixel_size_um = _vendor_pixel_size(tif) or _resolution(first, self.imagej)

    def plane(self, pixels: Pixels, page: TiffPage, position: Position) -> Plane:
        """Return a plane with what the file says about it.

        Args:
            pixels: Its pixels.
            page: Its page.
            position: Its (series, c, z, t).
        """
        series, c, z, t = position
        images = self.ome.images if self.ome is not None else ()
        image = images[series] if series < len(images) else None
        meta = metamorph.read(page.description) if image is None else None
        # Packed pixels of 10, 12 or 14 bits come straight from a camera; of 1 bit from a threshold.
        bits = page.bitspersample if page.bitspersample in _PACKED_BITS else None
        size_um, name, acquired_at = self._pixel_size_um, None, None
        if image is not None:
            bits, size_um = image.significant_bits or bits, image.pixel_size_um or size_um
            name = image.channel_names[c] if c < len(image.channel_names) else None
            acquired_at = image.acquired_at
        elif meta is not None:
            bits, size_um = meta.bit_depth or bits, meta.pixel_size_um or size_um
            name, acquired_at = meta.channel_name, meta.acquired_at
        full_scale = _number(page.tags.valueof(_MAX_SAMPLE_VALUE))
        return Plane(pixels, series, c, z, t, full_scale, bits, size_um, name, acquired_at)


def _imagej(tif: TiffFile, first: TiffPage) -> dict[str, Any] | None:
    if not first.is_imagej:
        return None
    return tif.imagej_metadata


def _number(value: Any) -> float | None:
    """Return a positive finite number, the first where a tag holds one per sample."""
    if isinstance(value, tuple):
        value = value[0] if value else None
    if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        return None
    return float(value)


def _vendor_pixel_size(tif: TiffFile) -> float | None:
    """Return the pixel's edge in um from LSM or STK metadata."""
    if tif.is_lsm and tif.lsm_metadata:
        return to_um(tif.lsm_metadata.get("VoxelSizeX"), "m")
    if tif.is_stk and tif.stk_metadata:
        return to_um(_number(tif.stk_metadata.get("XCalibration")), tif.stk_metadata.get("CalibrationUnits"))
    return None


def _resolution(first: TiffPage, imagej: dict[str, Any] | None) -> float | None:
    """Return the pixel's edge in um from the resolution tags, where they can be meant for a microscope."""
    x, y = (_pixels_per_unit(first.tags.valueof(tag)) for tag in (_X_RESOLUTION, _Y_RESOLUTION))
    if x is None or y is None or not math.isclose(x, y, rel_tol=0.01):
        return None
    if imagej is not None and imagej.get("unit"):
        return to_um(1 / x, str(imagej["unit"]))
    unit = {_INCH: "inch", _CENTIMETER: "cm"}.get(_unit_code(first))
    size = to_um(1 / x, unit)
    low, high = _PLAUSIBLE_UM
    return size if size is not None and low <= size <= high else None


def _unit_code(first: TiffPage) -> int:
    try:
        return int(first.resolutionunit)
    except (TypeError, ValueError):
        return 0


def _pixels_per_unit(value: Any) -> float | None:
    try:
        numerator, denominator = value
        return _number(numerator / denominator)
    except (TypeError, ValueError, ZeroDivisionError):
        return None

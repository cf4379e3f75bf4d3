"""Which plane a page of a TIFF is: series, channel, z and time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

    from tierflow.io.metadata.ome import Ome

Position = tuple[int, int, int, int]
"""(series, c, z, t), all from 0."""

Axes = Callable[[int, int, "TiffPage"], Position]
"""Position from the page's number in the file, its number among the pages that aren't reduced copies, and the page."""


def axes_of(tif: TiffFile, ome: Ome | None, imagej: dict[str, Any] | None) -> Axes:
    """Return how the pages of a file are to be understood: OME-XML, else ImageJ, else LSM, else pages are z planes."""
    if ome is not None and ome.planes:
        return _ome_axes(ome)
    if imagej is not None:
        return _ordered(c=_size(imagej, "channels"), z=_size(imagej, "slices"))
    if tif.is_lsm and tif.lsm_metadata:
        return _ordered(c=1, z=_size(tif.lsm_metadata, "DimensionZ"))
    return _grouped()


def _size(metadata: dict[str, Any], name: str) -> int:
    try:
        return max(1, int(metadata.get(name, 1)))
    except (TypeError, ValueError, OverflowError):
        return 1


def _ome_axes(ome: Ome) -> Axes:
    unlisted = 0

    def position(number: int, kept: int, page: TiffPage) -> Position:  # noqa: ARG001
        nonlocal unlisted
        if number in ome.planes:
            return ome.planes[number]
        # Measured all the same: a page that its XML forgot is still somebody's data.
        unlisted += 1
        return len(ome.images), 0, unlisted - 1, 0

    return position


def _ordered(*, c: int, z: int) -> Axes:
    """Channels follow one another first, then z planes, then times."""

    def position(number: int, kept: int, page: TiffPage) -> Position:  # noqa: ARG001
        return 0, kept % c, kept // c % z, kept // (c * z)

    return position


def _grouped() -> Axes:
    """Pages of one size and type are the z planes of one series."""
    pages_of: dict[tuple[Any, ...], int] = {}

    def position(number: int, kept: int, page: TiffPage) -> Position:  # noqa: ARG001
        key = (page.keyframe.shape, page.keyframe.dtype)
        z = pages_of.get(key, 0)
        pages_of[key] = z + 1
        return list(pages_of).index(key), 0, z, 0

    return position

"""Read the plane that a picture is made from; of a damaged file, what is left of it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from tierflow.errors import ObjectError
from tierflow.io.readers import load, planes

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Pixels = NDArray[np.generic[Any]]

SALVAGE_MB = 256
_MIN_SALVAGED = 0.02


class Unshown(Exception):  # noqa: N818 - not an error of the run: the page shows a placeholder
    """There is no picture of an object; the message says why in a few words."""


def read_picture_plane(path: Path, *, index: int, max_plane_mb: int, damaged: bool) -> tuple[Pixels, str]:
    """Read one plane of a file.

    Args:
        path: The file.
        index: Position of the plane in the object, from 0.
        max_plane_mb: Largest plane that is decoded.
        damaged: The object failed: show what can still be decoded, cheaply.

    Returns:
        The pixels, and a note on what they are when they aren't the whole plane.

    Raises:
        Unshown: with the reason.
    """
    if damaged:
        return _salvage(path)
    try:
        for position, plane in enumerate(planes(load(path), max_plane_mb=max_plane_mb)):
            if position == index:
                return plane.pixels, ""
    except (ObjectError, OSError, ValueError) as error:
        raise Unshown(_short(error)) from error
    raise Unshown(f"plane {index} isn't in the file any more")


def _short(error: BaseException) -> str:
    text = str(error).split(": ", maxsplit=1)[0] or type(error).__name__
    return text if len(text) <= 90 else text[:87] + "..."


def _salvage(path: Path) -> tuple[Pixels, str]:
    """Decode the strips or tiles of a broken TIFF that are whole; everything else stays black."""
    try:
        length = path.stat().st_size
    except OSError as error:
        raise Unshown("the file can't be opened") from error
    if length == 0:
        raise Unshown("no bytes")
    if length > SALVAGE_MB * 1_000_000:
        raise Unshown("nothing could be read")
    # Whatever a broken file makes the decoder do, the page goes on.
    with suppress(Exception), tifffile.TiffFile(path) as file:
        return _whole_pieces(file.pages[0], path.read_bytes())
    raise Unshown("nothing could be read")


def _whole_pieces(page: Any, data: bytes) -> tuple[Pixels, str]:
    shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
    if (
        np.prod(shape) * page.dtype.itemsize > SALVAGE_MB * 1_000_000
        or shape[2] not in (1, 3)
        or page.planarconfig != 1
    ):
        raise Unshown("nothing could be read")
    canvas = np.zeros(shape, dtype=page.dtype)
    rows = 0
    for index, (start, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        piece = data[start : start + count]
        if page.compression == 1 and 0 < len(piece) < count:
            piece = piece + bytes(count - len(piece))
        if len(piece) < count:
            continue
        with suppress(Exception):
            decoded, place, extent = page.decode(piece, index, jpegtables=page.jpegtables)
            y, x = place[-3], place[-2]
            height, width = min(extent[-3], shape[0] - y), min(extent[-2], shape[1] - x)
            canvas[y : y + height, x : x + width] = decoded.reshape(decoded.shape[-3:])[:height, :width]
            rows = max(rows, y + height)
    found = float(np.count_nonzero(canvas)) / canvas.size
    if found < _MIN_SALVAGED:
        raise Unshown("nothing could be read")
    return canvas[..., 0] if shape[2] == 1 else canvas, "what could be read of a damaged file; the rest is black"

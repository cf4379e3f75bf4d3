"""What planes a TIFF holds, from its directories alone: no pixel is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tifffile import TiffFile

from tierflow.io.plane import Outline
from tierflow.io.readers import tiff_structure
from tierflow.io.readers.guard import foreign
from tierflow.io.readers.load import file_errors
from tierflow.io.readers.tiff import pages_of, planes_per_directory
from tierflow.io.readers.tiff_axes import axes_of
from tierflow.io.readers.tiff_facts import FileFacts
from tierflow.io.readers.tiff_pixels import samples_of, unread_kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO


def outline_tiff(path: Path) -> list[Outline]:
    """Return what `read_tiff` would give, plane by plane, if the file is whole.

    Raises:
        ObjectError: if the directories are damaged or cut off.
        TryAgainError: if the storage is away.
    """
    with file_errors(path), path.open("rb") as handle, foreign("tifffile", "the TIFF"):
        return list(_outline(handle, path))


def _outline(handle: IO[bytes], path: Path) -> Iterator[Outline]:
    chain = tiff_structure.walk(handle, path.stat().st_size)
    if chain.broken is not None:
        raise chain.broken
    handle.seek(0)
    tif = TiffFile(handle, is_scanimage=False, is_ndpi=False)
    first = tif.pages.first
    facts = FileFacts(tif, first, path.name)
    axes = axes_of(tif, facts.ome, facts.imagej)
    stacked, kept = planes_per_directory(tif, first, facts, len(chain.offsets)), 0
    for number, page in pages_of(tif, handle, chain.offsets):
        key = page.keyframe
        if key.dtype is None:
            raise unread_kind(key)
        depth, height, width = key.shaped[1:4]
        colours, samples = samples_of(key.shaped, key, channels=tif.is_lsm)
        dtype = np.dtype(np.uint8) if key.dtype.kind == "b" else key.dtype.newbyteorder("=")
        for k in range(stacked):
            series, c, z, t = axes(number + k, kept, page)
            kept += 1
            for dz in range(depth):
                for dc in range(1 if colours else samples):
                    shape = (height, width, 3) if colours else (height, width)
                    yield Outline((series, c + dc, z + dz, t), shape, dtype)

"""TIFF, BigTIFF, OME-TIFF, ImageJ hyperstacks, STK and LSM, page by page."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, cast

from tifffile import TiffFile, TiffPage

from tierflow.errors import UnreadableError
from tierflow.io.readers import tiff_structure
from tierflow.io.readers.guard import foreign
from tierflow.io.readers.tiff_axes import axes_of
from tierflow.io.readers.tiff_facts import FileFacts
from tierflow.io.readers.tiff_pixels import read_page, split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tierflow.io.plane import Plane
    from tierflow.io.readers.load import Loaded

_UIC2 = 33629
_REDUCED, _MASK = 1, 4
"""Bits of NewSubfileType: a copy in lower resolution, a transparency mask."""


def read_tiff(loaded: Loaded, *, max_plane_mb: int) -> Iterator[Plane]:
    """Decode the planes of a TIFF in the order of its pages.

    Thumbnails, pyramid levels (SubIFDs, reduced pages, smaller pages of slide formats) and masks aren't planes.
    Samples of RGB make one plane of shape (y, x, 3); other samples are channels.

    Raises:
        ObjectError: if the content is damaged, cut off, too large or of an unsupported kind; planes that come before
            the damage are given first.
    """
    with loaded.open() as handle:
        found = _read(loaded, handle, max_plane_mb)
        while True:
            # One guard around every step: tifffile trusts the numbers of a file in too many places to list.
            with foreign("tifffile", "the TIFF"):
                plane = next(found, None)
            if plane is None:
                return
            yield plane


def _read(loaded: Loaded, handle: IO[bytes], max_plane_mb: int) -> Iterator[Plane]:
    chain = tiff_structure.walk(handle, loaded.size)
    handle.seek(0)
    # ScanImage's and NDPI's own ways through the file trust its numbers; the chain was walked above.
    tif = TiffFile(handle, is_scanimage=False, is_ndpi=False)
    first = tif.pages.first
    facts = FileFacts(tif, first, loaded.path.name)
    axes = axes_of(tif, facts.ome, facts.imagej)
    stacked = planes_per_directory(tif, first, facts, len(chain.offsets))
    kept = 0
    for number, page in pages_of(tif, handle, chain.offsets):
        for k in range(stacked):
            pixels = read_page(page, loaded, handle, shift=k * first.nbytes, max_plane_mb=max_plane_mb)
            series, c, z, t = axes(number + k, kept, page)
            kept += 1
            for dc, dz, plane in split(pixels, page.keyframe, channels=tif.is_lsm):
                yield facts.plane(plane, page.keyframe, (series, c + dc, z + dz, t))
    if chain.broken is not None:
        raise chain.broken
    if not kept:
        raise UnreadableError("the TIFF has no image, only thumbnails or masks: export it again")


def pages_of(tif: TiffFile, handle: IO[bytes], offsets: list[int]) -> Iterator[tuple[int, TiffPage]]:
    """Yield the number and the page of everything that isn't a reduced copy or a mask."""
    first = tif.pages.first
    is_slide = tif.is_svs or tif.is_scn or tif.is_bif or tif.is_philips or tif.is_qpi
    for number, offset in enumerate(offsets):
        page = first if number == 0 else _page(tif, handle, offset, number)
        reduced = page.keyframe.subfiletype & (_REDUCED | _MASK)
        # A lone page is the image, whatever it calls itself; levels of a slide differ from its first page.
        if not ((reduced and len(offsets) > 1) or (is_slide and page.keyframe.shape != first.shape)):
            yield number, page


def _page(tif: TiffFile, handle: IO[bytes], offset: int, number: int) -> TiffPage:
    if tif.is_lsm:
        # tifffile has mended the byte counts of compressed LSM pages when it opened the file.
        return cast("TiffPage", tif.pages[number])
    handle.seek(offset)
    return TiffPage(tif, index=number)


def planes_per_directory(tif: TiffFile, first: TiffPage, facts: FileFacts, directories: int) -> int:
    """Return how many planes follow one another behind a single directory: STK, and ImageJ's stacks above 4 GB."""
    if directories > 1:
        return 1
    if tif.is_stk and _UIC2 in first.tags:
        return max(1, int(first.tags[_UIC2].count))
    if facts.imagej is not None and first.is_final:
        return max(1, int(facts.imagej.get("images", 1)))
    return 1

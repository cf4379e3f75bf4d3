"""OME-XML: which page of a file is which plane, and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import TYPE_CHECKING

from tierflow.io.metadata.units import to_iso, to_um
from tierflow.io.metadata.xml import local_name, parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

# No microscope has more channels in one pixel; a declared 2**31 must not become a list of as many names.
MAX_SAMPLES = 1_000
# More planes than any file holds: a declared size of 2**31 must not become a loop of as many steps.
MAX_PLANES = 100_000
_ORDERS = ("XYZCT", "XYZTC", "XYCZT", "XYCTZ", "XYTZC", "XYTCZ")


@dataclass(frozen=True, slots=True)
class Image:
    """One image (series) of an OME-XML document.

    Attributes:
        pixel_size_um: PhysicalSizeX in um.
        significant_bits: Bits of the detector.
        acquired_at: AcquisitionDate, ISO 8601.
        channel_names: Name of each channel, None where it has none.
    """

    pixel_size_um: float | None
    significant_bits: int | None
    acquired_at: str | None
    channel_names: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Ome:
    """An OME-XML document as seen from one of its files.

    Attributes:
        images: The images in the order of the document.
        planes: (series, c, z, t) by index of the page (IFD) in this file, all from 0. A page of several gray samples
            holds the channels from c on.
    """

    images: tuple[Image, ...]
    planes: dict[int, tuple[int, int, int, int]]


def read(text: str, *, file_name: str) -> Ome | None:
    """Read an OME-XML document; None when `text` isn't one that can be used.

    Args:
        text: Text of TIFF tag ImageDescription (270).
        file_name: Name of the file it stands in, which tells its planes from those of its sibling files.
    """
    if "OME" not in text[-64:]:
        return None
    root = parse(text)
    if root is None or local_name(root) != "OME":
        return None
    own_uuid = root.get("UUID")
    images: list[Image] = []
    planes: dict[int, tuple[int, int, int, int]] = {}
    next_page, left = 0, MAX_PLANES
    for series, element in enumerate(e for e in root if local_name(e) == "Image"):
        pixels = _child(element, "Pixels")
        if pixels is None:
            continue
        images.append(_image(element, pixels))
        layout = _Layout(pixels)
        if any(local_name(e) == "TiffData" for e in pixels):
            listed = _listed(pixels, layout, own_uuid, file_name)
        else:
            # Without TiffData the pages of all images follow one another.
            listed = zip(range(next_page, MAX_PLANES), map(layout.position, range(layout.count)), strict=False)
            next_page += layout.count
        for page, position in islice(listed, left):
            planes[page] = (series, *position)
            left -= 1
    return Ome(tuple(images), planes)


def _image(element: Element, pixels: Element) -> Image:
    date = _child(element, "AcquisitionDate")
    channels = [e for e in pixels if local_name(e) == "Channel"]
    return Image(
        pixel_size_um=to_um(pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeXUnit", "um")),
        significant_bits=_number(pixels, "SignificantBits", 0) or None,
        acquired_at=to_iso(date.text if date is not None else None),
        channel_names=tuple(name for e in channels for name in [e.get("Name")] * _samples(e)),
    )


class _Layout:
    """The order of an image's planes.

    `count` is the number of pages; `position(i)` the (c, z, t) of the i-th.
    """

    def __init__(self, pixels: Element) -> None:
        channel = _child(pixels, "Channel")
        # SizeC counts samples, so a page of RGB or of five gray samples takes that many channels at once.
        self._samples = _samples(channel) if channel is not None else 1
        sizes = {axis: max(1, _number(pixels, f"Size{axis}", 1)) for axis in "CZT"}
        sizes["C"] = max(1, sizes["C"] // self._samples)
        order = pixels.get("DimensionOrder", "XYZCT")
        self._axes = (order if order in _ORDERS else "XYZCT")[2:]
        self._sizes = sizes
        self.count = min(prod(sizes.values()), MAX_PLANES)

    def index(self, element: Element) -> int:
        """Return the number, in the order of planes, of the first plane that a TiffData element names."""
        index, step = 0, 1
        for axis in self._axes:
            first = _number(element, f"First{axis}", 0)
            index += (first // self._samples if axis == "C" else first) * step
            step *= self._sizes[axis]
        return index

    def position(self, index: int) -> tuple[int, int, int]:
        """Return (c, z, t) of the plane with that number."""
        at = {}
        for axis in self._axes:
            index, at[axis] = divmod(index, self._sizes[axis])
        return at["C"] * self._samples, at["Z"], at["T"]


def _listed(
    pixels: Element, layout: _Layout, own_uuid: str | None, file_name: str
) -> Iterator[tuple[int, tuple[int, int, int]]]:
    """Yield the page and the (c, z, t) of each plane that TiffData elements place in this file."""
    for element in (e for e in pixels if local_name(e) == "TiffData"):
        if not _is_here(_child(element, "UUID"), own_uuid, file_name):
            continue
        page, first = _number(element, "IFD", 0), layout.index(element)
        # The standard: without PlaneCount one plane if IFD is given, else all of them.
        count = _number(element, "PlaneCount", 1 if "IFD" in element.attrib else layout.count)
        for i in range(max(0, min(count, layout.count - first))):
            yield page + i, layout.position(first + i)


def _is_here(uuid: Element | None, own_uuid: str | None, file_name: str) -> bool:
    if uuid is None:
        return True
    if own_uuid is not None and uuid.text is not None:
        return uuid.text.strip() == own_uuid.strip()
    return uuid.get("FileName", file_name).rpartition("/")[2] == file_name


def _child(element: Element, name: str) -> Element | None:
    return next((e for e in element if local_name(e) == name), None)


def _number(element: Element, name: str, default: int) -> int:
    try:
        value = int(element.get(name, default))
    except ValueError:
        return default
    return value if 0 <= value < 2**31 else default


def _samples(channel: Element) -> int:
    return min(max(1, _number(channel, "SamplesPerPixel", 1)), MAX_SAMPLES)

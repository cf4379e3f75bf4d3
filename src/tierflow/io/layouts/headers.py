"""Read what the headers of TIFF files say about plate, well and channel: OME-XML and MetaMorph XML.

Only the first page's description is read. Headers come from anywhere: their size is bounded, document types (and with
them entities) are refused, and a damaged header says nothing instead of stopping the scan.
"""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING
from xml.etree import ElementTree as ET

import tifffile

from tierflow.errors import TryAgainError
from tierflow.io.layouts.base import Names, folder_plate, split_path, well_name, well_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

LIMIT_BYTES = 16 * 2**20
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_IMAGE_DESCRIPTION = 270
_STAGE_LABEL = re.compile(r"\s*([A-Z]{1,2}[0-9]{1,2})\s*:\s*Site\s+([0-9]+)\s*", re.IGNORECASE | re.ASCII)
_DESCRIPTION_LINE = re.compile(r"^(Plate Name|Timepoint)\s*:\s*(.*?)\s*$", re.MULTILINE)
Header = dict[str, str]


def read_header(path: bytes) -> Header:
    """Return what a file's header says, as text by name; empty when it says nothing that we understand.

    Args:
        path: The file, as the file system's bytes.

    Returns:
        `kind` (the layout: ome_tiff or metamorph) and, where given, plate, well, site, channel, z, timepoint and
        acquired_at.
    """
    return read_header_of(lambda: Path(os.fsdecode(path)).open("rb"), path)


def read_header_of(opened: Callable[[], IO[bytes]], path: bytes) -> Header:
    """Return what the header of a file that `opened` opens says; see `read_header`."""
    text = _description(opened)
    name = path.rpartition(b"/")[2].decode("utf-8", "backslashreplace")
    return parse_description(text, name) if text else {}


def parse_description(text: str, file_name: str) -> Header:
    """Return what an ImageDescription says; see `read_header`.

    Args:
        text: The TIFF tag ImageDescription.
        file_name: Name of the file, which the OME-XML of a set of files refers to.
    """
    # Only a document type can define entities; no microscope writes one.
    if len(text) > LIMIT_BYTES or "<!DOCTYPE" in text or "<!ENTITY" in text:
        return {}
    start = text[:2000]
    try:
        if "<OME" in start or ":OME" in start:
            header = _ome(_root(text), file_name)
        elif "<MetaData" in start:
            header = _metamorph(_root(text))
        else:
            return {}
    except (ET.ParseError, ValueError):
        return {}
    return {key: value for key, value in header.items() if value}


def _root(text: str) -> ET.Element:
    return ET.fromstring(text.strip("\0 \r\n\t"))  # noqa: S314 - parse_description refuses document types


def _description(opened: Callable[[], IO[bytes]]) -> str | None:
    try:
        with opened() as handle:
            if handle.read(4) not in _TIFF_MAGIC:
                return None
            handle.seek(0)
            with tifffile.TiffFile(handle) as tiff:
                tag = tiff.pages.first.tags.get(_IMAGE_DESCRIPTION)
                return str(tag.value) if tag is not None and tag.count <= LIMIT_BYTES else None
    except TryAgainError:
        raise
    # Damaged files make tifffile raise errors of many kinds; a bad file is found and named by `extract`.
    except Exception:
        return None


def _metamorph(root: ET.Element) -> Header:
    properties = {
        item.get("id", ""): item.get("value", "") for item in root.iter() if item.tag in ("prop", "custom-prop")
    }
    label = _STAGE_LABEL.fullmatch(properties.get("stage-label", ""))
    lines = dict(_DESCRIPTION_LINE.findall(properties.get("Description", "").replace("\r", "")))
    return {
        "kind": "metamorph",
        "plate": lines.get("Plate Name", ""),
        "timepoint": lines.get("Timepoint", ""),
        "well": label[1] if label else "",
        "site": label[2] if label else "",
        "channel": properties.get("_IllumSetting_") or properties.get("image-name") or "",
        "acquired_at": _metamorph_time(properties.get("acquisition-time-local", "")),
    }


def _metamorph_time(text: str) -> str:
    """Turn `20230221 10:41:58.061` into ISO 8601, local time without zone; "" when it isn't one."""
    try:
        return datetime.strptime(text, "%Y%m%d %H:%M:%S.%f").isoformat(timespec="milliseconds")  # noqa: DTZ007 - the file gives no zone
    except ValueError:
        return ""


def _ome(root: ET.Element, file_name: str) -> Header:
    header = {"kind": "ome_tiff"}
    plates = root.findall("{*}Plate")
    if len(plates) == 1:
        header["plate"] = plates[0].get("Name") or plates[0].get("ExternalIdentifier") or ""
    images = [image for image in root.findall("{*}Image") if _holds(image, file_name)]
    # The file of a whole plate belongs to no single well.
    if len(images) != 1:
        return header
    image = images[0]
    return (
        header
        | _ome_plane(image, file_name)
        | _ome_well(plates, image.get("ID", ""))
        | {"acquired_at": image.findtext("{*}AcquisitionDate") or ""}
    )


def _blocks(image: ET.Element) -> Iterable[tuple[ET.Element, str | None]]:
    for block in image.iterfind("{*}Pixels/{*}TiffData"):
        uuid = block.find("{*}UUID")
        yield block, None if uuid is None else uuid.get("FileName")


def _holds(image: ET.Element, file_name: str) -> bool:
    names = [name for _, name in _blocks(image) if name]
    return not names or any(PurePosixPath(name).name == file_name for name in names)


def _ome_plane(image: ET.Element, file_name: str) -> Header:
    """Return channel, z and time where the file holds one channel, or one plane."""
    channels = [channel.get("Name") or "" for channel in image.iterfind("{*}Pixels/{*}Channel")]
    if len(channels) == 1:
        return {"channel": channels[0]}
    here = [block for block, name in _blocks(image) if name and PurePosixPath(name).name == file_name]
    if len(here) != 1 or here[0].get("PlaneCount", "1") != "1":
        return {}
    index = int(here[0].get("FirstC", "0"))
    return {
        "channel": channels[index] if index < len(channels) else f"C{index}",
        "z": here[0].get("FirstZ", "0"),
        "timepoint": here[0].get("FirstT", "0"),
    }


def _ome_well(plates: Iterable[ET.Element], image_id: str) -> Header:
    for plate in plates:
        for well in plate.iterfind("{*}Well"):
            for sample in well.iterfind("{*}WellSample"):
                reference = sample.find("{*}ImageRef")
                if reference is not None and reference.get("ID") == image_id:
                    row, column = int(well.get("Row", "-1")) + 1, int(well.get("Column", "-1")) + 1
                    site = sample.get("Index") or ""
                    return {"well": well_name(row, column) if row > 0 and column > 0 else "", "site": site}
    return {}


def names_from(header: Mapping[str, str], path: str) -> Names:
    """Turn a header into names; a well that no plate has is kept as written, a number that isn't one is left out."""
    well = header.get("well")
    name, row, column = (well_of(well) or (well, None, None)) if well else (None, None, None)
    return Names(
        plate=header.get("plate") or folder_plate(split_path(path)[0]),
        well=name,
        row=row,
        column=column,
        site=header.get("site"),
        channel=header.get("channel"),
        z=_number(header.get("z")),
        timepoint=_number(header.get("timepoint")),
        acquired_at=header.get("acquired_at"),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) <= 9 else None

"""EMBL's screening names (ScanR export, ALMF): fields separated by two hyphens."""

from __future__ import annotations

import re

from tierflow.io.layouts.base import Layout, Names, folder_plate, split_path, well_of

_FILE = re.compile(
    r"(?P<labels>.*?)(?:^|--)W[0-9]{4,5}--P(?P<site>[0-9]{3,5})--T(?P<timepoint>[0-9]{4,6})"
    r"--Z(?P<z>[0-9]{3,5})--(?P<channel>[A-Z0-9]+)(?:\.ome)?\.[A-Z0-9]{2,4}",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
_WELL_FOLDER = re.compile(r"W[0-9]{4,5}(--.*)?", re.ASCII | re.DOTALL)
_SITE_FOLDER = re.compile(r"P[0-9]{3,5}(--.*)?", re.ASCII | re.DOTALL)


def parse(path: str) -> Names | None:
    """Read an EMBL name; the well is the first label behind the name that is one.

    `W0027` only counts wells: without such a label the well stays unknown. The plate is the folder above `W<n>--...`,
    else the beginning of the file's name.
    """
    folder, name = split_path(path)
    found = _FILE.fullmatch(name)
    if found is None:
        return None
    title, *labels = found["labels"].split("--")
    wells = (known for label in labels if (known := well_of(label)))
    well, row, column = next(wells, (None, None, None))
    return Names(
        plate=_plate_folder(folder) or title or folder_plate(folder),
        well=well,
        row=row,
        column=column,
        site=found["site"],
        channel=found["channel"],
        z=int(found["z"]),
        timepoint=int(found["timepoint"]),
    )


def _plate_folder(folder: str) -> str | None:
    parts = folder.split("/")
    if _SITE_FOLDER.fullmatch(parts[-1]):
        parts.pop()
    if len(parts) > 1 and _WELL_FOLDER.fullmatch(parts[-1]):
        return parts[-2]
    return None


LAYOUT = Layout(
    name="embl",
    about="EMBL screening names (ScanR export, ALMF)",
    example="Plate7/W0027--C3--drug/P002--C3--drug/scan--C3--drug--W0027--P002--T0000--Z000--C01.ome.tif",
    specificity=0.99,
    parse=parse,
)

"""Cellomics ArrayScan and CellInsight."""

from __future__ import annotations

import re

from tierflow.io.layouts.base import Layout, Names, folder_plate, split_path, well_of

_FILE = re.compile(
    r"(?:(?P<plate>.+)_)?(?P<well>[A-Z]{1,2}[0-9]{2})f(?P<site>[0-9]{2,4})(?P<channel>d[0-9]{1,2})\.[A-Z0-9]{2,4}",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)


def parse(path: str) -> Names | None:
    """Read a Cellomics name: `<plate>_<well>f<field>d<channel>`."""
    folder, name = split_path(path)
    found = _FILE.fullmatch(name)
    well = well_of(found["well"]) if found else None
    if found is None or well is None:
        return None
    return Names(
        plate=found["plate"] or folder_plate(folder),
        well=well[0],
        row=well[1],
        column=well[2],
        site=found["site"],
        channel=found["channel"].lower(),
    )


LAYOUT = Layout(
    name="cellomics",
    about="Cellomics ArrayScan / CellInsight",
    example="AS_09125_050116030001_D03f00d1.tif",
    specificity=0.95,
    parse=parse,
)

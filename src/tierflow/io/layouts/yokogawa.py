"""Yokogawa CellVoyager CV7000 and CV8000."""

from __future__ import annotations

import re

from tierflow.io.layouts.base import Layout, Names, folder_plate, split_path, well_of

_FILE = re.compile(
    r"(?:(?P<plate>.+)_)?(?P<well>[A-Z]{1,2}[0-9]{2})_T(?P<timepoint>[0-9]{4,6})F(?P<site>[0-9]{3,4})L[0-9]{2,3}"
    r"A[0-9]{2,3}Z(?P<z>[0-9]{2,4})(?P<channel>C[0-9]{2})\.[A-Z0-9]{2,4}",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)


def parse(path: str) -> Names | None:
    """Read a CellVoyager name.

    `AssayPlate_...` names the product, the same for every plate of a screen: the plate is then the folder. A folder
    holds one measurement, so that two measurements of a plate make different units.
    """
    folder, name = split_path(path)
    found = _FILE.fullmatch(name)
    well = well_of(found["well"]) if found else None
    if found is None or well is None:
        return None
    plate = found["plate"]
    return Names(
        plate=plate if plate and not plate.startswith("AssayPlate_") else folder_plate(folder),
        well=well[0],
        row=well[1],
        column=well[2],
        site=found["site"],
        channel=found["channel"].upper(),
        z=int(found["z"]),
        timepoint=int(found["timepoint"]),
        acquisition=folder,
    )


LAYOUT = Layout(
    name="yokogawa",
    about="Yokogawa CellVoyager CV7000 / CV8000",
    example="Plate7_B03_T0001F012L01A01Z01C02.tif",
    specificity=0.99,
    parse=parse,
)

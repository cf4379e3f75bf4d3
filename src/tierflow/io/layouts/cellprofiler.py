"""CellProfiler's default names: `<plate>_<well>_s<site>_w<channel>` with anything behind."""

from __future__ import annotations

import re

from tierflow.io.layouts.base import Layout, Names, folder_plate, iso_day, split_path, well_of
from tierflow.io.layouts.imagexpress import GUID

# CellProfiler's own pattern stops at one digit per site and at row P; real plates don't.
_FILE = re.compile(
    rf"(?P<plate>.*)_(?P<well>[A-Z]{{1,2}}[0-9]{{2}})_s(?P<site>[0-9]{{1,6}})"
    rf"_w(?P<channel>[0-9]{{1,2}}?)(?={GUID}|[^0-9A-Z]|$)",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
_DAY = re.compile(r"(?:^|/)([0-9]{4}_[0-9]{2}_[0-9]{2})$", re.ASCII)


def parse(path: str) -> Names | None:
    """Read a name of CellProfiler's default form; a last folder such as 2024_04_22 is the day."""
    folder, name = split_path(path)
    found = _FILE.match(name)
    well = well_of(found["well"]) if found else None
    if found is None or well is None:
        return None
    day = _DAY.search(folder)
    return Names(
        plate=found["plate"] or folder_plate(folder),
        well=well[0],
        row=well[1],
        column=well[2],
        site=found["site"],
        channel=f"w{found['channel']}",
        acquired_at=iso_day(day[1]) if day else None,
    )


LAYOUT = Layout(
    name="cellprofiler",
    about="CellProfiler's default pattern, as in many public data sets",
    example="2024_04_22/Plate7_B03_s12_w1_illum.tif",
    specificity=0.9,
    parse=parse,
)

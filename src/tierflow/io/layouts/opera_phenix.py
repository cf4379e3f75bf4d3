"""Opera Phenix and Operetta CLS (Harmony)."""

from __future__ import annotations

import re

from tierflow.io.layouts.base import (
    LAST_COLUMN,
    LAST_ROW,
    Layout,
    Names,
    folder_plate,
    iso_day,
    number,
    split_path,
    well_name,
)

_FILE = re.compile(
    r"r(?P<row>[0-9]{2})c(?P<column>[0-9]{2})f(?P<site>[0-9]{2,4})(?:p(?P<z>[0-9]{2,4}))?(?:rc[0-9]+)?"
    r"-ch(?P<channel>[0-9]{1,2})(?:sk(?P<timepoint>[0-9]{1,6}))?(?:fk[0-9]+)?(?:fl[0-9]+)?\.[A-Z0-9]{2,4}",
    re.IGNORECASE | re.ASCII,
)
_MEASUREMENT = re.compile(
    r"(?P<plate>.+?)__(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})T(?P<time>[0-9]{2}_[0-9]{2}_[0-9]{2})-.*", re.ASCII
)


def parse(path: str) -> Names | None:
    """Read a Harmony name; `<plate>__<time>-Measurement <n>/Images/` above it gives the plate and the time.

    `p` counts z, `sk` (slow kinetics) counts time points.
    """
    folder, name = split_path(path)
    found = _FILE.fullmatch(name)
    if found is None:
        return None
    row, column = int(found["row"]), int(found["column"])
    if not (1 <= row <= LAST_ROW and 1 <= column <= LAST_COLUMN):
        return None
    above, last = split_path(folder)
    measurement = above if last == "Images" else folder
    title = split_path(measurement)[1]
    measured = _MEASUREMENT.fullmatch(title)
    day = iso_day(measured["day"]) if measured else None
    return Names(
        plate=measured["plate"] if measured else folder_plate(title),
        well=well_name(row, column),
        row=row,
        column=column,
        site=found["site"],
        channel=f"ch{found['channel']}",
        z=number(found["z"]),
        timepoint=number(found["timepoint"]),
        acquired_at=f"{day}T{measured['time'].replace('_', ':')}" if measured and day else None,
        acquisition=measurement,
    )


LAYOUT = Layout(
    name="opera_phenix",
    about="Opera Phenix / Operetta CLS (Harmony)",
    example="Plate7__2024-04-22T14_36_10-Measurement 1/Images/r02c03f04p05-ch1sk1fk1fl1.tiff",
    specificity=0.99,
    parse=parse,
)

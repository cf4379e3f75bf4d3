"""ImageXpress and MetaXpress: the database's tree and exported folders."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from tierflow.io.layouts.base import Layout, Names, folder_plate, iso_day, number, split_path, well_of

GUID = r"[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}"

# The GUID follows `w<channel>`, `s<site>` or the well without a separator and may begin with a digit. Lazy digits and a
# GUID of exact length leave one reading: w2045200D6-... is w2 and 045200D6-..., never w20.
# The name is lazy, and a small s or w never begins a well: `_s12` and `_w10` look like wells of a 1536-well plate.
_FILE = re.compile(
    rf"(?:(?P<plate>.+?)_)?(?!(?-i:[sw]))(?P<well>[A-Z]{{1,2}}[0-9]{{2}})(?:_s(?P<site>[0-9]{{1,6}}?))?(?:_w(?P<channel>[0-9]{{1,2}}?))?"
    rf"(?P<guid>{GUID})?\.[A-Z0-9]{{2,4}}",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)

_STEPS = r"(?:(?:^|/)TimePoint_(?P<timepoint>[0-9]{1,6}))?(?:(?:^|/)ZStep_(?P<z>[0-9]{1,6}))?$"
_DATABASE = re.compile(
    r"(?:^|(?:^|/)(?P<plate>[^/]+)/)(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})/(?P<acquisition>[0-9]+)" + _STEPS, re.ASCII
)
_EXPORT = re.compile(r"(?:^|/)(?P<plate>[^/]+_Plate_(?P<acquisition>[0-9]+))" + _STEPS, re.ASCII)
# Tried last: a part of a tree, scanned from below the plate's folder.
_STEPS_ONLY = re.compile(
    r"(?:^|/)(?:TimePoint_(?P<timepoint>[0-9]{1,6})(?:/|$))?(?:ZStep_(?P<z>[0-9]{1,6}))?$", re.ASCII
)


class _Folder(NamedTuple):
    plate: str | None = None
    acquisition: str | None = None
    day: str | None = None
    timepoint: int | None = None
    z: int | None = None

    @property
    def known(self) -> bool:
        return any(part is not None for part in self)


@lru_cache(maxsize=8192)
def _folder(folder: str) -> _Folder:
    if found := _DATABASE.search(folder) or _EXPORT.search(folder):
        parts = found.groupdict()
        return _Folder(
            plate=parts["plate"],
            acquisition=folder[: found.end("acquisition")],
            day=iso_day(parts.get("day")),
            timepoint=number(parts["timepoint"]),
            z=number(parts["z"]),
        )
    found = _STEPS_ONLY.search(folder)
    return _Folder(timepoint=number(found["timepoint"]), z=number(found["z"])) if found else _Folder()


def parse(path: str) -> Names | None:
    """Read an ImageXpress path; see `LAYOUT`.

    The plate is the folder above the day, or the folder `<plate>_Plate_<id>`, else the beginning of the file's name.
    Projections lie above the `ZStep_` folders and have no z. A plate of one channel has no `w`. A name that is nothing
    but a well needs a GUID or a folder of this layout beside it: `scan_A01.tif` alone is too common.
    """
    folder, name = split_path(path)
    found = _FILE.fullmatch(name)
    well = well_of(found["well"]) if found else None
    if found is None or well is None:
        return None
    above = _folder(folder)
    if not (found["guid"] or found["site"] or found["channel"] or above.known):
        return None
    return Names(
        plate=above.plate or found["plate"] or folder_plate(folder),
        well=well[0],
        row=well[1],
        column=well[2],
        site=found["site"],
        channel=f"w{found['channel']}" if found["channel"] else None,
        z=above.z,
        timepoint=above.timepoint,
        acquired_at=above.day,
        acquisition=above.acquisition,
    )


LAYOUT = Layout(
    name="imagexpress",
    about="ImageXpress / MetaXpress: database tree (GUIDs) and exported folders",
    example="Plate7/2024-04-22/1697/TimePoint_1/ZStep_3/Plate7_C07_s12_w1D5F8F51A-3E85-4358-AE51-A465AF87386F.tif",
    specificity=0.95,
    parse=parse,
)

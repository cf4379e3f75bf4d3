"""Broad Bioimage Benchmark Collection: BBBC005 (synthetic cells) and BBBC006 (z stacks) and their derivatives."""

from __future__ import annotations

import re

from tierflow.io.layouts.base import Layout, Names, number, split_path, well_of
from tierflow.io.layouts.imagexpress import GUID

_WELL = r"(?P<well>[A-P][0-9]{2})"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE | re.ASCII | re.DOTALL)
    for form in (
        rf"(?P<plate>.+?)__{_WELL}__s(?P<site>[0-9]+)__w(?P<channel>[0-9]{{1,2}})(?:_[0-9]+)?\.[A-Z0-9]{{2,4}}",
        rf"(?P<plate>.+)_{_WELL}_C[0-9]+_F[0-9]+_s(?P<site>[0-9]+)_w(?P<channel>[0-9]{{1,2}})\.[A-Z0-9]{{2,4}}",
    )
)
_STACK = re.compile(
    rf"(?P<plate>.+)_{_WELL}_s(?P<site>[0-9]+?)_w(?P<channel>[0-9]{{1,2}}?){GUID}\.tif", re.IGNORECASE | re.ASCII
)
_STACK_FOLDER = re.compile(r"(?:^|/)BBBC006[^/]*_z_(?P<z>[0-9]{1,3})$", re.ASCII)


def parse(path: str) -> Names | None:
    """Read a BBBC name; of BBBC006's ImageXpress names only those below `BBBC006..._z_<n>`, which gives the z."""
    folder, name = split_path(path)
    stack = _STACK_FOLDER.search(folder)
    forms = (_STACK, *_FORMS) if stack else _FORMS
    found = next((found for form in forms if (found := form.fullmatch(name))), None)
    well = well_of(found["well"]) if found else None
    if found is None or well is None:
        return None
    return Names(
        plate=found["plate"],
        well=well[0],
        row=well[1],
        column=well[2],
        site=found["site"],
        channel=f"w{found['channel']}",
        z=number(stack["z"]) if stack else None,
    )


LAYOUT = Layout(
    name="bbbc",
    about="Broad Bioimage Benchmark Collection BBBC005 / BBBC006",
    example="BBBC006_z_aligned__a01__s1__w1_10.png",
    specificity=0.97,
    parse=parse,
)

"""What an acquisition's own files say about how many images it makes."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

from tierflow.io.layouts import opera_phenix
from tierflow.stream.series import Expected

if TYPE_CHECKING:
    from pathlib import Path

    from tierflow.stream.companions import Kind
    from tierflow.stream.series import Scope

_LIMIT_BYTES = 256 * 2**20
_URL = re.compile(r"<URL[^>]*>([^<]+)</URL>")
_OME_FILE = re.compile(r"<(?:\w+:)?UUID\s[^>]*FileName\s*=\s*\"([^\"]+)\"")


def read(kind: Kind, path: Path, scope: Scope) -> Expected:
    """Return what a whole companion file says; nothing where it can't be read or isn't understood.

    Args:
        kind: Its kind.
        path: The file.
        scope: What is gathered.
    """
    try:
        if path.stat().st_size > _LIMIT_BYTES:
            return Expected()
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return Expected()
    if kind.name == ".HTD":
        return htd(text)
    if kind.name == "Index.idx.xml":
        return harmony(text)
    if kind.name == ".companion.ome" and scope == "plate":
        return Expected(members=len(set(_OME_FILE.findall(text))) or None)
    return Expected()


def htd(text: str) -> Expected:
    """Read an .HTD file of MetaXpress: wavelengths, selected sites and wells, time points, and z where there is none.

    A stack may be taken in one wavelength and projected in another; how many planes a channel has, it doesn't say.
    """
    lines = [[field.strip() for field in line] for line in csv.reader(text.splitlines(), skipinitialspace=True) if line]
    values = {line[0]: line[1:] for line in lines}
    waves = _number(values, "NWavelengths")
    return Expected(
        channels=tuple(f"w{number}" for number in range(1, (waves or 0) + 1)),
        sites=_selected(values, "SiteSelection") if _is_true(values, "Sites") else 1,
        z_planes=None if _is_true(values, "ZSeries") else 1,
        wells=_selected(values, "WellsSelection"),
        timepoints=_number(values, "TimePoints"),
    )


def _selected(values: dict[str, list[str]], start: str) -> int | None:
    """Return how many fields of a grid of TRUE and FALSE are chosen."""
    rows = [fields for name, fields in values.items() if re.fullmatch(rf"{start}[0-9]+", name)]
    return sum(field.upper() == "TRUE" for fields in rows for field in fields) or None


def _is_true(values: dict[str, list[str]], name: str) -> bool:
    return [field.upper() for field in values.get(name, [])[:1]] == ["TRUE"]


def _number(values: dict[str, list[str]], name: str) -> int | None:
    fields = values.get(name, [])
    return int(fields[0]) or None if fields and fields[0].isdecimal() and len(fields[0]) < 7 else None


def harmony(text: str) -> Expected:
    """Read an index of Harmony, which names every image; nothing where wells or sites differ in what they have."""
    names = [found for url in _URL.findall(text) if (found := opera_phenix.parse(url.strip()))]
    channels = {one.channel for one in names if one.channel}
    wells = {one.well for one in names}
    times = {one.timepoint for one in names}
    sites = {(one.well, one.site) for one in names}
    planes = {one.z for one in names}
    whole = len(channels) * len(sites) * len(planes) * len(times)
    if not names or len(sites) % len(wells) or whole != len(set(names)):
        return Expected()
    return Expected(
        channels=tuple(sorted(channels)),
        sites=len(sites) // len(wells),
        z_planes=len(planes),
        wells=len(wells),
        timepoints=len(times),
    )

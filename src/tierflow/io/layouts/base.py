"""What a naming layout is: the contract of the entry-point group `tierflow.layouts`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LAST_ROW = 32
LAST_COLUMN = 48
"""A 1536-well plate has rows A to AF and columns 1 to 48."""

_WELL = re.compile(r"([A-Z]{1,2})0*([0-9]{1,2})", re.IGNORECASE | re.ASCII)


class Names(NamedTuple):
    """What the name (or header) of one file says; the first nine fields are `tables.NAME_COLUMNS`.

    Attributes:
        plate: Plate; the folder of the file where no plate is named, "." for the input root.
        well: Well as letter(s) and two digits, such as B03 or AB12.
        row: Well row, 1 = A.
        column: Well column, from 1.
        site: Site (field of view), the digits as the instrument writes them.
        channel: Channel as the instrument writes it, with its letter: w1, C01, d0, ch2.
        z: Depth index as the instrument counts.
        timepoint: Time index as the instrument counts.
        acquired_at: Day or time of acquisition, ISO 8601.
        acquisition: What tells two acquisitions of one plate apart; part of unit ids, in no table.
    """

    plate: str
    well: str | None = None
    row: int | None = None
    column: int | None = None
    site: str | None = None
    channel: str | None = None
    z: int | None = None
    timepoint: int | None = None
    acquired_at: str | None = None
    acquisition: str | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """A way of naming files.

    Attributes:
        name: Name in `scan.layout` and in the tables.
        about: One line on where such names come from.
        example: A relative path that it reads.
        specificity: From 0 to 1, how unlikely a name of another origin fits by chance; weighs in the detection.
        parse: From a relative path (valid text, "/" between parts) to what it says; None when the name doesn't fit.
            Pure: it sees the path only, never the file.
        from_header: From the texts of a file's header (see `headers.read_header`) to what they say and None when they
            aren't of this kind. A layout with it is tried when files are opened, which `scan.read_headers` allows.
    """

    name: str
    about: str
    example: str
    specificity: float
    parse: Callable[[str], Names | None]
    from_header: Callable[[Mapping[str, str], str], Names | None] | None = None


@lru_cache(maxsize=4096)
def well_of(text: str) -> tuple[str, int, int] | None:
    """Return a well's normal name, row and column, or None when no plate has such a well.

    >>> well_of("b3"), well_of("AF48"), well_of("B00")
    (('B03', 2, 3), ('AF48', 32, 48), None)
    """
    found = _WELL.fullmatch(text)
    if not found:
        return None
    row = 0
    for letter in found[1].upper():
        row = row * 26 + ord(letter) - ord("A") + 1
    column = int(found[2])
    if row > LAST_ROW or not 1 <= column <= LAST_COLUMN:
        return None
    return well_name(row, column), row, column


def well_name(row: int, column: int) -> str:
    """Return the normal name of a well from its row and column, both from 1.

    >>> well_name(2, 3), well_name(28, 12)
    ('B03', 'AB12')
    """
    first, second = divmod(row - 1, 26)
    letters = (chr(ord("A") + first - 1) if first else "") + chr(ord("A") + second)
    return f"{letters}{column:02d}"


def split_path(path: str) -> tuple[str, str]:
    """Return the folder ("" for the root) and the name of a relative path."""
    folder, _, name = path.rpartition("/")
    return folder, name


def folder_plate(folder: str) -> str:
    """Return the plate of files whose names say none: the folder's path, "." for the root."""
    return folder or "."


def number(text: str | None) -> int | None:
    """Return digits as a number; None for None."""
    return None if text is None else int(text)


@lru_cache(maxsize=4096)
def iso_day(text: str | None) -> str | None:
    """Return a day such as 2024-04-22 or 2024_04_22 in ISO 8601, None when there is no such day."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text.replace("_", "-")).isoformat()
    except ValueError:
        return None

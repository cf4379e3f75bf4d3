"""Names by the user's own regular expression (`scan.pattern`)."""

from __future__ import annotations

import re

from tierflow.errors import ConfigError
from tierflow.io.layouts.base import LAST_COLUMN, LAST_ROW, Layout, Names, folder_plate, split_path, well_name, well_of

GROUPS = ("plate", "well", "row", "column", "site", "channel", "z", "timepoint", "acquired_at")
_NUMBER_LIMIT = 2**31


def layout(pattern: str) -> Layout:
    """Return the layout of a user's pattern, searched for in the relative path.

    A number that can't be one (z, timepoint, column) means that the name doesn't fit. A well that no plate has is kept
    as written, without row and column. Row and column without well make the well; a row may be a letter.

    Raises:
        ConfigError: if the pattern is broken or names a group that isn't one of `GROUPS`.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"scan.pattern {pattern!r} is not a regular expression: {error}") from error
    unknown = sorted(set(compiled.groupindex) - set(GROUPS))
    if unknown or not compiled.groupindex:
        raise ConfigError(
            f"scan.pattern {pattern!r} has {'the unknown group ' + unknown[0] if unknown else 'no named group'}: "
            f"expected named groups of {', '.join(GROUPS)}, such as (?P<well>[A-P][0-9]{{2}})"
        )
    return Layout(
        name="regex",
        about="the pattern of your configuration",
        example=pattern,
        specificity=1.0,
        parse=lambda path: _read(compiled.search(path), path),
    )


def _read(found: re.Match[str] | None, path: str) -> Names | None:
    if found is None:
        return None
    parts = {name: text for name, text in found.groupdict().items() if text}
    try:
        z, timepoint = _number(parts.get("z")), _number(parts.get("timepoint"))
        well, row, column = _well(parts.get("well"), parts.get("row"), parts.get("column"))
    except ValueError:
        return None
    return Names(
        plate=parts.get("plate") or folder_plate(split_path(path)[0]),
        well=well,
        row=row,
        column=column,
        site=parts.get("site"),
        channel=parts.get("channel"),
        z=z,
        timepoint=timepoint,
        acquired_at=parts.get("acquired_at"),
    )


def _well(well: str | None, row: str | None, column: str | None) -> tuple[str | None, int | None, int | None]:
    if well is not None:
        return well_of(well) or (well, None, None)
    row_number = _row(row) if row is not None else None
    column_number = _number(column)
    if row_number is None or column_number is None:
        return None, row_number, column_number
    if not (1 <= row_number <= LAST_ROW and 1 <= column_number <= LAST_COLUMN):
        raise ValueError(f"no plate has row {row_number}, column {column_number}")
    return well_name(row_number, column_number), row_number, column_number


def _row(text: str) -> int:
    if text.isdecimal():
        return int(text)
    known = well_of(f"{text}1")
    if known is None:
        raise ValueError(f"{text!r} is not a row")
    return known[1]


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    value = int(text)
    if not -_NUMBER_LIMIT <= value < _NUMBER_LIMIT:
        raise ValueError(f"{text} is too large")
    return value

"""The list of the files that were fetched into a folder: `manifest.csv`."""

from __future__ import annotations

import csv
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

from tierflow.errors import ConfigError
from tierflow.io.atomic import replacing
from tierflow.io.identity import display_path

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MANIFEST = "manifest.csv"
Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row.

    Attributes:
        object_id: The object.
        path: The file in the folder, relative to it, as the file system's own bytes; empty when it isn't there.
        source: Where it came from, likewise.
        sha256: Checksum of the record; empty where the record has none.
        bytes: Size of the record, in bytes.
        status: `copied`, `linked`, `there` (it was already), `missing`, `changed` or `failed`; `would copy` or
            `would link` in a dry run.
        run: The run whose record this is.
        problem: Why the file isn't there and what to do; empty when all is well.
    """

    object_id: str
    path: bytes
    source: bytes
    sha256: str
    bytes: int
    status: str
    run: str
    problem: str = ""


COLUMNS: Row = tuple(column.name for column in fields(Entry))


def read_manifest(folder: Path) -> list[Row]:
    """Return the rows of a folder's manifest, none when it has no manifest.

    Raises:
        ConfigError: if the file of that name isn't a manifest.
    """
    path = folder / MANIFEST
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            header, *rows = csv.reader(stream)
    except FileNotFoundError:
        return []
    except (ValueError, csv.Error):
        header, rows = [], []
    if tuple(header) != COLUMNS:
        raise ConfigError(f"{path} is a file of another kind: move it away, or fetch into another folder")
    return [tuple(row) for row in rows]


def write_manifest(folder: Path, entries: Iterable[Entry]) -> Path:
    """Write the manifest, whole or not at all; rows of former calls stay unless these speak of the same files.

    Returns:
        The file.
    """
    new = [_row(entry) for entry in entries]
    objects, names = {_key(row) for row in new}, {row[1] for row in new}
    kept = [row for row in read_manifest(folder) if _key(row) not in objects and row[1] not in names]
    path = folder / MANIFEST
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([*kept, *new])
    return path


def _row(entry: Entry) -> Row:
    return tuple(_text(value) for value in astuple(entry))


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return display_path(value)
    return str(value).encode("utf-8", "backslashreplace").decode()


def _key(row: Row) -> tuple[str, str]:
    return row[COLUMNS.index("object_id")], row[COLUMNS.index("run")]

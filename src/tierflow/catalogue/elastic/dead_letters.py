"""Records that the server refused for good, with its reason: a table beside the catalogue, which a person can read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from tierflow import tables
from tierflow.catalogue.schema import time_field
from tierflow.errors import InputMissingError, TableError
from tierflow.tables import field as column

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FOLDER = "dead_letters"
SCHEMA = pa.schema(
    [
        tables.SCAN.field("object_id"),
        tables.SCAN.field("path"),
        column("error", pa.string(), "the server's name for what is wrong"),
        column("reason", pa.string(), "what is wrong, in the server's words"),
        column("document", pa.string(), "the document as it was sent, JSON"),
        time_field("at", "when it was refused"),
        column("id", pa.string(), "_id of the document"),
        column("digest", pa.string(), "digest of the record: it isn't sent again until that changes"),
    ]
)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record that the server refused; attributes are the columns of `SCHEMA`."""

    object_id: str
    path: str
    error: str
    reason: str
    document: str
    at: str
    id: str
    digest: str


def read(path: Path, *, target: str) -> dict[str, DeadLetter]:
    """Return the dead letters of a shard by `_id`; none where another index refused them.

    Args:
        path: The table.
        target: The index that is written to now; see `index.target_uuid`.
    """
    try:
        table = tables.read(path, SCHEMA.names)
        letters = {row["id"]: DeadLetter(**row) for row in table.to_pylist()}
    except (InputMissingError, TableError, KeyError, TypeError):
        return {}
    return letters if tables.metadata_of(table).get("target") == target else {}


def write(path: Path, letters: Iterable[DeadLetter], *, target: str) -> None:
    """Write the dead letters of a shard; without any there is no table."""
    rows = [asdict(letter) for letter in letters]
    if rows:
        tables.write(path, tables.from_rows(rows, SCHEMA), target=target)
    else:
        path.unlink(missing_ok=True)

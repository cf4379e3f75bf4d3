"""What the server is known to have of one shard: so that nothing is sent twice, and what is gone can be deleted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from tierflow import tables
from tierflow.errors import InputMissingError, TableError
from tierflow.tables import field as column

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = pa.schema(
    [
        column("id", pa.string(), "_id of the document"),
        column("digest", pa.string(), "digest of the record that the server accepted"),
        column("version", pa.int64(), "external version that it was accepted with"),
    ]
)


class Entry(NamedTuple):
    """What the server has under one `_id`.

    Attributes:
        digest: Digest of the record.
        version: External version.
    """

    digest: str
    version: int


@dataclass(slots=True)
class Ledger:
    """Every document of a shard that the server has accepted.

    Attributes:
        target: The index that accepted them; see `index.target_uuid`.
        entries: By `_id`.
        whole: SHA-256 of the catalogue table that was published to its end; "" when a publication was cut short.
    """

    target: str = ""
    entries: dict[str, Entry] = field(default_factory=dict)
    whole: str = ""


def read(path: Path) -> Ledger:
    """Read a ledger; one that is missing or damaged is empty, which only makes everything be sent again."""
    try:
        table = tables.read(path, SCHEMA.names)
        rows = zip(*(table[name].to_pylist() for name in SCHEMA.names), strict=True)
        entries = {key: Entry(digest, version) for key, digest, version in rows}
    except (InputMissingError, TableError, KeyError, TypeError):
        return Ledger()
    stamp = tables.metadata_of(table)
    return Ledger(stamp.get("target", ""), entries, stamp.get("whole", ""))


def write(path: Path, ledger: Ledger) -> None:
    """Write a ledger.

    A twin of this job may have written its own meanwhile. Of equal records the higher version is kept, because a
    document can only be deleted with a version that the server doesn't outbid.
    """
    other = read(path)
    entries = dict(ledger.entries)
    if other.target == ledger.target:
        for key in entries.keys() & other.entries.keys():
            if other.entries[key].digest == entries[key].digest:
                entries[key] = max(entries[key], other.entries[key])
    digests, versions = zip(*entries.values(), strict=True) if entries else ((), ())
    table = pa.table([list(entries), list(digests), list(versions)], schema=SCHEMA)
    tables.write(path, table, target=ledger.target, whole=ledger.whole)

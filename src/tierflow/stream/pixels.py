"""Which objects of a stream show pixels that another one has shown before: frozen frames and copies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tierflow import tables
from tierflow.io.identity import display_path
from tierflow.scoring import columns, groups
from tierflow.scoring.baseline import hashed_planes
from tierflow.scoring.columns import compute as pc

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from tierflow.stream.ledger import Ledger

_AT_ONCE = 500
Claim = tuple[str, int]
"""Hash of pixels, and the ledger's number of the object that showed them first."""


@dataclass(slots=True)
class Shown:
    """What a batch shows.

    Attributes:
        duplicates: Table of the schema `tables.DUPLICATES`: the batch's objects that repeat others, or that others of
            the batch repeat.
        claims: Pixels that nobody has shown before.
    """

    duplicates: pa.Table
    claims: list[Claim] = field(default_factory=list)


def hashes_of(objects: pa.Table, planes: pa.Table) -> list[tuple[str, str, str]]:
    """Return (hash, object_id, path) of all planes that aren't blank, each once, in the order of the objects.

    Args:
        objects: Scan table.
        planes: Extract table.
    """
    rows = groups.object_rows(planes, objects)
    good = np.flatnonzero(columns.equals(planes["status"], "ok") & (rows >= 0))
    good = good[np.argsort(rows[good], kind="stable")]
    found = hashed_planes(planes.take(good), objects, rows[good]).to_pydict()
    return list(dict.fromkeys(zip(found["pixel_hash"], found["object_id"], found["path"], strict=True)))


def find(ledger: Ledger, objects: pa.Table, planes: pa.Table, *, numbers: Mapping[str, int]) -> Shown:
    """Compare the pixels of a batch with all that were shown before it, and with each other.

    The first object that holds pixels is the original: by arrival, and by path within a batch.

    Args:
        ledger: Knows who has shown what first.
        objects: Scan table of the batch.
        planes: Its extract table.
        numbers: The ledger's number of each object.
    """
    found = hashes_of(objects, planes)
    first = _known(ledger, list(dict.fromkeys(text for text, _, _ in found)))
    shown = Shown(tables.DUPLICATES.empty_table())
    rows = []
    for text, object_id, path in found:
        if text not in first:
            first[text] = (object_id, path)
            if object_id in numbers:
                shown.claims.append((text, numbers[object_id]))
        rows.append(dict(zip(tables.DUPLICATES.names, (text, object_id, *first[text]), strict=True)))
    repeated = {row["pixel_hash"] for row in rows if row["object_id"] != row["first_object_id"]}
    shown.duplicates = tables.from_rows([row for row in rows if row["pixel_hash"] in repeated], tables.DUPLICATES)
    return shown


def given_up(
    old_objects: pa.Table | None, old_planes: pa.Table | None, *, new: pa.Table, numbers: Mapping[str, int]
) -> list[Claim]:
    """Return pixels that objects had shown in a former version and no longer show.

    Args:
        old_objects: Scan table of the home shard, before the batch.
        old_planes: Its extract table, likewise.
        new: Extract table of the batch.
        numbers: The ledger's number of each object of the batch.
    """
    if old_objects is None or old_planes is None:
        return []
    mine = pc.unique(new["object_id"])
    before = old_planes.filter(pc.is_in(old_planes["object_id"], value_set=mine))
    if not before.num_rows:
        return []
    now = set(zip(new["pixel_hash"].to_pylist(), new["object_id"].to_pylist(), strict=True))
    return [
        (text, numbers[object_id])
        for text, object_id, _ in hashes_of(old_objects, before)
        if (text, object_id) not in now and object_id in numbers
    ]


def _known(ledger: Ledger, hashes: list[str]) -> dict[str, tuple[str, str]]:
    """Return object_id and path of who has shown pixels first, by hash."""
    known: dict[str, tuple[str, str]] = {}
    for start in range(0, len(hashes), _AT_ONCE):
        part = hashes[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(part))
        found = ledger.query(
            "SELECT hash, object_id, path FROM pixels JOIN objects ON objects.id = pixels.object "  # noqa: S608
            f"WHERE hash IN ({marks})",
            part,
        )
        known |= {text: (object_id, display_path(path)) for text, object_id, path in found}
    return known

"""Rows of the scan table, to and from Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from tierflow import tables

if TYPE_CHECKING:
    from collections.abc import Sequence


class Row(NamedTuple):
    """One object, in the order of `tables.SCAN`."""

    object_id: str
    path: str
    path_bytes: bytes
    bytes: int
    mtime_ns: int
    is_link: bool
    unit_id: str
    layout: str
    plate: str
    well: str | None
    row: int | None
    column: int | None
    site: str | None
    channel: str | None
    z: int | None
    timepoint: int | None
    acquired_at: str | None


def to_table(rows: Sequence[Row]) -> pa.Table:
    """Build a scan table, sorted by the bytes of the path."""
    ordered = sorted(rows, key=lambda row: row.path_bytes)
    columns = zip(*ordered, strict=True) if ordered else ((),) * len(tables.SCAN)
    return pa.Table.from_arrays(
        [pa.array(values, field.type) for values, field in zip(columns, tables.SCAN, strict=True)], schema=tables.SCAN
    )


def from_table(table: pa.Table) -> list[Row]:
    """Return the rows of a scan table."""
    columns = [table.column(field.name).to_pylist() for field in tables.SCAN]
    return [Row(*values) for values in zip(*columns, strict=True)]

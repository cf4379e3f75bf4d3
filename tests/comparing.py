"""Runs must give the same tables, whoever carried out their steps and wherever they lie."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

TIMES = frozenset({"measured_at", "scored_at"})
"""Columns that say when something was done."""


def same_tables(one: Path, other: Path, *, but: Collection[str] = TIMES) -> list[Path]:
    """Require the same Parquet files in two outputs, equal but for some columns; return their names, sorted."""
    names = sorted(path.relative_to(one) for path in one.rglob("*.parquet"))
    assert names == sorted(path.relative_to(other) for path in other.rglob("*.parquet"))
    for name in names:
        same_rows(pq.read_table(one / name), pq.read_table(other / name), but=but, what=str(name))
    return names


def same_rows(one: pa.Table, other: pa.Table, *, but: Collection[str] = TIMES, what: str = "") -> None:
    """Require two tables with the same columns to be equal but for some of these."""
    assert one.column_names == other.column_names, what
    kept = [column for column in other.column_names if column not in but]
    assert one.select(kept).equals(other.select(kept)), what

"""The shard tables of a scan on disk: what a former scan wrote, and writing only what changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierflow import tables
from tierflow.errors import TableError
from tierflow.io.atomic import fsync_dir, write_text
from tierflow.scan.rows import Row, from_table, to_table
from tierflow.scan.shards import shard_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

# Hidden, so that nobody takes it for a shard. It exists only after a shard was removed.
_NEXT = ".next"


@dataclass(slots=True)
class Former:
    """What a former scan left.

    Attributes:
        tables: Shard tables by number.
        rows: Rows by the bytes of their path.
        home: Shard of each object.
        first_new: Smallest number that no shard has ever had.
        dataset: Name of the data set; None without former shards.
    """

    tables: dict[int, pa.Table] = field(default_factory=dict)
    rows: dict[bytes, Row] = field(default_factory=dict)
    home: dict[str, int] = field(default_factory=dict)
    first_new: int = 0
    dataset: str | None = None


def load(folder: Path) -> Former:
    """Read the shard tables of a former scan; a folder that isn't there gives none.

    An object that lies in two shards (a scan was killed while it gathered a unit) belongs to the lower one.

    Raises:
        TableError: if one is damaged.
    """
    former = Former()
    for path in sorted(folder.glob("[0-9]*.parquet")):
        number = int(path.stem)
        table = tables.read(path)
        former.tables[number] = table
        former.dataset = tables.metadata_of(table).get("dataset")
        for row in from_table(table):
            former.rows.setdefault(row.path_bytes, row)
            former.home.setdefault(row.object_id, number)
    former.first_new = first_new(folder)
    return former


def first_new(folder: Path) -> int:
    """Return the smallest number that no shard of a folder has ever had, without reading a table.

    Raises:
        TableError: if the number that was remembered is damaged.
    """
    return max([_remembered(folder / _NEXT), *(int(path.stem) + 1 for path in folder.glob("[0-9]*.parquet"))])


def save(folder: Path, shards: Mapping[int, Sequence[Row]], former: Former, *, source: str, dataset: str) -> None:
    """Write the shard tables that changed, in ascending order, then remove those that became empty.

    A table that says the same as before keeps its file and time of change, so that nothing after it is redone.

    Args:
        folder: Folder of the shard tables.
        shards: Rows by shard number.
        former: What `load` returned for this folder.
        source: Absolute input folder.
        dataset: Name of the data set.
    """
    stamp = {"input": source, "dataset": dataset}
    for number, rows in sorted(shards.items()):
        table, old = to_table(rows), former.tables.get(number)
        if old is None or not (old.equals(table) and stamp.items() <= tables.metadata_of(old).items()):
            tables.write(folder / f"{shard_name(number)}.parquet", table, **stamp)
    emptied = sorted(former.tables.keys() - shards.keys())
    if emptied:
        # Before the removal: a name is never used again for other objects.
        write_text(folder / _NEXT, f"{max(former.first_new, *(number + 1 for number in [*shards, *emptied]))}\n")
        for number in emptied:
            (folder / f"{shard_name(number)}.parquet").unlink(missing_ok=True)
        fsync_dir(folder)


def _remembered(path: Path) -> int:
    try:
        return int(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 0
    except ValueError as error:
        raise TableError(f"{path} is damaged (expected a number): delete it and run again") from error

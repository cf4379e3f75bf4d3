"""Put the rows of a micro-batch into the tables of its home shard, and keep the tables of the shards in use at hand."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tierflow import tables
from tierflow.errors import TierflowError, TryAgainError, is_passing
from tierflow.io.atomic import write_text
from tierflow.scoring.columns import compute as pc
from tierflow.steps.places import arguments

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TABLES = ("catalogue", "scan", "extract", "score", "place")
"""Tables of a shard in the order in which a batch is put into them: searchable first."""

KEPT_SHARDS = 4
"""Shards whose tables stay in memory: the one that grows, and those of files that were written again."""

_State = tuple[int, int, int]


@lru_cache(maxsize=32)
def table_paths(output: Path, shard: str) -> Mapping[str, Path]:
    """Return where the tables of a shard lie, by the names of `TABLES`."""
    index, place = (arguments(step, output, shard=shard) for step in ("index", "place"))
    return {
        "catalogue": index["catalogue"],
        "scan": index["shard"],
        "extract": index["extract"],
        "score": index["score"],
        "place": place["table"],
    }


def upsert(old: pa.Table | None, new: pa.Table) -> pa.Table:
    """Return a table in which the rows of some objects are replaced, or added at the end.

    Columns that only one of them has are null in the rows of the other: an output whose configuration was changed.

    Args:
        old: The table; None where there is none yet.
        new: All rows of some objects.
    """
    new = new.replace_schema_metadata(None)
    if old is None:
        return new
    old = old.replace_schema_metadata(None)
    kept = old.filter(pc.invert(pc.is_in(old["object_id"], value_set=pc.unique(new["object_id"]))))
    # The columns of the newer configuration say how the whole is written.
    both = pa.concat_tables([new.slice(0, 0), kept, new], promote_options="default")
    return both.combine_chunks()


def in_order(table: pa.Table, ids: Any) -> pa.Table:
    """Return the rows of a table in the order of objects; the rows of one object stay as they follow each other.

    Args:
        table: Any table with object_id.
        ids: Objects in their order; rows of others are left out.
    """
    place = pc.fill_null(pc.index_in(table["object_id"], value_set=ids.combine_chunks()), -1).to_numpy()
    order = np.argsort(place, kind="stable")
    rows = order[np.count_nonzero(place < 0) :]
    if len(rows) == table.num_rows and np.array_equal(rows, np.arange(len(rows))):
        return table
    return table.take(rows).combine_chunks()


def sorted_scan(table: pa.Table) -> pa.Table:
    """Return a scan table in the order in which a scan writes it."""
    return table.sort_by([("path_bytes", "ascending")]).combine_chunks()


def merged(old: Mapping[str, pa.Table | None], new: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """Return the tables of a shard with the rows of a batch, all of them in the order of the scan table.

    Args:
        old: Tables of the shard by the names of `TABLES`.
        new: Rows of the batch, likewise; all of them of the same objects.
    """
    scan = sorted_scan(upsert(old["scan"], new["scan"]))
    found = {name: in_order(upsert(old[name], new[name]), scan["object_id"]) for name in TABLES if name != "scan"}
    return found | {"scan": scan}


@dataclass(slots=True)
class _Held:
    state: _State
    table: pa.Table


class Shards:
    """The tables of the shards of an output that a stream fills.

    What was read or written stays in memory for the shards used last, as long as the file is as it was left.

    Args:
        output: Output folder.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self._held: OrderedDict[str, dict[str, _Held]] = OrderedDict()

    def read(self, shard: str, name: str) -> pa.Table | None:
        """Return a table of a shard; None where it isn't there.

        Args:
            shard: Name of the shard.
            name: One of `TABLES`.

        Raises:
            TableError: if it is damaged.
        """
        path = table_paths(self._output, shard)[name]
        try:
            state = _state(path)
        except FileNotFoundError:
            return None
        held = self._of(shard).get(name)
        if held is None or held.state != state:
            self._of(shard)[name] = held = _Held(state, tables.read(path))
        return held.table

    def fold(self, shard: str, rows: Mapping[str, pa.Table]) -> None:
        """Put the rows of a batch into the tables of its shard. May be cut off anywhere and repeated.

        Args:
            shard: Name of the shard.
            rows: Tables of the batch by the names of `TABLES`, with their stamps; all of the same objects.

        Raises:
            TableError: if a table of the shard is damaged.
            OSError: if the disk is full or away.
        """
        paths = table_paths(self._output, shard)
        whole = merged({name: self.read(shard, name) for name in TABLES}, rows)
        for name in TABLES:
            self._write(shard, name, paths[name], whole[name], stamp=tables.stamps_of(rows[name]))
        self._write_receipt(shard, paths["catalogue"], rows=whole["catalogue"].num_rows)

    def replace(self, shard: str, changed: Mapping[str, pa.Table]) -> None:
        """Write some tables of a shard anew, the catalogue first; their stamps stay.

        Args:
            shard: Name of the shard.
            changed: Whole tables by the names of `TABLES`.
        """
        paths = table_paths(self._output, shard)
        for name in TABLES:
            former = self.read(shard, name) if name in changed else None
            if former is not None:
                self._write(shard, name, paths[name], changed[name], stamp=tables.stamps_of(former))
        if "catalogue" in changed:
            self._write_receipt(shard, paths["catalogue"], rows=changed["catalogue"].num_rows)

    def forget(self, shard: str) -> None:
        """Drop what is in memory of a shard: nobody knows how far a writing came that failed."""
        self._held.pop(shard, None)

    def _of(self, shard: str) -> dict[str, _Held]:
        self._held.setdefault(shard, {})
        self._held.move_to_end(shard)
        while len(self._held) > KEPT_SHARDS:
            self._held.popitem(last=False)
        return self._held[shard]

    def _write(self, shard: str, name: str, path: Path, table: pa.Table, *, stamp: Mapping[str, str]) -> None:
        tables.write(path, table, **stamp)
        self._of(shard)[name] = _Held(_state(path), tables.stamped(table, **stamp))

    def _write_receipt(self, shard: str, catalogue: Path, *, rows: int) -> None:
        digest = hashlib.sha256(catalogue.read_bytes()).hexdigest()
        receipt = arguments("index", self._output, shard=shard)["receipt"]
        # Without it nothing is lost: it says nothing that the table doesn't.
        write_text(receipt, json.dumps({"rows": rows, "digest": digest}) + "\n", durable=False)


def _state(path: Path) -> _State:
    info = path.stat()
    return info.st_ino, info.st_size, info.st_mtime_ns


@contextmanager
def mapped(output: Path) -> Iterator[None]:
    """Turn trouble of the disk that passes into an error that says to try again."""
    try:
        yield
    except TierflowError:
        raise
    except OSError as error:
        if not is_passing(error):
            raise
        raise TryAgainError(
            f"can't write to {output} ({error.strerror}): make room, or bring the disk back; then it goes on by itself"
        ) from error

"""Take over into the ledger what the tables of an output say: after a loss of the ledger nothing is handled twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from tierflow import tables
from tierflow.config import QUARANTINE
from tierflow.errors import ConfigError, InputMissingError, TableError
from tierflow.scoring.baseline import HIGHEST, LOWEST
from tierflow.scoring.folder import feature_names
from tierflow.scoring.groups import PLANE_COLUMNS
from tierflow.stream.batch import Batch
from tierflow.stream.fold import table_paths
from tierflow.stream.pixels import hashes_of
from tierflow.stream.sources import look
from tierflow.stream.states import State

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from tierflow.stream.ledger import Ledger

_UPSERT = """
INSERT INTO objects (path, folder, object_id, state, size, mtime_ns, inode, is_link, seen_at, changed_at, ended_at,
    unit, shard, tier, interestingness, reason, handled_size, handled_mtime_ns)
VALUES (:path, :folder, :object_id, :state, :size, :mtime_ns, :inode, :is_link, :at, :at, :at,
    :unit, :shard, :tier, :interestingness, :reason, :size, :mtime_ns)
ON CONFLICT (path) DO UPDATE SET
    state = CASE WHEN size = excluded.size AND mtime_ns = excluded.mtime_ns AND state IN ('seen', 'waiting', 'ready',
        'failed') THEN excluded.state ELSE state END,
    shard = excluded.shard, tier = excluded.tier, interestingness = excluded.interestingness,
    ended_at = coalesce(ended_at, excluded.ended_at),
    handled_size = excluded.handled_size, handled_mtime_ns = excluded.handled_mtime_ns
"""


def import_tables(ledger: Ledger) -> int:
    """Take over the objects of those shards of which the ledger doesn't know all.

    An object that the ledger knows and whose file is still the one in the tables is done; one whose file is another
    now is left to be handled.

    Args:
        ledger: The ledger of the output.

    Returns:
        The number of objects that were taken over.

    Raises:
        ConfigError: if a run over the output was left unfinished.
        TableError: if a table is damaged.
    """
    handled = dict(ledger.query("SELECT shard, count(*) FROM objects WHERE handled_size IS NOT NULL GROUP BY shard"))
    taken = 0
    for path in sorted((ledger.output / "scan" / "shards").glob("[0-9]*.parquet")):
        if pq.read_metadata(path).num_rows != handled.get(int(path.stem), 0):
            taken += _import_shard(ledger, path.stem)
    return taken


def adopt(ledger: Ledger, folder: Path) -> Batch | None:
    """Enter a batch that the ledger doesn't know, so that it can be committed; None where it wasn't measured.

    Args:
        ledger: The ledger.
        folder: Folder of the batch.

    Raises:
        TryAgainError: if the disk is full.
    """
    number = int(folder.name)
    shards = sorted((folder / "scan" / "shards").glob("[0-9]*.parquet"))
    if len(shards) != 1:
        return None
    shard = shards[0].stem
    paths = table_paths(folder, shard)
    try:
        scan = tables.read(paths["scan"])
        tables.read(paths["extract"], ["object_id"])
    except (InputMissingError, TableError):
        return None
    rows = list(_ledger_rows(scan, shard=int(shard), at=paths["scan"].stat().st_mtime))
    with ledger.transaction() as db:
        db.execute(
            "INSERT INTO batches (id, shard, stage, objects, began_at) VALUES (?, ?, 'recording', ?, ?)",
            (number, int(shard), len(rows), rows[0]["at"] if rows else 0.0),
        )
        for row in rows:
            db.execute(
                "INSERT INTO objects (path, folder, object_id, state, size, mtime_ns, inode, is_link, seen_at, "
                "changed_at, unit, shard) VALUES (:path, :folder, :object_id, 'seen', :size, :mtime_ns, 0, :is_link, "
                ":at, :at, :unit, :shard) ON CONFLICT (path) DO NOTHING",
                row,
            )
            db.execute(
                "UPDATE objects SET state = ?, batch = ?, shard = ? WHERE path = ? AND state <> ?",
                (State.RUNNING, number, int(shard), row["path"], State.RUNNING),
            )
    ids = ledger.query("SELECT id FROM objects WHERE batch = ?", (number,))
    return Batch(number, shard, folder, tuple(found[0] for found in ids))


def _import_shard(ledger: Ledger, shard: str) -> int:
    paths = table_paths(ledger.output, shard)
    try:
        scan = tables.read(paths["scan"])
        score = tables.read(paths["score"], ["object_id", "interestingness", "reason"])
        place = tables.read(paths["place"], ["object_id", "tier"])
        planes = _planes(paths["extract"])
        at = paths["catalogue"].stat().st_mtime
    except (InputMissingError, FileNotFoundError) as error:
        raise _unfinished(ledger.output, str(error)) from error
    if not scan["object_id"].equals(score["object_id"]) or not scan["object_id"].equals(place["object_id"]):
        raise _unfinished(ledger.output, f"the tables of shard {shard} don't hold the same objects")
    source = (tables.metadata_of(scan).get("input") or "").encode("utf-8", "surrogateescape")
    ended = zip(
        *(table[name].to_pylist() for table, name in ((place, "tier"), (score, "interestingness"), (score, "reason"))),
        strict=True,
    )
    with ledger.transaction() as db:
        for row, (tier, interestingness, reason) in zip(
            _ledger_rows(scan, shard=int(shard), at=at), ended, strict=True
        ):
            seen = look(source, row["path"]) if source else None
            bad = tier == QUARANTINE
            own = {
                "state": State.QUARANTINED if bad else State.DONE,
                "inode": seen.inode if seen else 0,
                "tier": tier,
                "interestingness": interestingness,
                "reason": reason if bad else None,
            }
            db.execute(_UPSERT, row | own)
        _claim(db, scan, planes)
    return scan.num_rows


def _ledger_rows(scan: pa.Table, *, shard: int, at: float) -> Iterator[dict[str, Any]]:
    names = ("object_id", "path_bytes", "bytes", "mtime_ns", "is_link", "unit_id")
    for object_id, path, size, mtime_ns, is_link, unit in zip(*(scan[name].to_pylist() for name in names), strict=True):
        yield {
            "path": path,
            "folder": path.rpartition(b"/")[0],
            "object_id": object_id,
            "size": size,
            "mtime_ns": mtime_ns,
            "is_link": bool(is_link),
            "unit": None if unit == object_id else unit,
            "shard": shard,
            "at": at,
        }


def _planes(extract: Path) -> pa.Table:
    present = feature_names(extract)
    ends = [name for name in (LOWEST, HIGHEST) if name in present]
    return tables.read(extract, [*PLANE_COLUMNS, "status", "pixel_hash", *ends])


def _claim(db: sqlite3.Connection, scan: pa.Table, planes: pa.Table) -> None:
    db.executemany(
        "INSERT OR IGNORE INTO pixels SELECT ?, id FROM objects WHERE object_id = ?",
        [(text, object_id) for text, object_id, _ in hashes_of(scan, planes)],
    )


def _unfinished(output: Path, what: str) -> ConfigError:
    return ConfigError(
        f"{output} holds a run that didn't come to its end ({what}): finish it by `tierflow run` with the same input "
        "and output, then watch again; or give another --output"
    )

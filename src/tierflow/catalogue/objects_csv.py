"""OUTPUT/objects.csv: a row per object, whatever became of it and wherever the run stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tierflow import tables
from tierflow.catalogue.export import write_text
from tierflow.catalogue.records import best_rows
from tierflow.catalogue.schema import BASE
from tierflow.errors import InputMissingError, TableError
from tierflow.io.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

COLUMNS = (
    "path",
    "object_id",
    "status",
    "reason",
    "interestingness",
    "tier",
    "flags",
    "destination",
    "sha256",
    "bytes",
    *tables.NAME_COLUMNS,
)
SCHEMA = pa.schema([field for name in COLUMNS for field in BASE if field.name == name])
NOT_MEASURED = "not measured yet: run `tierflow run` again to go on"
_EXTRACT_COLUMNS = ("object_id", "plane", "status", "flag", "reason", "sha256", "channel_name")


def write_objects_csv(output: Path, target: Path) -> int:
    """Write one row per object of a run, sorted by path; whole or not at all.

    A shard that is catalogued is read from the catalogue; of any other, what its steps have found so far is put
    together: without a placement, tier and destination are empty; without a score, interestingness too; without a
    measurement, status is empty and `reason` says so.

    Args:
        output: Output folder of a run.
        target: CSV file to write: UTF-8, columns `COLUMNS`, flags joined by ";".

    Returns:
        The number of objects.

    Raises:
        InputMissingError: if nothing was scanned yet.
        TableError: if a table of the scan is damaged.
    """
    names = sorted(path.name for path in (output / "scan" / "shards").glob("*.parquet") if path.name[0] != ".")
    if not names:
        raise InputMissingError(f"{output} holds no scan: run `tierflow run INPUT --output {output}`")
    with replacing(target) as temporary:
        reader = pa.RecordBatchReader.from_batches(SCHEMA, _batches(output, names))
        return write_text(reader, "csv", temporary, sort=("path", "object_id"))


def _batches(output: Path, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for name in names:
        yield from _rows(output, name).select(COLUMNS).cast(SCHEMA).to_batches()


def _rows(output: Path, name: str) -> pa.Table:
    catalogue = output / "catalogue" / name
    sources = [output / "scan" / "shards" / name, output / "score" / name, output / "place" / name]
    if _is_newer(catalogue, sources):
        found = _optional(catalogue, COLUMNS)
        if found is not None:
            return found
    scan, score, place = sources
    return so_far(
        shard=tables.read(scan),
        extract=_optional(output / "extract" / name, _EXTRACT_COLUMNS),
        score=_optional(score),
        place=_optional(place, ("object_id", "tier", "destination")),
    )


def _is_newer(path: Path, sources: Sequence[Path]) -> bool:
    """Tell whether a table was written after all of its sources that are there (undo removes place tables)."""
    try:
        written = path.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    return all(source.stat().st_mtime_ns <= written for source in sources if source.exists())


def _optional(path: Path, columns: Sequence[str] | None = None) -> pa.Table | None:
    """Read a table; None when it isn't there or damaged, because the list of objects must not depend on it."""
    try:
        return tables.read(path, columns)
    except (InputMissingError, TableError):
        return None


def so_far(*, shard: pa.Table, extract: pa.Table | None, score: pa.Table | None, place: pa.Table | None) -> pa.Table:
    """Return what is known about each object of a shard, in the order of the shard and with the columns `COLUMNS`.

    Args:
        shard: Table `SCAN` of the shard.
        extract: Its extract table with `_EXTRACT_COLUMNS`, if it is there.
        score: Its score table, if it is there.
        place: Its place table, if it is there.
    """
    ids = shard["object_id"]
    extract = tables.from_rows([], tables.extract_schema({})) if extract is None else extract
    score = tables.from_rows([], tables.SCORE) if score is None else score
    place = tables.from_rows([], tables.PLACE) if place is None else place
    scored = _looked_up(ids, score)
    placed = _looked_up(ids, place)
    best = best_rows(ids, extract, scored["best_plane"])
    measured = extract.take(pc.coalesce(best, pc.index_in(ids, value_set=extract["object_id"])))
    columns: dict[str, Any] = {
        **{name: shard[name] for name in ("path", "object_id", *tables.NAME_COLUMNS)},
        "channel": pc.coalesce(shard["channel"], measured["channel_name"]),
        "status": pc.coalesce(scored["status"], measured["status"]),
        "reason": pc.coalesce(scored["reason"], measured["reason"], _reason(measured["status"])),
        "interestingness": scored["interestingness"],
        "tier": placed["tier"],
        "flags": pc.coalesce(scored["flags"], _as_lists(measured["flag"])),
        "destination": placed["destination"],
        "sha256": pc.coalesce(scored["sha256"], measured["sha256"]),
        "bytes": pc.coalesce(scored["bytes"], shard["bytes"]),
    }
    return pa.table({name: columns[name].cast(SCHEMA.field(name).type) for name in COLUMNS}, schema=SCHEMA)


def _looked_up(ids: Any, table: pa.Table) -> pa.Table:
    """Return the row of every object, null where the table has none."""
    return table.take(pc.index_in(ids, value_set=table["object_id"]))


def _reason(status: Any) -> Any:
    return pc.if_else(pc.is_null(status), pa.scalar(NOT_MEASURED), pa.scalar(None, pa.string()))


def _as_lists(flags: Any) -> Any:
    return pa.chunked_array([pa.array([None if f is None else [f] for f in flags.to_pylist()], pa.list_(pa.string()))])

"""The objects of a run that stopped before its catalogue: joined from the tables that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tierflow import tables
from tierflow.catalogue.provenance import provenance
from tierflow.catalogue.records import join
from tierflow.report.build import build, read_baseline, read_json
from tierflow.report.page import Material
from tierflow.report.source import TableSource

if TYPE_CHECKING:
    from pathlib import Path

    from tierflow.config import Config


def build_partial(*, output: Path, config: Config, html: Path, problem: str) -> None:
    """Write the report of a run that stopped, for example because too many objects failed: failures come first.

    Args:
        output: The run's output folder; scan and extract have run for some shards at least.
        config: The run's configuration.
        html: The report to write.
        problem: Why the run stopped, in words.

    Raises:
        InputMissingError: if no shard was measured, so that there is nothing to show.
        TableError: if a table is damaged.
    """
    material = Material(
        source=TableSource(measured_objects(output, config)),
        config=config,
        summary=read_json(output / "scan" / "summary.json") or {},
        policy=read_json(output / "policy.json"),
        baseline=read_baseline(output / "baseline.parquet"),
        output=output,
        problem=problem,
    )
    build(material, html)


def measured_objects(output: Path, config: Config) -> pa.Table:
    """Return catalogue records, without places, of all shards that were measured.

    A shard that wasn't scored yet shows its failures; its other objects count as not scored.

    Raises:
        InputMissingError: if no shard was measured.
        TableError: if a table is damaged.
    """
    made_by = provenance(config, dataset=config.dataset_name, digest=config.digest())
    found = []
    shards = sorted((output / "scan" / "shards").glob("*.parquet"))
    for path in shards:
        extract_path = output / "extract" / path.name
        if not extract_path.exists():
            continue
        shard, extract = tables.read(path), tables.read(extract_path)
        score_path = output / "score" / path.name
        score = tables.read(score_path) if score_path.exists() else _unscored(shard, extract)
        place = pa.table({"object_id": shard["object_id"]}, schema=pa.schema([tables.PLACE.field("object_id")]))
        found.append(join(shard=shard, extract=extract, score=score, place=_filled(place), provenance=made_by))
    if not found:
        # Reading the first one that is missing says which, and what to do.
        tables.read(output / "extract" / (shards[0].name if shards else "00000.parquet"))
    return pa.concat_tables(found, promote_options="default")


def _filled(table: pa.Table) -> pa.Table:
    """Add the columns of the place table, without values."""
    for column in tables.PLACE:
        if column.name not in table.column_names:
            table = table.append_column(column, pa.nulls(table.num_rows, column.type))
    return table


def _unscored(shard: pa.Table, extract: pa.Table) -> pa.Table:
    """Return a score table in which no object has a score, but failures have their flag and reason."""
    first = extract.take(pc.index_in(shard["object_id"], value_set=extract["object_id"]))
    rows = [
        {
            "object_id": row["object_id"],
            "status": "failed",
            "reason": row["reason"] or "the run stopped before it was scored",
            "flags": [row["flag"] or "not_scored"],
            "flag_details": [],
            "sha256": row["sha256"],
            "bytes": row["bytes"],
        }
        for row in first.select(["object_id", "reason", "flag", "sha256", "bytes"]).to_pylist()
    ]
    return tables.from_rows(rows, tables.SCORE)

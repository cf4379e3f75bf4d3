"""Output folders for trials: real tables and stand-in files for some objects of the input, measured or not.

Objects that weren't measured get the rows of a measured unit of like size. The files are stand-ins of some bytes with
the names of the real ones, in a temporary folder, so that the real drivers can be tried without touching an image.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tierflow import config_io, plugins, tables
from tierflow.clock import utc_now
from tierflow.config import Config, Metadata
from tierflow.io.atomic import write_text
from tierflow.scan import store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierflow.scan.rows import Row

SHARD = "00000"
INPUT, OUTPUT = "input", "output"


def trial_config(config: Config, source: Path) -> Config:
    """Return the configuration of a trial: the user's, in one shard, with tiers that lie in the trial's folder.

    A tier at an address is tried as one that does nothing: nobody's bucket is written to for an estimate.
    """
    tree = config.model_dump()
    built_in = {name for name, point in plugins.available("tiers").items() if point.value.startswith("tierflow.")}
    for tier in (*tree["tiers"].values(), tree["quarantine"]):
        local = tier["driver"] in built_in and "://" not in (tier["root"] or "")
        tier |= {"root": None} | ({} if local else {"driver": "none"})
    tree |= {"input": str(source), "dataset": config.dataset_name, "metadata": Metadata().model_dump()}
    # Stand-ins have no headers to read.
    named = tree["scan"]["layout"] in ("auto", "regex")
    tree["scan"] |= {"shard_objects": 100_000, "shard_mb": 1_000_000, "read_headers": False}
    tree["scan"] |= {} if named else {"layout": "auto"}
    tree["catalogue"]["elasticsearch"]["url"] = None
    tree["run"]["max_failed_share"] = 1.0
    return Config.model_validate(tree)


def build(
    folder: Path, *, config: Config, rows: Sequence[Row], measured: pa.Table, donors: Sequence[Sequence[str]]
) -> Path:
    """Write the input and the output of a trial as they are after `extract`.

    Args:
        folder: New folder for both.
        config: The user's configuration.
        rows: Scan rows of the objects, in the order of their paths.
        measured: Extract table of the sample.
        donors: For each object the object_ids whose rows it may take (one of a measured unit).

    Returns:
        The output folder.
    """
    source, output = folder / INPUT, folder / OUTPUT
    settings = trial_config(config, source)
    stood = [_stand_in(source, row) for row in rows]
    digests = [digest for _, digest in stood]
    own = [row for row, _ in stood]
    store.save(output / "scan" / "shards", {0: own}, store.Former(), source=str(source), dataset=settings.dataset_name)
    summary = {
        "objects": len(own),
        "shards": [{"name": SHARD, "objects": len(own), "bytes": sum(r.bytes for r in own)}],
    }
    summary |= {"input": str(source), "dataset": settings.dataset_name, "warnings": [], "skipped": {}}
    write_text(output / "scan" / "summary.json", json.dumps(summary))
    config_io.write(output / "config.yaml", settings)
    ordered = sorted(range(len(own)), key=lambda i: own[i].path_bytes)
    table = _lent(
        measured, [own[i].object_id for i in ordered], [donors[i] for i in ordered], [digests[i] for i in ordered]
    )
    tables.write(output / "extract" / f"{SHARD}.parquet", table, at=utc_now())
    return output


def _stand_in(source: Path, row: Row) -> tuple[Row, str]:
    path = Path(os.fsdecode(os.fsencode(source) + b"/" + row.path_bytes))
    path.parent.mkdir(parents=True, exist_ok=True)
    content = b"stands for " + row.object_id.encode()
    path.write_bytes(content)
    stat = path.stat()
    made = row._replace(bytes=stat.st_size, mtime_ns=stat.st_mtime_ns, is_link=False)
    return made, hashlib.sha256(content).hexdigest()


def _lent(
    measured: pa.Table, object_ids: Sequence[str], donors: Sequence[Sequence[str]], digests: Sequence[str]
) -> pa.Table:
    """Return the extract table of objects that take the rows of measured ones."""
    places: dict[str, list[int]] = {}
    for position, name in enumerate(measured["object_id"].to_pylist()):
        places.setdefault(str(name), []).append(position)
    taken: list[int] = []
    owner: list[int] = []
    for number, lenders in enumerate(donors):
        rows = places[lenders[number % len(lenders)]]
        taken += rows
        owner += [number] * len(rows)
    table = measured.take(pa.array(taken, pa.int64()))
    read = np.array([value is not None for value in table["sha256"].to_pylist()])
    hashed = np.array([value is not None for value in table["pixel_hash"].to_pylist()])
    changed: dict[str, list[Any]] = {
        "object_id": [object_ids[i] for i in owner],
        "sha256": [digests[i] if there else None for i, there in zip(owner, read, strict=True)],
        # Lent pixels would be found to be duplicates of each other.
        "pixel_hash": [f"{position:032x}" if there else None for position, there in enumerate(hashed)],
        "bytes": [
            len("stands for ") + len(object_ids[i]) if there else None for i, there in zip(owner, read, strict=True)
        ],
    }
    for name, values in changed.items():
        position = table.schema.get_field_index(name)
        table = table.set_column(
            position, table.schema.field(position), pa.array(values, table.schema.field(position).type)
        )
    return table


def as_if_kept(output: Path, root: Path) -> None:
    """Say in the tables of a trial that all files lie at the real input, so that the report shows real images."""
    path = output / "place" / f"{SHARD}.parquet"
    place = tables.read(path)
    n = place.num_rows
    for name, value in (("driver", "none"), ("placement", "kept"), ("destination", None), ("problem", None)):
        position = place.schema.get_field_index(name)
        place = place.set_column(position, place.schema.field(position), pa.array([value] * n, pa.string()))
    tables.write(path, place)
    shard = output / "scan" / "shards" / f"{SHARD}.parquet"
    stamp = tables.metadata_of(tables.read(shard)) | {"input": str(root)}
    stamp.pop("schema_version")
    tables.write(shard, tables.read(shard), **stamp)

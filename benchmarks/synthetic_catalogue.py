"""A catalogue of any size, without an image: the records of a small synthetic run, varied."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa

from tierflow import config_io, tables
from tierflow.catalogue.schema import CATALOGUE_VERSION
from tierflow.config import Config
from tierflow.testing.tables import make_run

SEED_OBJECTS = 2_000
DATASET = "synthetic"
INPUT = "/input"


def make_catalogue(folder: Path, *, objects: int, per_shard: int = 50_000, run: str = "benchmark") -> Path:
    """Write `folder/output/catalogue/*.parquet` with so many records, and a configuration; return the output."""
    seed_output = make_run(folder / "seed", objects=SEED_OBJECTS, shard_objects=SEED_OBJECTS, catalogue=True)
    seed = tables.read(next((seed_output / "catalogue").glob("*.parquet")))
    output = folder / "output"
    config_io.write(output / "config.yaml", Config.model_validate({"dataset": DATASET, "catalogue": {"run": run}}))
    random = np.random.default_rng(2)
    for shard, first in enumerate(range(0, objects, per_shard)):
        part = vary(seed, np.arange(first, min(first + per_shard, objects)), random, run=run)
        path = output / "catalogue" / f"{shard:05d}.parquet"
        tables.write(path, part, input=INPUT, dataset=DATASET, catalogue_version=CATALOGUE_VERSION)
    return output


def vary(seed: pa.Table, numbers: np.ndarray, random: np.random.Generator, *, run: str) -> pa.Table:
    """Return one record per number: names and ids of its own, numbers a little different."""
    table = seed.take(pa.array(numbers % seed.num_rows))
    plates = [f"plate_{number // 3072:05d}" for number in numbers.tolist()]
    paths = [f"{plate}/image_{number:09d}.tif" for plate, number in zip(plates, numbers.tolist(), strict=True)]
    changed = {
        "object_id": [hashlib.sha256(f"{DATASET}/{path}".encode()).hexdigest()[:32] for path in paths],
        "path": paths,
        "path_bytes": [path.encode() for path in paths],
        "unit_id": paths,
        "plate": plates,
        "run": [run] * len(paths),
        "sha256": [hashlib.sha256(path.encode()).hexdigest() for path in paths],
    }
    for name in ["interestingness", *tables.feature_columns(table.schema)]:
        values = table[name].to_numpy(zero_copy_only=False)
        varied = values * random.uniform(0.9, 1.1, len(values))
        varied = np.clip(varied, 0, 1) if name == "interestingness" else varied
        changed[name] = pa.array(varied, from_pandas=True)
    for name, values in changed.items():
        position = table.schema.get_field_index(name)
        column = table.schema.field(position)
        table = table.set_column(position, column, pa.chunked_array([pa.array(values, column.type)]))
    return table

"""Read how far the publication of a run has come: receipts, dead letters and catalogue tables of its output."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tierflow import config_io
from tierflow.catalogue.provenance import UNNAMED_RUN
from tierflow.metrics import Receipt, RunState, ShardState
from tierflow.render.snakemake import CONFIG_FILE

if TYPE_CHECKING:
    from pathlib import Path

_FOOTERS = 65_536


def run_state(output: Path) -> RunState:
    """Return how far the publication of a run has come.

    A shard counts as published when its receipt is at least as new as its table, by the file system's own clock.

    Args:
        output: Output folder of a run.

    Raises:
        InputMissingError: if the folder holds no run.
        ConfigError: if its configuration can't be read.
    """
    config = config_io.load(output / CONFIG_FILE)
    folder = output / "publish"
    shards, unreadable = [], 0
    for table in _tables(output):
        shard, bad = _shard(output, table)
        unreadable += bad
        if shard is not None:
            shards.append(shard)
    return RunState(
        run=config.catalogue.run or UNNAMED_RUN,
        publishes=bool(config.catalogue.elasticsearch.url) or any(folder.glob("*.json")),
        shards=shards,
        unreadable=unreadable,
    )


def _tables(output: Path) -> list[Path]:
    found = sorted(path for path in (output / "catalogue").glob("*.parquet") if not path.name.startswith("."))
    # After a new scan with fewer shards, tables of the old scan may remain: they aren't part of the run.
    known = {path.name for path in (output / "scan" / "shards").glob("*.parquet")}
    return [path for path in found if not known or path.name in known]


def _shard(output: Path, table: Path) -> tuple[ShardState | None, int]:
    """Return the state of a shard, None when its table can't be read; and how many of its files can't be read."""
    bad = 0
    try:
        records, changed_at = _rows(table), table.stat().st_mtime
    except (OSError, pa.ArrowInvalid):
        return None, 1
    try:
        receipt = _receipt(output / "publish" / f"{table.stem}.json")
    except (OSError, ValueError):
        receipt, bad = None, bad + 1
    try:
        letters = _rows(output / "dead_letters" / table.name)
    except FileNotFoundError:
        letters = 0
    except (OSError, pa.ArrowInvalid):
        letters, bad = 0, bad + 1
    return ShardState(records=records, changed_at=changed_at, receipt=receipt, dead_letters=letters), bad


def _receipt(path: Path) -> Receipt | None:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        written_at = path.stat().st_mtime
    except FileNotFoundError:
        return None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no receipt: expected an object")
    counts = {name: float(value) for name, value in content.items() if _is_number(value)}
    return Receipt(written_at=written_at, counts=counts)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _rows(table: Path) -> int:
    found = table.stat()
    return _footer(table, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=_FOOTERS)
def _footer(table: Path, _mtime_ns: int, _size: int) -> int:
    # Prometheus asks every few seconds: a table that hasn't changed isn't opened again.
    return int(pq.read_metadata(table).num_rows)

"""Step `policy`: cut-offs between the tiers, from the scores of the whole data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tierflow import config_io, tables
from tierflow.policies.choose import failed_rows
from tierflow.policies.resolve import SCORE_COLUMNS, require_few_failed, resolve
from tierflow.scoring.build import make_policy
from tierflow.scoring.folder import scan_table, shard_names
from tierflow.steps._ports import In, Out, Param

if TYPE_CHECKING:
    from pathlib import Path


def run(*, summary: In, scores: Param, config: Param, policy: Out) -> None:
    """Resolve the policy, unless too many objects failed.

    Args:
        summary: `scan/summary.json`; the shards' scan tables lie in `shards/` beside it.
        scores: Folder of the score tables, one per shard.
        config: Configuration file.
        policy: JSON to write; see `tierflow.policies.choose`.

    Raises:
        InputMissingError: if a table isn't there.
        TableError: if one is damaged.
        ConfigError: if the policy or its parameters are wrong.
        TooManyFailedError: if more objects failed than `run.max_failed_share` allows.
    """
    settings = config_io.load(config)
    chosen = make_policy(settings)
    names = shard_names(summary)
    parts = [tables.read(scores / f"{name}.parquet", SCORE_COLUMNS) for name in names]
    score = pa.concat_tables(parts) if parts else tables.SCORE.empty_table()
    failed, limit = int(failed_rows(score).sum()), settings.run.max_failed_share
    if failed > limit * score.num_rows:
        failures = [row for name in names for row in _failures(scores / f"{name}.parquet", scan_table(summary, name))]
        require_few_failed(failures, objects=score.num_rows, limit=limit)
    resolve(chosen, score, settings).save(policy)


def _failures(score: Path, scan: Path) -> list[dict[str, str]]:
    """Return flag, reason and path of a shard's failed objects."""
    table = tables.read(score, ["object_id", "status", "reason", "interestingness", "flags"])
    bad = table.take(np.flatnonzero(failed_rows(table)))
    objects = tables.read(scan, ["object_id", "path"]).to_pydict()
    path = dict(zip(objects["object_id"], objects["path"], strict=True))
    return [
        {
            "flag": (row["flags"] or ["failed"])[0],
            "reason": row["reason"] or "no reason given",
            "path": path.get(row["object_id"], row["object_id"]),
        }
        for row in bad.to_pylist()
    ]

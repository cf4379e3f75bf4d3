"""Step `baseline`: what is usual in each plate and channel, and which pixels occur twice."""

from __future__ import annotations

from tierflow import config_io, tables
from tierflow.scoring import baseline as compute
from tierflow.scoring.folder import scan_table, shard_names
from tierflow.steps._ports import In, Out, Param


def run(*, summary: In, extracts: Param, config: Param, baseline: Out, duplicates: Out) -> None:
    """Sum up all planes that could be measured.

    Args:
        summary: `scan/summary.json`; the shards' scan tables lie in `shards/` beside it.
        extracts: Folder of the extract tables, one per shard.
        config: Configuration file.
        baseline: Table to write: n, median and 1.4826 x MAD of every feature in every group.
        duplicates: Table to write: pixels that occur in more than one object. Blank planes (one value throughout)
            aren't counted: all of them are equal.

    Raises:
        InputMissingError: if a table isn't there.
        TableError: if one is damaged.
    """
    settings = config_io.load(config)
    names = shard_names(summary)
    paths = [extracts / f"{name}.parquet" for name in names]
    planes = compute.read_planes(paths, [scan_table(summary, name) for name in names], by=settings.baseline.by)
    tables.write(baseline, compute.summarise(paths, planes))
    tables.write(duplicates, planes.duplicates)

"""Step `baseline`: what is usual in each plate and channel, which pixels occur twice, and what came before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierflow import config_io, tables
from tierflow.scoring import baseline as compute
from tierflow.scoring import history as looking_back
from tierflow.scoring.build import make_function
from tierflow.scoring.folder import scan_table, shard_names
from tierflow.steps._ports import In, Out, Param

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from tierflow.interestingness.base import InterestingnessFunction


def run(*, summary: In, extracts: Param, config: Param, baseline: Out, duplicates: Out, history: Out) -> None:
    """Sum up all planes that could be measured.

    Args:
        summary: `scan/summary.json`; the shards' scan tables lie in `shards/` beside it.
        extracts: Folder of the extract tables, one per shard.
        config: Configuration file.
        baseline: Table to write: n, median and 1.4826 x MAD of every feature in every group.
        duplicates: Table to write: pixels that occur in more than one object. Blank planes (one value throughout)
            aren't counted: all of them are equal.
        history: Table to write: what an interestingness function that looks back finds in the planes before each plane;
            without rows for all other functions.

    Raises:
        InputMissingError: if a table isn't there.
        TableError: if one is damaged.
        ConfigError: if the interestingness function or its parameters are wrong.
    """
    settings = config_io.load(config)
    names = shard_names(summary)
    paths = [extracts / f"{name}.parquet" for name in names]
    planes = compute.read_planes(paths, [scan_table(summary, name) for name in names], by=settings.baseline.by)
    tables.write(baseline, compute.summarise(paths, planes))
    tables.write(duplicates, planes.duplicates)
    function = make_function(settings)
    tables.write(history, looking_back.history_table(function, _parts(function, summary, paths)))


def _parts(
    function: InterestingnessFunction, summary: Path, extracts: list[Path]
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yield scan table and extract table of each shard, as far as the function wants to look back at them."""
    for extract in extracts:
        scan = tables.read(scan_table(summary, extract.stem), looking_back.SCAN_COLUMNS)
        yield scan, looking_back.read_planes(extract, function.needs())

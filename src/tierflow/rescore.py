"""Score a whole run again in this process: without a job per shard, a million objects take seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierflow.freshness import is_newer
from tierflow.render.snakemake import CONFIG_FILE, SETTINGS_FOLDER
from tierflow.scoring.folder import shard_names
from tierflow.steps.policy import run as policy
from tierflow.steps.score import run as score

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def is_measured(output: Path) -> bool:
    """Tell whether baseline and all extract tables are there and newer than all that they depend on."""
    summary = output / "scan" / "summary.json"
    if not summary.exists():
        return False
    shards = [output / "scan" / "shards" / f"{name}.parquet" for name in shard_names(summary)]
    extracts = [output / "extract" / shard.name for shard in shards]
    settings = {step: output / SETTINGS_FOLDER / step for step in ("scan", "extract", "baseline")}
    groups = [output / "baseline.parquet", output / "duplicates.parquet"]
    return (
        is_newer([summary], [settings["scan"]])
        and all(is_newer([e], [s, settings["extract"]]) for s, e in zip(shards, extracts, strict=True))
        and is_newer(groups, [*extracts, settings["baseline"]])
    )


def rescore(output: Path, *, on_shard: Callable[[], None]) -> None:
    """Run the steps `score` and `policy` over all shards of a run that is measured.

    Args:
        output: Output folder; its configuration and settings files are up to date.
        on_shard: Called after each shard.

    Raises:
        TierflowError: as the steps do.
    """
    config, summary = output / CONFIG_FILE, output / "scan" / "summary.json"
    groups = {"baseline": output / "baseline.parquet", "duplicates": output / "duplicates.parquet"}
    for name in shard_names(summary):
        shard, extract = output / "scan" / "shards" / f"{name}.parquet", output / "extract" / f"{name}.parquet"
        table = output / "score" / f"{name}.parquet"
        if not is_newer([table], [shard, extract, *groups.values(), output / SETTINGS_FOLDER / "score"]):
            score(shard=shard, extract=extract, **groups, config=config, table=table)
        on_shard()
    policy(summary=summary, scores=output / "score", config=config, policy=output / "policy.json")

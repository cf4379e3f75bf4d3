"""Whether the results of a step are up to date, by time of change, as make and Snakemake see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierflow.steps.places import results, sources

if TYPE_CHECKING:
    from pathlib import Path


def is_fresh(step: str, output: Path, *, shard: str | None = None) -> bool:
    """Tell whether all results of a step are there and none is older than what it needs.

    Args:
        step: Name of the step.
        output: Output folder of a run that was scanned, or the step is `scan`.
        shard: Name of the shard; None for a step that sees the whole data set.
    """
    made = results(step, output, shard=shard)
    needed = sources(step, output, shard=shard)
    try:
        return min(r.stat().st_mtime_ns for r in made) >= max(s.stat().st_mtime_ns for s in needed)
    except FileNotFoundError:
        return False

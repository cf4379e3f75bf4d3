"""Score a whole run again in this process: without a job per shard, a million objects take seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierflow.freshness import is_fresh
from tierflow.steps import STEPS
from tierflow.steps.places import arguments, shards_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def is_measured(output: Path) -> bool:
    """Tell whether baseline and all extract tables are there and newer than all that they depend on."""
    return (
        is_fresh("scan", output)
        and all(is_fresh("extract", output, shard=name) for name in shards_of(output))
        and is_fresh("baseline", output)
    )


def rescore(output: Path, *, on_shard: Callable[[], None]) -> None:
    """Run the steps `score` and `policy` over all shards of a run that is measured.

    Args:
        output: Output folder; its configuration and settings files are up to date.
        on_shard: Called after each shard.

    Raises:
        TierflowError: as the steps do.
    """
    for name in shards_of(output):
        if not is_fresh("score", output, shard=name):
            STEPS["score"].function(**arguments("score", output, shard=name))
        on_shard()
    STEPS["policy"].function(**arguments("policy", output, shard=None))

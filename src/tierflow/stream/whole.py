"""Leave the output of a stream such that every command that reads a run can read it: summary, policy, report."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from tierflow import tables
from tierflow.errors import TierflowError
from tierflow.policies.resolve import SCORE_COLUMNS, resolve
from tierflow.scoring.baseline import read_planes
from tierflow.scoring.build import make_policy
from tierflow.steps import STEPS
from tierflow.steps.places import arguments
from tierflow.stream.fold import mapped, table_paths
from tierflow.stream.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tierflow.config import Config
    from tierflow.policies.choose import Resolved
    from tierflow.stream.ledger import Ledger

_LOG = logging.getLogger(__name__)

REPORT_MOST = 200_000
"""Objects up to which a report is written when a stream ends; for more, `tierflow report` takes its time."""


class HasBaseline(Protocol):
    """What knows the running baseline; `tierflow.stream.window.Window`."""

    def baseline(self) -> pa.Table:
        """Return a table of the schema `tables.BASELINE`."""


def make_whole(ledger: Ledger, output: Path, config: Config, window: HasBaseline, *, report: bool = True) -> None:
    """Write what a run has besides its shards: summary, baseline, policy with counts, objects.csv and report.

    What the step `baseline` makes, policy and report are dated 1970: a later `tierflow run` or `score` sees all
    objects at once and makes them, and every score, anew, instead of taking what a stream saw for the whole. A report
    that can't be written is no reason to fail.

    Args:
        ledger: The ledger.
        output: Output folder.
        config: Configuration of the stream.
        window: Running baseline.
        report: Write report and objects.csv as well, which may take a while.

    Raises:
        TryAgainError: if the disk is full or away.
        TableError: if a table is damaged.
    """
    with mapped(output):
        _make_whole(ledger, output, config, window, report=report)


def _make_whole(ledger: Ledger, output: Path, config: Config, window: HasBaseline, *, report: bool) -> None:
    Summary(config, output).tidy(now=True)
    shards = [path.stem for path in sorted((output / "scan" / "shards").glob("[0-9]*.parquet"))]
    if not shards:
        return
    paths = arguments("report", output, shard=None) | arguments("baseline", output, shard=None)
    extracts, scans = ([table_paths(output, shard)[name] for shard in shards] for name in ("extract", "scan"))
    # An engine judges the age of a step's results only where all of them are there.
    made = {
        paths["baseline"]: window.baseline(),
        paths["duplicates"]: read_planes(extracts, scans, by=config.baseline.by).duplicates,
        paths["history"]: tables.history_schema(()).empty_table(),
    }
    for path, table in made.items():
        tables.write(path, table)
    _policy(ledger, output, config, shards).save(paths["policy"])
    _date_back(*made, paths["policy"])
    if report and sum(n for _, n in _tier_counts(ledger)) <= REPORT_MOST:
        try:
            STEPS["report"].function(**arguments("report", output, shard=None))
            _date_back(paths["html"], paths["objects"])
        except (TierflowError, OSError) as error:
            _LOG.warning("the report wasn't written: %s; `tierflow report %s` tries again", error, output)


def _date_back(*paths: Path) -> None:
    """Make files older than everything; a time of 0 would count as none."""
    for path in paths:
        os.utime(path, (1, 1))


def _policy(ledger: Ledger, output: Path, config: Config, shards: list[str]) -> Resolved:
    """Return the policy over all objects, with the numbers of those that lie in each tier."""
    parts = list(_scores(output, shards))
    score = pa.concat_tables(parts) if parts else tables.SCORE.empty_table().select(SCORE_COLUMNS)
    resolved = resolve(make_policy(config), score, config)
    lying = dict(_tier_counts(ledger))
    return resolved.with_counts({tier: lying.get(tier, 0) for tier in resolved.counts})


def _scores(output: Path, shards: list[str]) -> Iterator[pa.Table]:
    for shard in shards:
        yield tables.read(table_paths(output, shard)["score"], SCORE_COLUMNS)


def _tier_counts(ledger: Ledger) -> list[tuple[str, int]]:
    return [
        (str(tier), int(n))
        for tier, n in ledger.query(
            "SELECT tier, count(*) FROM objects WHERE tier IS NOT NULL AND handled_size IS NOT NULL GROUP BY tier"
        )
    ]

"""Step `place`: bring one shard's files to their tiers, journaled and verified."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from tierflow import tables
from tierflow.progress import PROGRESS_FOLDER, Heartbeat
from tierflow.steps._ports import In, Out, Param
from tierflow.tiers.carry import carry
from tierflow.tiers.journal import open_journal
from tierflow.tiers.names import shown
from tierflow.tiers.wants import read_wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    import pyarrow as pa

    from tierflow.tiers.acts import Outcome
    from tierflow.tiers.journal import Journal
    from tierflow.tiers.wants import Wanted


def run(*, shard: In, score: In, policy: In, config: Param, table: Out) -> None:
    """Place one shard. May be killed at any moment and run any number of times.

    Args:
        shard: The shard's objects, as `scan` wrote them.
        score: Its interestingness and flags, row for row.
        policy: The resolved policy.
        config: Configuration file.
        table: Table to write, a row per object in the order of the shard; `place/<shard>.parquet` of the output.

    Raises:
        InputMissingError: if a table isn't there.
        TableError: if one is damaged.
        ConfigError: if a driver isn't installed, a tier lies in the input folder, or a person chose an unknown tier.
        TryAgainError: if another process places this shard, or a tier's disk is full or away.
    """
    output = table.absolute().parent.parent
    wanted = read_wanted(shard=shard, score=score, policy=policy, config=config, output=output)
    ids = [want.object_id for want in wanted.wants]
    with (
        open_journal(output, shard.stem, cut=wanted.cut, ids=ids) as journal,
        closing(Heartbeat(output / PROGRESS_FOLDER, "place", shard.stem, len(ids))) as heartbeat,
    ):
        placed = place_objects(journal, wanted, on_batch=heartbeat.advance)
        if journal.locked:
            # Of a killed process; without a lock they may be a living twin's.
            for unfinished in table.parent.glob(f".{table.name}.*.part"):
                unfinished.unlink(missing_ok=True)
        tables.write(table, placed)


def place_objects(journal: Journal, wanted: Wanted, *, on_batch: Callable[[int], None] | None = None) -> pa.Table:
    """Bring objects to their tiers in the output folder of a journal, wherever the tables about them lie.

    Args:
        journal: Open journal of their shard.
        wanted: What is wanted for them.
        on_batch: Called with the number of objects just finished.

    Returns:
        A table of the schema `tables.PLACE`, a row per object in the order of `wanted`.

    Raises:
        ConfigError: if an object store refuses credentials, bucket or storage class.
        TryAgainError: if a tier's disk is full or away; what was done is kept.
    """
    outcomes = carry(journal, wanted.wants, wanted.drivers, durable=wanted.durable, on_batch=on_batch)
    return tables.from_rows(_rows(wanted, outcomes, journal.output), tables.PLACE)


def _rows(wanted: Wanted, outcomes: list[Outcome], output: Path) -> Iterator[dict[str, Any]]:
    rows = zip(wanted.wants, wanted.why, wanted.policy_tiers, wanted.decisions, outcomes, strict=True)
    for want, why, policy_tier, decision, outcome in rows:
        yield {
            "object_id": want.object_id,
            "tier": want.tier,
            "why": why,
            "policy_tier": policy_tier,
            "corrected_by": decision and decision.by,
            "corrected_at": decision and decision.at,
            "correction": decision and decision.reason,
            "driver": want.driver,
            "placement": outcome.placement,
            "destination": shown(outcome.destination, output) if outcome.destination else None,
            "problem": None
            if outcome.problem is None
            else outcome.problem.encode("utf-8", "backslashreplace").decode(),
        }

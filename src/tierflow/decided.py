"""What people decided about the units of a run, beside their scores and what the policy says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tierflow import corrections, tables
from tierflow.config import QUARANTINE
from tierflow.policies import choose
from tierflow.policies.choose import CHOICE_COLUMNS, failed_rows, forced_rule
from tierflow.scoring import columns
from tierflow.scoring.folder import shard_names

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from tierflow.policies.choose import Resolved


@dataclass(slots=True)
class Decided:
    """Units of a run that could be scored.

    Attributes:
        score: Interestingness of those that people decided about and that cut-offs decide otherwise.
        chosen: Position of the tier that people chose for each, 0 the best.
        by_policy: Position of the policy's own tier for each.
        undecided: Units that nobody decided about: whether people agree with the policy there isn't known.
        forced: Decided units that a flag sends to a tier, whatever the cut-offs.
        elsewhere: Decided units that people sent to quarantine.
    """

    score: list[float] = field(default_factory=list)
    chosen: list[int] = field(default_factory=list)
    by_policy: list[int] = field(default_factory=list)
    undecided: int = 0
    forced: int = 0
    elsewhere: int = 0


def read_decided(output: Path, *, tiers: Sequence[str]) -> Decided:
    """Compare what people decided with scores and policy of the last run.

    Args:
        output: Output folder of a run with scores and a policy.
        tiers: Names of the tiers, best first.

    Raises:
        InputMissingError: if a table isn't there.
        TableError: if one is damaged.
        ConfigError: if a decision names a tier that there isn't.
    """
    policy = choose.load(output / "policy.json")
    decisions = corrections.read(output)
    found = Decided()
    for name in shard_names(output / "scan" / "summary.json"):
        score = tables.read(output / "score" / f"{name}.parquet", ["object_id", *CHOICE_COLUMNS])
        _add(found, score, decisions, policy=policy, tiers=tiers)
    return found


def _add(
    found: Decided,
    score: pa.Table,
    decisions: Sequence[corrections.Decision],
    *,
    policy: Resolved,
    tiers: Sequence[str],
) -> None:
    holds = corrections.deciding(decisions, score)
    corrections.require_known(holds, [*tiers, QUARANTINE])
    given, _ = policy.choose_table(score)
    forced = forced_rule(score, flags=list(policy.flag_tiers), failed=failed_rows(score))
    values = columns.floats(score["interestingness"])
    for row in _first_rows(score):
        decision = holds[row]
        if decision is None:
            found.undecided += 1
        elif decision.tier == QUARANTINE:
            found.elsewhere += 1
        elif forced[row] >= 0:
            found.forced += 1
        else:
            found.score.append(float(values[row]))
            found.chosen.append(tiers.index(str(decision.tier)))
            found.by_policy.append(tiers.index(given[row]))


def _first_rows(score: pa.Table) -> list[int]:
    """Return a row of each unit that could be scored."""
    unit, _ = columns.codes(score["unit_id"])
    good: NDArray[np.int64] = np.flatnonzero(~failed_rows(score))
    _, first = np.unique(unit[good], return_index=True)
    rows: list[int] = good[first].tolist()
    return rows

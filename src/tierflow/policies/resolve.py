"""Resolve a policy over the scores of a whole data set."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tierflow.config import QUARANTINE
from tierflow.errors import TooManyFailedError
from tierflow.policies.base import Taken
from tierflow.policies.choose import Resolved, failed_rows, forced_rule
from tierflow.scoring import columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from tierflow.config import Config
    from tierflow.policies.base import Cut, Policy

SCORE_COLUMNS = ["unit_id", "status", "interestingness", "flags", "bytes"]
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Units:
    """The units of score tables, each of shape (unit,) where not said otherwise.

    Attributes:
        unit_id: Their names.
        value: Interestingness; NaN where none of a unit's objects could be scored.
        size: Bytes of their objects that could be scored.
        rule: Position of the flag that forces a unit in `policy.flag_tiers`, -1 where none does.
        member: Unit of each row of the tables, shape (object,).
    """

    unit_id: NDArray[np.object_]
    value: NDArray[np.float64]
    size: NDArray[np.int64]
    rule: NDArray[np.int64]
    member: NDArray[np.int64]

    @property
    def ranked(self) -> NDArray[np.int64]:
        """Return the units that a policy ranks: scored ones that no flag forces elsewhere."""
        return np.flatnonzero(~np.isnan(self.value) & (self.rule < 0))


def units_of(score: pa.Table, config: Config) -> Units:
    """Return the units of score tables, in the order of their first appearance.

    Args:
        score: Score tables with `SCORE_COLUMNS`; a unit must lie in them whole.
        config: Configuration.
    """
    failed = failed_rows(score)
    forced = forced_rule(score, flags=list(config.policy.flag_tiers), failed=failed)
    unit, names = columns.codes(score["unit_id"])
    good = np.flatnonzero(~failed)
    size = np.bincount(unit[good], weights=columns.integers(score["bytes"])[good], minlength=len(names))
    value = np.full(len(names), np.nan)
    value[unit[good]] = columns.floats(score["interestingness"])[good]
    rule = np.full(len(names), -1, dtype=np.int64)
    rule[unit] = forced
    return Units(names, value, size.astype(np.int64), rule, unit)


def resolve(policy: Policy, score: pa.Table, config: Config) -> Resolved:
    """Return the cut-offs of a policy for the units of a data set.

    Units that a flag forces into a tier aren't ranked; the policy is told how much of each tier they take.

    Args:
        policy: The policy.
        score: Score tables of all shards, one after the other, with `SCORE_COLUMNS`.
        config: Configuration.
    """
    units = units_of(score, config)
    ranked = units.ranked
    cuts = policy.resolve(
        unit_id=units.unit_id[ranked],
        interestingness=units.value[ranked],
        size=units.size[ranked],
        taken=_taken(units.rule, units.size, list(config.policy.flag_tiers.values())),
    )
    return with_cuts(cuts, score, config)


def with_cuts(cuts: Sequence[Cut], score: pa.Table, config: Config) -> Resolved:
    """Return a resolved policy from its cuts, with the counts of score tables."""
    resolved = Resolved(
        kind=config.policy.kind,
        parameters=config.policy.parameters,
        cuts=tuple(cuts),
        flag_tiers=config.policy.flag_tiers,
        counts={},
        failed=int(failed_rows(score).sum()),
    )
    counted = resolved.count_table(score)
    return resolved.with_counts({tier: counted[tier] for tier in (*config.tiers, QUARANTINE)})


def require_few_failed(failures: Sequence[Mapping[str, str]], *, objects: int, limit: float) -> None:
    """Stop when more objects failed than the configuration allows.

    Args:
        failures: `flag`, `reason` and `path` of every failed object.
        objects: Number of all objects.
        limit: `run.max_failed_share`.

    Raises:
        TooManyFailedError: with the share, the limit, the commonest kinds of failure with an example each, and what to
            do.
    """
    if len(failures) <= limit * objects:
        return
    kinds = Counter(failure["flag"] for failure in failures)
    lines = [
        f"{len(failures)} of {objects} objects failed ({len(failures) / objects:.1%}), more than the {limit:.1%} that "
        "run.max_failed_share allows; nothing was placed. Commonest reasons:"
    ]
    for flag, number in kinds.most_common(_SHOWN):
        example = next(failure for failure in failures if failure["flag"] == flag)
        lines.append(f"  {number} x {flag}, such as {example['path']}: {example['reason']}")
    lines.append(
        "Check that the input's disk or network share is mounted and its files are whole; where so many failures are "
        "to be expected, raise run.max_failed_share."
    )
    raise TooManyFailedError("\n".join(lines))


def _taken(rule: NDArray[np.int64], size: NDArray[np.int64], tiers: Sequence[str]) -> dict[str, Taken]:
    taken: dict[str, Taken] = {}
    for position, tier in enumerate(tiers):
        units = rule == position
        before = taken.get(tier, Taken(0, 0))
        taken[tier] = Taken(before.units + int(units.sum()), before.size + int(size[units].sum()))
    return taken

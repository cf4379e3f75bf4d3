"""Cut-offs of an interval policy that agree best with what people decided: pure, scores and tiers in, cut-offs out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Tiers = NDArray[np.int64]
    Values = NDArray[np.float64]

DECISIONS_PER_CUT = 5
LEAST_DECISIONS = 10


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the tiers that people chose compare with those of a policy.

    Attributes:
        table: Units by tier that people chose (row) and tier of the policy (column), best first.
        agreeing: Units for which both are the same.
        units: All of them.
    """

    table: NDArray[np.int64]
    agreeing: int
    units: int


def best_minima(score: Values, chosen: Tiers, *, tiers: int) -> list[float]:
    """Find the cut-offs under which most units get the tier that people chose.

    Exact, by dynamic programming over the sorted distinct scores, in time O(scores x tiers). Of cut-offs that agree
    equally often, those with the smaller sum of steps between tiers win, then those that give better tiers less. A cut
    lies in the middle between the neighbouring scores that it parts; several cuts in one gap share it evenly.

    Args:
        score: Interestingness in [0, 1], shape (unit,).
        chosen: Position of the tier that people chose, 0 the best, likewise.
        tiers: Number of tiers.

    Returns:
        Smallest interestingness of every tier but the last, best first, falling. A tier that no value is left for has a
        minimum above 1, or equal to that of the tier before.
    """
    values, group = np.unique(score, return_inverse=True)
    cost = _costs(group.reshape(-1), chosen, groups=len(values), tiers=tiers)
    first = _first_groups(cost)
    return _between(values, first)


def _costs(group: Tiers, chosen: Tiers, *, groups: int, tiers: int) -> Tiers:
    """Return the cost of giving a tier to a group of equal scores, shape (group, tier), the worst tier first.

    One disagreement weighs more than all steps between tiers together, so the sum orders by both.
    """
    step = np.abs(np.arange(tiers)[:, None] - np.arange(tiers)[None, :])
    weight = tiers * len(chosen) + 1
    price = step + weight * (step > 0)
    counts = np.zeros((groups, tiers), dtype=np.int64)
    np.add.at(counts, (group, tiers - 1 - chosen), 1)
    return np.asarray(counts @ price, dtype=np.int64)


def _first_groups(cost: Tiers) -> list[int]:
    """Return the first group of every tier but the worst, from the second worst to the best; groups rise in score."""
    groups, tiers = cost.shape
    total = cost[0]
    came_from = np.zeros((groups, tiers), dtype=np.int64)
    for g in range(1, groups):
        least = np.minimum.accumulate(total)
        # The tier of the group before: the best one (highest) among equals, so that tiers rise as late as they can.
        came_from[g] = np.maximum.accumulate(np.where(total == least, np.arange(tiers), 0))
        total = least + cost[g]
    tier = int(np.argmin(total))
    assigned = np.empty(groups, dtype=np.int64)
    for g in range(groups - 1, -1, -1):
        assigned[g] = tier
        tier = int(came_from[g, tier])
    return [int(np.searchsorted(assigned, t)) for t in range(1, tiers)]


def _between(values: Values, first: Sequence[int]) -> list[float]:
    """Turn first groups into cut-offs, best tier first."""
    minima: list[float] = []
    for place in sorted(set(first)):
        low = float(values[place - 1]) if place else 0.0
        high = float(values[place]) if place < len(values) else 1.0
        cuts = first.count(place)
        if place == len(values) and low >= 1:
            minima += [float("inf")] * cuts
            continue
        # Rounding must not move a cut onto the score below it.
        steps = (low + (high - low) * (k + 1) / (cuts + 1) for k in range(cuts))
        minima += [cut if low < cut <= high or high == 0 else high for cut in steps]
    return minima[::-1]


def compare(chosen: Tiers, given: Tiers, *, tiers: int) -> Agreement:
    """Count units by the tier that people chose and the one that a policy gives; both by position, 0 the best."""
    table = np.zeros((tiers, tiers), dtype=np.int64)
    np.add.at(table, (chosen, given), 1)
    return Agreement(table, int(np.trace(table)), len(chosen))


def tiers_under(score: Values, minima: Sequence[float]) -> Tiers:
    """Return the position of the tier that cut-offs give each score, 0 the best, shape (unit,)."""
    passed = np.asarray(score)[:, None] >= np.asarray(minima, dtype=np.float64)[None, :]
    return np.where(passed.any(axis=1), passed.argmax(axis=1), len(minima)).astype(np.int64)


def intervals(tiers: Sequence[str], minima: Sequence[float]) -> list[dict[str, Any]]:
    """Return the parameters of the policy `interval`, best tier first; a tier that no value is left for is left out.

    >>> intervals(["A", "B"], [0.7])
    [{'tier': 'A', 'min': 0.7, 'max': 1.0}, {'tier': 'B', 'min': 0.0, 'max': 0.7}]
    """
    top, found = 1.0, []
    for tier, low in zip(tiers, [*minima, 0.0], strict=True):
        # A range that ends at 1 holds 1 itself, so one from 1 to 1 would be empty only in name.
        if low < top:
            found.append({"tier": tier, "min": low, "max": top})
            top = low
    return found


def require_enough(chosen: Tiers, *, tiers: int) -> None:
    """See that people decided often enough.

    Raises:
        ConfigError: saying how many decisions there are and how many are needed.
    """
    needed = max(LEAST_DECISIONS, DECISIONS_PER_CUT * (tiers - 1))
    if len(chosen) < needed:
        raise ConfigError(
            f"people decided about {len(chosen)} units that count, {needed} are needed for {tiers} tiers: decide about "
            f"{needed - len(chosen)} more by `tierflow relabel`, best about units near the cut-offs"
        )
    if len(set(chosen.tolist())) < 2:
        raise ConfigError(
            f"people chose one tier for all {len(chosen)} units, at least 2 are needed: decide by `tierflow relabel` "
            "about units that belong to other tiers, or confirm the tier of some that are right"
        )

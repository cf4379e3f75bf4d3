"""Ranks of units, and the cuts that share a ranked list out over tiers."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tierflow.errors import ConfigError
from tierflow.policies.base import Cut
from tierflow.scoring.columns import compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray


def require_tiers(names: Iterable[str], tiers: Sequence[str], *, key: str) -> None:
    """Check that every name is a tier.

    Raises:
        ConfigError: naming the first unknown one, the tiers that exist and the nearest of them.
    """
    for name in names:
        if name not in tiers:
            near = get_close_matches(name, tiers, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{key}: no tier {name!r}; `tiers` has {', '.join(tiers)}{hint}")


def best_first(unit_id: NDArray[np.object_], interestingness: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the order of units from the most to the least interesting, equal ones by ascending unit_id.

    Args:
        unit_id: Units, shape (unit,).
        interestingness: Their values, likewise.

    Returns:
        Indices, shape (unit,).
    """
    order = np.argsort(-interestingness, kind="stable")
    ranked = interestingness[order]
    same = ranked[1:] == ranked[:-1]
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    if not len(tied):
        return order
    # Comparing text is slow, so only units with equal values are put in order of their unit_id.
    runs = pa.table({"value": ranked[tied], "unit_id": pa.array(unit_id[order[tied]], pa.string())})
    by_unit = pc.sort_indices(runs, sort_keys=[("value", "descending"), ("unit_id", "ascending")])
    order[tied] = order[tied][by_unit.to_numpy()]
    return order


def cuts_at(
    ends: Sequence[int],
    *,
    tiers: Sequence[str],
    order: NDArray[np.int64],
    unit_id: NDArray[np.object_],
    interestingness: NDArray[np.float64],
) -> list[Cut]:
    """Share a ranked list out over tiers by position.

    Args:
        ends: For every tier but the last, how many units of the list it and the better ones hold together; ascending.
        tiers: Tier names, best first; the last one takes what is left.
        order: Ranks from `best_first`.
        unit_id: Units, shape (unit,).
        interestingness: Their values, likewise.

    Returns:
        One cut per tier, best first. A tier that gets nothing has a cut that no unit can pass.
    """
    cuts = []
    for tier, end in zip(tiers[:-1], ends, strict=True):
        if end <= 0:
            cuts.append(Cut(tier, 1.0, ""))
            continue
        if not len(order):
            cuts.append(Cut(tier, 0.0))
            continue
        last = order[min(end, len(order)) - 1]
        minimum = float(interestingness[last])
        shared = end < len(order) and interestingness[order[end]] == minimum
        cuts.append(Cut(tier, minimum, str(unit_id[last]) if shared else None))
    return [*cuts, Cut(tiers[-1], 0.0)]


def assign(
    cuts: Sequence[Cut], *, unit_id: NDArray[np.object_], interestingness: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Find the cut that each unit belongs to.

    Args:
        cuts: From `Policy.resolve`, best range first, the last one from 0.
        unit_id: Units, shape (unit,).
        interestingness: Their values in [0, 1], likewise.

    Returns:
        Position in `cuts` for every unit, shape (unit,).
    """
    found = np.full(len(interestingness), len(cuts) - 1, dtype=np.int64)
    # From the worst to the best, so that the best cut that a unit passes is the one that stays.
    for position, cut in reversed(list(enumerate(cuts))):
        found[interestingness > cut.minimum] = position
        tied = np.flatnonzero(interestingness == cut.minimum)
        if cut.last_unit is not None:
            tied = tied[[unit_id[index] <= cut.last_unit for index in tied]]
        found[tied] = position
    return found

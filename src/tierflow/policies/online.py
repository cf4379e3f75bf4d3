"""The policy `top_k` as units come, and what it costs: how often the best tier is written, and when to change tiers.

A unit enters the best tier if it is among the K best so far; the one it displaces goes to the next tier, and so on. At
the end each tier holds what `top_k` over all units gives it, ties included.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tierflow.policies.base import Cut, Taken
from tierflow.policies.ranking import assign, best_first
from tierflow.policies.top_k import TopK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tierflow.policies.top_k import TopKParameters

# Above so many units the logarithm differs from the sum by less than rounding.
_MOST_SUMMED = 10_000_000


def expected_writes(n: int, k: int) -> float:
    """Return K (1 + ln(N/K)), the approximate number of writes to the best tier when N units come in random order.

    Exact values differ by less than one half, see `exact_writes`; N where N <= K.

    Args:
        n: Units in all.
        k: Units that the tier holds.
    """
    if n <= k or k <= 0:
        return float(max(min(n, k), 0))
    return k * (1 + math.log(n / k))


def exact_writes(n: int, k: int) -> float:
    """Return the expected number of writes, K (1 + 1/(K+1) + ... + 1/N): the i-th unit is among the K best with K/i.

    Args:
        n: Units in all, at most ten million.
        k: Units that the tier holds.

    Raises:
        ValueError: if n is greater.
    """
    if n > _MOST_SUMMED:
        raise ValueError(f"n is {n}, expected at most {_MOST_SUMMED}: use expected_writes, which is as good then")
    if n <= k or k <= 0:
        return float(max(min(n, k), 0))
    return k * (1 + float((1 / np.arange(k + 1, n + 1)).sum()))


class Changeover(NamedTuple):
    """When to change from a tier A that is cheap to write to a tier B that is cheap to hold.

    Attributes:
        unit: The last unit, counted from 1, whose kind is written to A; 0: all go to B; N: all go to A.
        cost: Expected cost of writing and holding.
    """

    unit: int
    cost: float


def changeover(n: int, k: int, *, write_a: float, write_b: float, hold_a: float, hold_b: float) -> Changeover:
    """Return the unit r after which writes should go to tier B, so that the expected cost is least.

    The i-th unit is written with probability min(1, K/i), and of the K units at the end each is equally likely any of
    the N; so the cost changes from r - 1 to r by K (wA - wB) / r + K (rA - rB) / N, which is 0 at

        r* / N = (wB - wA) / (rA - rB)

    With wB > wA that is a minimum if K/N < r*/N < 1. Otherwise the better of the two extremes is best.

    Args:
        n: Units in all.
        k: Units that are kept.
        write_a: Cost of writing a unit to A.
        write_b: Cost of writing a unit to B.
        hold_a: Cost of holding and reading a unit in A at the end.
        hold_b: Cost of holding and reading a unit in B at the end.

    Raises:
        ValueError: if n or k is less than 1.
    """
    if n < 1 or k < 1:
        raise ValueError(f"n is {n} and k is {k}, expected both to be 1 or more")

    def cost(r: int) -> float:
        early, kept = _writes(r, k), min(n, k)
        return early * write_a + (_writes(n, k) - early) * write_b + kept * (r * hold_a + (n - r) * hold_b) / n

    candidates = [n, 0]
    if hold_a != hold_b:
        best = n * (write_b - write_a) / (hold_a - hold_b)
        if k < best < n:
            candidates.insert(0, math.floor(best))
    unit = min(candidates, key=cost)
    return Changeover(unit, cost(unit))


def _writes(n: int, k: int) -> float:
    return exact_writes(n, k) if n <= _MOST_SUMMED else expected_writes(n, k)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Units that come together, each of shape (unit,) or a list of that length.

    Attributes:
        unit_id: Their names, each once.
        value: Interestingness; NaN where none of a unit's objects could be scored.
        forced: Position of the tier that a flag forces, -1 where the policy ranks the unit.
        objects: The object_ids of each unit.
        tier: Position of the tier where a unit lies already; None: they are new.
    """

    unit_id: NDArray[np.object_]
    value: NDArray[np.float64]
    forced: NDArray[np.int64]
    objects: Sequence[tuple[str, ...]]
    tier: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Displaced:
    """A unit that belongs in another tier now.

    Attributes:
        unit_id: Its name.
        objects: Its objects.
        source: Position of the tier where it lies.
        target: Position of the tier where it belongs.
    """

    unit_id: str
    objects: tuple[str, ...]
    source: int
    target: int


class OnlineTopK:
    """The best units so far. It remembers only these, those that flags put among them, and one more: O(K).

    A unit that comes again (a file was written anew) takes the place of its former self. Should the best units become
    fewer so, those of the next tiers move up as far as they are remembered. A unit that fell to the last tier isn't: it
    moves up when the state is built anew from all units, or in a run over the whole data set.

    Args:
        parameters: Parameters of the policy `top_k`.
        tiers: Names of the tiers, best first.

    Attributes:
        units: Units that came, rewritten ones counted again.

    Raises:
        ConfigError: if the parameters don't fit the tiers.
    """

    def __init__(self, parameters: TopKParameters, tiers: Sequence[str]) -> None:
        self._policy = TopK(parameters, tiers)
        self._tiers = list(tiers)
        self._limits = [parameters.k[tier] for tier in tiers[:-1]]
        self._last_to_first = _last_to_first(parameters, tiers)
        self.units = 0
        self._unit_id = np.empty(0, dtype=object)
        self._value = np.empty(0)
        self._lies: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._belongs: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._objects: dict[str, tuple[str, ...]] = {}
        self._forced: dict[str, int] = {}
        self._fallen: dict[str, Displaced] = {}

    def add(self, arrivals: Arrivals) -> list[Cut]:
        """Take units in.

        Returns:
            Cuts that say where these units belong; later arrivals may displace them.
        """
        changed = self._last_to_first is not None and self.units >= self._last_to_first
        self.units += len(arrivals.unit_id)
        arrivals, still = self._completed(arrivals)
        self._replace(arrivals)
        ranked = np.flatnonzero(~np.isnan(arrivals.value) & (arrivals.forced < 0))
        unit_id = np.concatenate([self._unit_id, arrivals.unit_id[ranked]])
        value = np.concatenate([self._value, arrivals.value[ranked]])
        size = np.zeros(len(value), dtype=np.int64)
        cuts = self._policy.resolve(unit_id=unit_id, interestingness=value, size=size, taken=self._taken())
        belongs = assign(cuts, unit_id=unit_id, interestingness=value)
        new = belongs[len(self._value) :]
        if changed:
            cuts = [Cut(self._tiers[0], 1.0, ""), Cut(self._tiers[1], cuts[0].minimum, cuts[0].last_unit), *cuts[2:]]
            new = np.where(new == 0, 1, new)
        if arrivals.tier is not None:
            new = arrivals.tier[ranked]
        lies = np.concatenate([self._lies, np.where(still[ranked] >= 0, still[ranked], new)])
        if self._last_to_first is not None:
            # The first two tiers share the best units: none moves from one to the other.
            belongs = np.where((belongs == 0) & (lies <= 1), lies, belongs)
        self._objects |= {str(arrivals.unit_id[at]): arrivals.objects[at] for at in ranked.tolist()}
        order = best_first(unit_id, value)
        capacity = sum(self._limits) + 1
        self._drop(unit_id, lies, order[capacity:])
        kept = order[:capacity]
        self._unit_id, self._value, self._lies, self._belongs = unit_id[kept], value[kept], lies[kept], belongs[kept]
        return cuts

    def displaced(self) -> list[Displaced]:
        """Return the units that lie in another tier than they should, until `settle` is told of them."""
        found = list(self._fallen.values())
        for at in np.flatnonzero(self._lies != self._belongs).tolist():
            name = str(self._unit_id[at])
            found.append(Displaced(name, self._objects[name], int(self._lies[at]), int(self._belongs[at])))
        return found

    def settle(self, displaced: Displaced) -> None:
        """Say that a displaced unit lies where it belongs now."""
        if self._fallen.get(displaced.unit_id) == displaced:
            del self._fallen[displaced.unit_id]
        self._lies[self._unit_id == displaced.unit_id] = displaced.target

    def _completed(self, arrivals: Arrivals) -> tuple[Arrivals, NDArray[np.int64]]:
        """Put late members of units together with those that came before: the unit has the greater value.

        Returns:
            The arrivals, and the tier where the former members of each unit lie, -1 where it has none.
        """
        still = np.full(len(arrivals.unit_id), -1, dtype=np.int64)
        value, objects = arrivals.value.copy(), list(arrivals.objects)
        for at, name in enumerate(arrivals.unit_id.tolist()):
            former = [one for one in self._objects.get(name, ()) if one not in objects[at]]
            if former:
                row = int(np.flatnonzero(self._unit_id == name)[0])
                value[at] = np.fmax(value[at], self._value[row])
                objects[at], still[at] = (*former, *objects[at]), self._lies[row]
        return replace(arrivals, value=value, objects=objects), still

    def _replace(self, arrivals: Arrivals) -> None:
        """Forget the former selves of units, and note who takes room in a tier by a flag."""
        names = set(arrivals.unit_id.tolist())
        if not names.isdisjoint(self._objects):
            kept = [at for at, name in enumerate(self._unit_id.tolist()) if name not in names]
            self._unit_id, self._value = self._unit_id[kept], self._value[kept]
            self._lies, self._belongs = self._lies[kept], self._belongs[kept]
        for name in names:
            self._objects.pop(name, None)
            self._forced.pop(name, None)
            self._fallen.pop(name, None)
        full = [sum(tier == each for each in self._forced.values()) for tier in range(len(self._limits))]
        for name, tier in zip(arrivals.unit_id.tolist(), arrivals.forced.tolist(), strict=True):
            # Beyond a tier's limit more of them change nothing.
            if 0 <= tier < len(self._limits) and full[tier] < self._limits[tier]:
                self._forced[name] = tier
                full[tier] += 1

    def _taken(self) -> dict[str, Taken]:
        taken = dict.fromkeys(self._tiers, 0)
        for tier in self._forced.values():
            taken[self._tiers[tier]] += 1
        return {tier: Taken(units, 0) for tier, units in taken.items()}

    def _drop(self, unit_id: NDArray[np.object_], lies: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        last = len(self._limits)
        for at in rows.tolist():
            name = str(unit_id[at])
            objects = self._objects.pop(name)
            if lies[at] != last:
                self._fallen[name] = Displaced(name, objects, int(lies[at]), last)


def _last_to_first(parameters: TopKParameters, tiers: Sequence[str]) -> int | None:
    """Return the unit after which the second tier is written; None without changeover."""
    costs = parameters.changeover
    if costs is None:
        return None
    found = changeover(
        costs.units,
        max(1, parameters.k[tiers[0]]),
        write_a=costs.write_first,
        write_b=costs.write_second,
        hold_a=costs.hold_first,
        hold_b=costs.hold_second,
    )
    return sys.maxsize if found.unit == costs.units else found.unit

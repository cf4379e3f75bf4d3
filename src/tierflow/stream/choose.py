"""Which tier objects of a stream get as they come, by the policy of the configuration.

`interval` is the same as in a run. `top_k` is resolved online: see `tierflow.policies.online`. `quantile` is resolved
over the last `stream.window_planes` units. Policies that must see the whole data set first are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from tierflow import tables
from tierflow.errors import ConfigError
from tierflow.policies.online import Arrivals, OnlineTopK
from tierflow.policies.resolve import SCORE_COLUMNS, resolve, units_of, with_cuts
from tierflow.scoring import columns
from tierflow.scoring.build import make_policy, make_policy_parameters

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from tierflow.config import Config
    from tierflow.policies.choose import Resolved
    from tierflow.policies.online import Displaced
    from tierflow.policies.resolve import Units
    from tierflow.policies.top_k import TopKParameters
    from tierflow.stream.ledger import Ledger

_COLUMNS = [*SCORE_COLUMNS, "object_id", "policy_tier"]


class Demotion(NamedTuple):
    """An object that belongs in another tier since better ones came.

    Attributes:
        object_id: The object.
        unit: Its unit.
        from_tier: Where it lies.
        to_tier: Where it belongs: mostly the next tier. A better one only where a unit of that one was written anew and
            became less interesting.
        why: Why, in words.
    """

    object_id: str
    unit: str
    from_tier: str
    to_tier: str
    why: str


class Choice:
    """Chooses tiers for micro-batches.

    What it must know of former units it reads from the catalogue of the output, when it is asked for the first time; so
    nothing is lost when the process ends, and what other runs changed in between counts.

    Args:
        config: Configuration of the stream.
        ledger: Its ledger.

    Raises:
        ConfigError: if the policy can't be resolved as units come, or its parameters are wrong.
    """

    def __init__(self, config: Config, ledger: Ledger) -> None:
        self._config, self._ledger = config, ledger
        self._policy = make_policy(config)
        kind = config.policy.kind
        if kind not in ("interval", "top_k", "quantile"):
            raise ConfigError(
                f"policy.kind is {kind}: a stream can't follow it, because it must see all units before it decides "
                "about any; set interval, top_k or quantile, or run `tierflow run` over the folder when all is there"
            )
        self._top_k = self._new_top_k() if kind == "top_k" else None
        self._recent: dict[str, float] = {}
        self._is_loaded = kind == "interval"

    def policy_for(self, score: pa.Table) -> Resolved:
        """Return the policy that decides a micro-batch, whose units count from now on.

        Args:
            score: Score table of the batch; units lie in it whole.
        """
        self._load()
        if self._config.policy.kind == "interval":
            return resolve(self._policy, score, self._config)
        units = units_of(score, self._config)
        if self._top_k is not None:
            # What was moved since must be known before the same units are displaced again.
            self.demoted()
            return with_cuts(self._top_k.add(self._arrivals(score, units)), score, self._config)
        self._remember(units)
        cuts = self._policy.resolve(
            unit_id=np.array(list(self._recent), dtype=object),
            interestingness=np.array(list(self._recent.values()), dtype=np.float64),
            size=np.zeros(len(self._recent), dtype=np.int64),
            taken={},
        )
        return with_cuts(cuts, score, self._config)

    def demoted(self) -> list[Demotion]:
        """Return the objects that `top_k` wants in another tier than the one where they lie.

        They are returned again until the ledger says that they lie there, so that a move that failed isn't forgotten.
        An object that lies elsewhere than the policy put it, because a person decided so, is left alone.
        """
        if self._top_k is None:
            return []
        self._load()
        found: list[Demotion] = []
        for unit in self._top_k.displaced():
            lying = self._demotions_of(unit)
            if not lying:
                self._top_k.settle(unit)
            found += lying
        return found

    def _demotions_of(self, unit: Displaced) -> list[Demotion]:
        tiers = list(self._config.tiers)
        source, target = tiers[unit.source], tiers[unit.target]
        lying = [name for name in unit.objects if self._tier_of(name) == source]
        why = (
            f"top_k: more interesting units have come since, and {source} is full"
            if unit.target > unit.source
            else f"top_k: a unit of {target} became less interesting when it was written anew"
        )
        return [Demotion(name, unit.unit_id, source, target, why) for name in lying]

    def _tier_of(self, object_id: str) -> str | None:
        found = self._ledger.query("SELECT tier FROM objects WHERE object_id = ?", (object_id,))
        return found[0][0] if found else None

    def _new_top_k(self) -> OnlineTopK:
        parameters = cast("TopKParameters", make_policy_parameters(self._config))
        return OnlineTopK(parameters, list(self._config.tiers))

    def _load(self) -> None:
        if self._is_loaded:
            return
        for table in self._former():
            units = units_of(table, self._config)
            if self._top_k is not None:
                self._top_k.add(self._arrivals(table, units, lie=columns.texts(table["policy_tier"])))
            else:
                self._remember(units)
        self._is_loaded = True

    def _former(self) -> Iterator[pa.Table]:
        """Yield what the catalogue says of former units, shard by shard in the order of their numbers."""
        folder = self._ledger.output / "catalogue"
        for path in sorted(folder.glob("[0-9]*.parquet"), key=lambda path: int(path.stem)):
            yield tables.read(path, _COLUMNS)

    def _arrivals(self, score: pa.Table, units: Units, lie: NDArray[np.object_] | None = None) -> Arrivals:
        position = {tier: number for number, tier in enumerate(self._config.tiers)}
        last = len(position) - 1
        forcing = [position.get(tier, last) for tier in self._config.policy.flag_tiers.values()]
        forced = np.array([*forcing, -1], dtype=np.int64)[units.rule]
        objects: list[list[str]] = [[] for _ in units.unit_id]
        tier = np.full(len(units.unit_id), last, dtype=np.int64)
        for row, name in enumerate(columns.texts(score["object_id"]).tolist()):
            unit = int(units.member[row])
            objects[unit].append(name)
            if lie is not None and lie[row] in position:
                tier[unit] = position[lie[row]]
        return Arrivals(
            unit_id=units.unit_id,
            value=units.value,
            forced=forced,
            objects=[tuple(names) for names in objects],
            tier=None if lie is None else tier,
        )

    def _remember(self, units: Units) -> None:
        """Keep the values of the latest units that a policy ranks."""
        for name in units.unit_id.tolist():
            self._recent.pop(name, None)
        ranked = units.ranked
        self._recent |= dict(zip(units.unit_id[ranked].tolist(), units.value[ranked].tolist(), strict=True))
        for name in list(self._recent)[: -self._config.stream.window_planes]:
            del self._recent[name]

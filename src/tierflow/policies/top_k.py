"""Policy `top_k`: a fixed number of units."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import BaseModel, Field

from tierflow.config_section import Section
from tierflow.errors import ConfigError
from tierflow.policies.base import Taken
from tierflow.policies.ranking import best_first, cuts_at, require_tiers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tierflow.policies.base import Cut

_KEY = "policy.parameters.k"
_SHARING = 2


Cost = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ChangeoverParameters(Section):
    """Costs per unit, in one currency, of two tiers that share the K best units of a stream."""

    units: int = Field(ge=1, description="Units that are expected in all.")
    write_first: Cost = Field(description="Cost of writing a unit to the first tier.")
    write_second: Cost = Field(description="Cost of writing a unit to the second tier.")
    hold_first: Cost = Field(description="Cost of holding and reading a unit in the first tier at the end.")
    hold_second: Cost = Field(description="Cost of holding and reading a unit in the second tier at the end.")


class TopKParameters(Section):
    """Numbers of units that the tiers hold."""

    k: dict[str, Annotated[int, Field(ge=0)]] = Field(
        description="Most units by tier, for every tier but the last, which takes what is left."
    )
    changeover: ChangeoverParameters | None = Field(
        None,
        description=(
            "For streams: the first tier shares its K with the second one. Units go to the first tier, cheap to write, "
            "as long as that pays, then to the second, cheap to hold; needs three tiers and k: 0 for the second. "
            "A run over a whole data set, which writes each unit once, uses the first tier alone."
        ),
    )


class TopK:
    """Puts the K most interesting units into the best tier, the next ones into the next.

    Units that a flag forces into a tier count towards its K.
    """

    name: ClassVar[str] = "top_k"
    Parameters: ClassVar[type[BaseModel]] = TopKParameters

    def __init__(self, parameters: TopKParameters, tiers: Sequence[str]) -> None:
        """Check the numbers.

        Raises:
            ConfigError: for an unknown tier, a number for the last tier, or a tier without a number.
        """
        require_limits(parameters.k, tiers, key=_KEY, noun="number of units")
        if parameters.changeover is not None:
            _require_room(parameters.k, tiers)
        self._tiers = list(tiers)
        self._k = [parameters.k[tier] for tier in tiers[:-1]]

    def resolve(
        self,
        *,
        unit_id: NDArray[np.object_],
        interestingness: NDArray[np.float64],
        size: NDArray[np.int64],  # noqa: ARG002 - units are counted, not bytes
        taken: Mapping[str, Taken],
    ) -> list[Cut]:
        """Return cuts so that each tier holds at most its number of units."""
        free = [
            max(0, k - taken.get(tier, Taken(0, 0)).units) for tier, k in zip(self._tiers[:-1], self._k, strict=True)
        ]
        return cuts_at(
            list(accumulate(free)),
            tiers=self._tiers,
            order=best_first(unit_id, interestingness),
            unit_id=unit_id,
            interestingness=interestingness,
        )


def _require_room(k: Mapping[str, int], tiers: Sequence[str]) -> None:
    if len(tiers) <= _SHARING:
        raise ConfigError(
            f"policy.parameters.changeover: the tiers are {', '.join(tiers)}, expected three or more: two that share "
            "the best units, and one for the others; add a tier"
        )
    if k[tiers[1]]:
        raise ConfigError(
            f"{_KEY}.{tiers[1]} is {k[tiers[1]]}, expected 0 with changeover: {tiers[1]} shares the K of {tiers[0]} "
            f"({k[tiers[0]]}); set it to 0"
        )


def require_limits(limits: Mapping[str, float], tiers: Sequence[str], *, key: str, noun: str) -> None:
    """Check that every tier but the last has a limit, and the last none, so that every unit has a place.

    Raises:
        ConfigError: naming the tier and the remedy.
    """
    require_tiers(limits, tiers, key=key)
    last = tiers[-1]
    if last in limits:
        raise ConfigError(
            f"{key}: {last!r} is the last tier and takes everything that is left, so it can't have a {noun} "
            f"({limits[last]:g}); remove it, or add a tier after it"
        )
    missing = [tier for tier in tiers[:-1] if tier not in limits]
    if missing:
        raise ConfigError(
            f"{key}: no {noun} for {', '.join(missing)}: give one for every tier but the last ({last}); "
            "0 leaves a tier empty"
        )

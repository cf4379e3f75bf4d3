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


class TopKParameters(Section):
    """Numbers of units that the tiers hold."""

    k: dict[str, Annotated[int, Field(ge=0)]] = Field(
        description="Most units by tier, for every tier but the last, which takes what is left."
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

"""Policy `budget`: as many units as fit into the space of each tier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import BaseModel, Field

from tierflow.config_section import Section
from tierflow.policies.base import Taken
from tierflow.policies.ranking import best_first, cuts_at
from tierflow.policies.top_k import require_limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tierflow.policies.base import Cut

_BYTES_PER_GB = 1_000_000_000


class BudgetParameters(Section):
    """Space of the tiers."""

    limit_gb: dict[str, Annotated[float, Field(ge=0)]] = Field(
        description="Most gigabytes (10^9 bytes) by tier, for every tier but the last, which takes what is left."
    )


class Budget:
    """Fills the best tier with the most interesting units until its space is used, then the next tier.

    The first unit that no longer fits closes a tier, even where a smaller and less interesting one would still fit: so
    nothing lies in a better tier than a more interesting unit. Units that a flag forces into a tier take its space
    first.
    """

    name: ClassVar[str] = "budget"
    Parameters: ClassVar[type[BaseModel]] = BudgetParameters

    def __init__(self, parameters: BudgetParameters, tiers: Sequence[str]) -> None:
        """Check the limits.

        Raises:
            ConfigError: for an unknown tier, a limit for the last tier, or a tier without a limit.
        """
        require_limits(parameters.limit_gb, tiers, key="policy.parameters.limit_gb", noun="limit in GB")
        self._tiers = list(tiers)
        self._bytes = [round(parameters.limit_gb[tier] * _BYTES_PER_GB) for tier in tiers[:-1]]

    def resolve(
        self,
        *,
        unit_id: NDArray[np.object_],
        interestingness: NDArray[np.float64],
        size: NDArray[np.int64],
        taken: Mapping[str, Taken],
    ) -> list[Cut]:
        """Return cuts so that the bytes of each tier but the last stay within its limit."""
        order = best_first(unit_id, interestingness)
        filled = np.cumsum(size[order])
        ends, end, used = [], 0, 0
        for tier, limit in zip(self._tiers[:-1], self._bytes, strict=True):
            free = max(0, limit - taken.get(tier, Taken(0, 0)).size)
            end = int(np.searchsorted(filled, used + free, side="right"))
            used = int(filled[end - 1]) if end else 0
            ends.append(end)
        return cuts_at(ends, tiers=self._tiers, order=order, unit_id=unit_id, interestingness=interestingness)

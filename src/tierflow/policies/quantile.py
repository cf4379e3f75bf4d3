"""Policy `quantile`: fixed shares of the units."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import BaseModel, Field

from tierflow.config_section import Section, Share
from tierflow.errors import ConfigError
from tierflow.policies.ranking import best_first, cuts_at, require_tiers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tierflow.policies.base import Cut, Taken

_KEY = "policy.parameters.shares"


class QuantileParameters(Section):
    """Shares of the units that the tiers get."""

    shares: dict[str, Share] = Field(
        default_factory=dict,
        description="Share of the units by tier, together 1; empty: equal shares; a tier that isn't named gets 0.",
    )


class Quantile:
    """Gives each tier its share of the ranked units, rounded to whole units; equal values are shared by unit_id."""

    name: ClassVar[str] = "quantile"
    Parameters: ClassVar[type[BaseModel]] = QuantileParameters

    def __init__(self, parameters: QuantileParameters, tiers: Sequence[str]) -> None:
        """Check the shares.

        Raises:
            ConfigError: for an unknown tier or shares that aren't 1 together.
        """
        require_tiers(parameters.shares, tiers, key=_KEY)
        shares = parameters.shares or dict.fromkeys(tiers, 1 / len(tiers))
        total = sum(shares.values())
        # 1e-6 forgives shares such as .333333 typed by hand.
        if abs(total - 1) > 1e-6:
            raise ConfigError(f"{_KEY}: the shares make {total:g} together, expected 1; change one by {1 - total:+g}")
        self._tiers = list(tiers)
        self._shares = [shares.get(tier, 0.0) for tier in tiers]

    def resolve(
        self,
        *,
        unit_id: NDArray[np.object_],
        interestingness: NDArray[np.float64],
        size: NDArray[np.int64],  # noqa: ARG002 - shares are counted in units
        taken: Mapping[str, Taken],  # noqa: ARG002 - shares are of the units that no flag forces elsewhere
    ) -> list[Cut]:
        """Return cuts so that each tier holds its share of the given units."""
        ends = np.rint(np.cumsum(self._shares)[:-1] * len(unit_id)).astype(int).tolist()
        return cuts_at(
            ends,
            tiers=self._tiers,
            order=best_first(unit_id, interestingness),
            unit_id=unit_id,
            interestingness=interestingness,
        )

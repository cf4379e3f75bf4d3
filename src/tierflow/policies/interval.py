"""Policy `interval`: fixed ranges of interestingness, whatever the other units have."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import BaseModel, Field

from tierflow.config_section import Section
from tierflow.errors import ConfigError
from tierflow.policies.base import Cut
from tierflow.policies.ranking import require_tiers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tierflow.policies.base import Taken

_KEY = "policy.parameters.intervals"


class Range(Section):
    """One range of interestingness and its tier."""

    tier: str = Field(description="Name of the tier.")
    min: Annotated[float, Field(ge=0, le=1)] = Field(description="Smallest value that belongs to the range.")
    max: Annotated[float, Field(ge=0, le=1)] = Field(description="End of the range; belongs to it only where it is 1.")


class IntervalParameters(Section):
    """Ranges that cover [0, 1] without gap or overlap, in any order."""

    intervals: tuple[Range, ...] = Field(
        (), description="Ranges [min, max) with their tiers; empty: equal parts of [0, 1] over the tiers, best first."
    )


class Interval:
    """Half-open ranges `[min, max)` that cover [0, 1]; the highest one includes 1.

    Without parameters [0, 1] is cut into equal parts, .75/.5/.25 for four tiers: the policy of HASTE's Case Study 1.
    """

    name: ClassVar[str] = "interval"
    Parameters: ClassVar[type[BaseModel]] = IntervalParameters

    def __init__(self, parameters: IntervalParameters, tiers: Sequence[str]) -> None:
        """Check the ranges.

        Raises:
            ConfigError: naming the two ranges that leave a gap or overlap and how to mend them.
        """
        require_tiers((part.tier for part in parameters.intervals), tiers, key=_KEY)
        parts = sorted(parameters.intervals, key=lambda part: (part.min, part.max))
        if parts:
            _check_cover(parts)
            self._cuts = [Cut(part.tier, part.min) for part in reversed(parts)]
        else:
            count = len(tiers)
            self._cuts = [Cut(tier, (count - 1 - position) / count) for position, tier in enumerate(tiers)]

    def resolve(
        self,
        *,
        unit_id: NDArray[np.object_],  # noqa: ARG002 - ranges are fixed
        interestingness: NDArray[np.float64],  # noqa: ARG002
        size: NDArray[np.int64],  # noqa: ARG002
        taken: Mapping[str, Taken],  # noqa: ARG002
    ) -> list[Cut]:
        """Return the ranges as cuts; they don't depend on the data."""
        return list(self._cuts)


def _shown(part: Range) -> str:
    return f"{part.tier} [{part.min:g}, {part.max:g}" + ("]" if part.max == 1 else ")")


def _check_cover(parts: Sequence[Range]) -> None:
    for part in parts:
        if part.min >= part.max:
            raise ConfigError(f"{_KEY}: {_shown(part)} is empty: `min` must be less than `max`")
    for lower, upper in pairwise(parts):
        if lower.max < upper.min:
            raise ConfigError(
                f"{_KEY}: gap between {_shown(lower)} and {_shown(upper)}: no tier takes a value such as "
                f"{(lower.max + upper.min) / 2:g}; set {lower.tier}'s max or {upper.tier}'s min so that both are equal"
            )
        if lower.max > upper.min:
            raise ConfigError(
                f"{_KEY}: {_shown(lower)} and {_shown(upper)} overlap: both would take {upper.min:g}; "
                f"set {lower.tier}'s max or {upper.tier}'s min so that both are equal"
            )
    if parts[0].min > 0:
        raise ConfigError(f"{_KEY}: nothing takes 0: the lowest range is {_shown(parts[0])}; set its min to 0")
    if parts[-1].max < 1:
        raise ConfigError(f"{_KEY}: nothing takes 1: the highest range is {_shown(parts[-1])}; set its max to 1")

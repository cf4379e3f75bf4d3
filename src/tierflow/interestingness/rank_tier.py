"""Interestingness `rank_tier`: how a plane ranks among those that came before it, in steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import BaseModel, Field, model_validator

from tierflow.config_section import Section
from tierflow.interestingness.base import LookBack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tierflow.interestingness.base import PlaneTable, Values

# What it finds in earlier planes.
RANK, BEFORE = "rank", "planes_before"
# Comparisons at once, 8 MB.
_MOST = 8_000_000

Substream = Literal["plate", "well", "site", "channel", "z"]


class RankTierParameters(Section):
    """Feature, steps, and how far back is looked."""

    feature: str = Field("sharpness", description="Feature that decides.")
    high_is_interesting: bool = Field(True, description="False: small values are the interesting ones.")
    tiers: Annotated[int, Field(ge=2, le=100)] = Field(4, description="Number of steps of the result.")
    warm_up: Annotated[int, Field(ge=1)] = Field(
        16, description="Until so many planes of the substream came before, interestingness is 1."
    )
    window: Annotated[int, Field(ge=2, le=100_000)] = Field(
        1000, description="Planes of the substream, the latest ones before a plane, that it is ranked among."
    )
    by: tuple[Substream, ...] = Field(
        ("channel",), description="Columns that make a substream; empty: all planes are ranked together."
    )

    @model_validator(mode="after")
    def _room_to_warm_up(self) -> RankTierParameters:
        if self.warm_up > self.window:
            raise ValueError(
                f"warm_up is {self.warm_up}, more than window ({self.window}): so many planes are never known; "
                "make window greater"
            )
        return self


class RankTier:
    """Online rank of one feature among the planes so far, as the HASTE toolkit's function of this name.

    With n planes of the substream before (the last `window` of them), l with a smaller value of the feature and e with
    the same:

        rank  = (l + e / 2) / n                    (1 - rank where small values are interesting)
        tier  = floor(tiers rank), at most tiers - 1
        score = (2 tier + 1) / (2 tiers)

    So four tiers give .125, .375, .625 and .875, the middles of the quarters into which the policy `interval` cuts
    [0, 1]. 1 for the first `warm_up` planes of a substream: with nothing to compare with, nothing is put away. The
    toolkit ranks among the whole stream; here the window keeps memory bounded and lets the scale follow a drift. NaN
    where the feature has no value. What "before" means: `tierflow.scoring.history`.
    """

    name: ClassVar[str] = "rank_tier"
    Parameters: ClassVar[type[BaseModel]] = RankTierParameters

    def __init__(self, parameters: RankTierParameters) -> None:
        self._settings = parameters

    def needs(self) -> list[str]:
        """Return the one feature."""
        return [self._settings.feature]

    def look_back(self) -> LookBack:
        """Ask for the feature in the last planes of the substream."""
        settings = self._settings
        return LookBack(features=(settings.feature,), by=settings.by, window=settings.window, columns=(RANK, BEFORE))

    def trace(self, series: Mapping[str, Values], first: int) -> Mapping[str, Values]:
        """Return the rank of each plane among the `window` before it, 0 to 1 (NaN for none), and their number."""
        window = self._settings.window
        values = series[self._settings.feature]
        # NaN is neither less nor equal, so places before the beginning of the stream don't count.
        padded = np.concatenate([np.full(window, np.nan), values])
        past = sliding_window_view(padded, window)[first:-1] if len(values) else np.empty((0, window))
        now = values[first:, None]
        below = np.empty(len(now))
        step = max(1, _MOST // window)
        for start in range(0, len(now), step):
            part = slice(start, start + step)
            less = np.count_nonzero(past[part] < now[part], axis=1)
            below[part] = less + np.count_nonzero(past[part] == now[part], axis=1) / 2
        before = np.minimum(np.arange(first, len(values)), window).astype(np.float64)
        return {RANK: np.where(before > 0, below / np.maximum(before, 1), np.nan), BEFORE: before}

    def score(self, planes: PlaneTable) -> Values:
        """Return values in [0, 1] of shape (plane,)."""
        tiers = self._settings.tiers
        tier = np.minimum(np.floor(tiers * self._rank(planes)), tiers - 1)
        value = np.where(planes.history[BEFORE] < self._settings.warm_up, 1.0, (2 * tier + 1) / (2 * tiers))
        return np.where(np.isfinite(planes.features[self._settings.feature]), value, np.nan)

    def explain(self, planes: PlaneTable, rows: NDArray[np.int64], values: Values) -> list[str]:  # noqa: ARG002
        """Give the feature's value, its rank and among how many planes."""
        feature, warm_up = self._settings.feature, self._settings.warm_up
        found = zip(
            planes.features[feature][rows].tolist(),
            planes.history[BEFORE][rows].tolist(),
            self._rank(planes)[rows].tolist(),
            strict=True,
        )
        side = "more" if self._settings.high_is_interesting else "less"
        return [
            f"{feature} is {value:.4g}; only {before:.0f} planes came before, fewer than {warm_up}: kept"
            if before < warm_up
            else f"{feature} is {value:.4g}, {side} than {rank:.0%} of the {before:.0f} planes before"
            for value, before, rank in found
        ]

    def _rank(self, planes: PlaneTable) -> Values:
        rank = planes.history[RANK]
        return rank if self._settings.high_is_interesting else 1 - rank

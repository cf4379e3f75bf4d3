"""What an interestingness function is: the contract of the entry-point group `tierflow.interestingness`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pydantic import BaseModel

    Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PlaneTable:
    """The measured planes of one shard, column by column.

    Attributes:
        features: Values by feature name, each of shape (plane,); NaN where not measured.
        median: Baseline medians by feature name, shape (plane,): the value of each plane's own plate x channel group;
            NaN where the group is too small.
        mad: Baseline spreads (1.4826 x MAD), likewise.
        object_id: Object of each plane, shape (plane,).
    """

    features: Mapping[str, Values]
    median: Mapping[str, Values]
    mad: Mapping[str, Values]
    object_id: NDArray[np.object_]

    def __len__(self) -> int:
        """Return the number of planes."""
        return len(self.object_id)

    def robust_z(self, feature: str) -> Values:
        """Return (value - median) / (1.4826 x MAD) within plate x channel.

        NaN where the group is too small or the value is missing; 0 where the value equals the median; +-inf is never
        given: a spread of 0 counts as the smallest positive number that keeps the result within +-1e6.
        """
        difference = self.features[feature] - self.median[feature]
        spread = np.maximum(self.mad[feature], np.abs(difference) / 1e6)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(difference == 0, 0.0, difference / spread)


class InterestingnessFunction(Protocol):
    """Scores planes. `Parameters` is a pydantic model (unknown keys forbidden) of what a user may set."""

    name: ClassVar[str]
    Parameters: ClassVar[type[BaseModel]]

    def __init__(self, parameters: BaseModel) -> None:
        """Take validated parameters."""

    def needs(self) -> list[str]:
        """Return the features it reads."""

    def score(self, planes: PlaneTable) -> Values:
        """Return values in [0, 1] of shape (plane,); NaN where it can't tell (the object then goes to quarantine)."""

    def explain(self, planes: PlaneTable, rows: NDArray[np.int64], values: Values) -> list[str]:
        """Say in words why planes got their values: a sentence for each with the numbers that decided.

        Args:
            planes: The same table that was scored.
            rows: Positions in `planes` of the planes to explain, shape (row,).
            values: What `score` gave them, likewise.
        """

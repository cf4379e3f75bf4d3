"""What an interestingness function is: the contract of the entry-point group `tierflow.interestingness`."""

from __future__ import annotations

from dataclasses import dataclass, field
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
        history: What a function that looks back found in the planes before each plane, by the names of
            `LookBack.columns`, each of shape (plane,); empty for all others.
    """

    features: Mapping[str, Values]
    median: Mapping[str, Values]
    mad: Mapping[str, Values]
    object_id: NDArray[np.object_]
    history: Mapping[str, Values] = field(default_factory=dict)

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


@dataclass(frozen=True, slots=True)
class LookBack:
    """Which planes before a plane an interestingness function wants to look at.

    Attributes:
        features: Features whose earlier values it wants; `needs` names them too. Planes where one of them isn't a
            finite number are passed over.
        by: Columns that make a substream, of plate, well, site, channel and z; empty: the whole stream is one.
        window: How many planes of the substream before a plane it looks at, at most: bounds memory, and says how far
            the values of a plane depend on others.
        columns: Names of the values that `trace` gives for each plane.
    """

    features: tuple[str, ...]
    by: tuple[str, ...]
    window: int
    columns: tuple[str, ...]


class LooksBack(InterestingnessFunction, Protocol):
    """An interestingness function of which a plane's value depends on the planes before it in the stream.

    What it finds there is worked out once, in the order of the stream, and handed to `score` in `PlaneTable.history`;
    so `score` itself judges every plane for itself, in whatever shard and order it comes.
    """

    def look_back(self) -> LookBack:
        """Return what it wants to look at; depends on nothing but its parameters."""

    def trace(self, series: Mapping[str, Values], first: int) -> Mapping[str, Values]:
        """Look back from planes of one substream.

        Args:
            series: The features of `LookBack.features`, shape (plane,), in the order of the stream, all finite.
            first: The first plane to look back from; the ones before it are there to be looked at.

        Returns:
            The columns of `LookBack.columns` for the planes from `first` on, shape (plane - first,). The value of plane
            i may depend on planes i - window to i alone: a stream that is cut elsewhere must give the same.
        """

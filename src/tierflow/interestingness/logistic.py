"""Interestingness `logistic` of one feature, and `haste`, its preset of Case Study 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import BaseModel, Field

from tierflow.config_section import Section

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tierflow.interestingness.base import PlaneTable, Values

SLOPE = "ImageQuality_PowerLogLogSlope"


def logistic(x: Values, *, k: float, x0: float) -> Values:
    """Return 1 / (1 + exp(-k (x - x0))), without overflow.

    Args:
        x: Values of any shape, in the feature's unit.
        k: Steepness per unit of x; negative where small values are interesting.
        x0: Where the result is .5, in the unit of x.
    """
    # The same function written with tanh, which saturates where exp would overflow.
    return 0.5 * (1 + np.tanh(0.5 * k * (np.asarray(x, dtype=np.float64) - x0)))


class LogisticParameters(Section):
    """Feature, steepness and middle."""

    feature: str = Field(description="Feature that decides.")
    k: float = Field(description="Steepness per unit of the feature; negative where small values are interesting.")
    x0: float = Field(description="Value of the feature where interestingness is .5.")


class HasteParameters(Section):
    """Nothing to set: use `logistic` to change feature, k or x0."""


class Logistic:
    """1 / (1 + exp(-k (x - x0))) of one feature x; NaN where the feature has no value."""

    name: ClassVar[str] = "logistic"
    Parameters: ClassVar[type[BaseModel]] = LogisticParameters

    def __init__(self, parameters: LogisticParameters) -> None:
        self._feature = parameters.feature
        self._k = parameters.k
        self._x0 = parameters.x0

    def needs(self) -> list[str]:
        """Return the one feature."""
        return [self._feature]

    def score(self, planes: PlaneTable) -> Values:
        """Return values in [0, 1] of shape (plane,)."""
        return logistic(planes.features[self._feature], k=self._k, x0=self._x0)

    def explain(self, planes: PlaneTable, rows: NDArray[np.int64], values: Values) -> list[str]:  # noqa: ARG002
        """Name the feature's value and the side of x0 on which it lies."""
        interesting = "more" if self._k > 0 else "less"
        tail = f"; interestingness is .5 at {self._x0:g}, and more where it is {interesting}"
        return [f"{self._feature} is {x:.4g}{tail}" for x in planes.features[self._feature][rows].tolist()]


class Haste(Logistic):
    """Case Study 1 of the HASTE toolkit: PowerLogLogSlope with k = -4.5 and x0 = -1.4.

    A steeper, more negative slope counts as more interesting: it tells structure from empty fields. It does NOT reject
    blur, which makes the slope steeper still; `focus` does.
    """

    name: ClassVar[str] = "haste"
    Parameters: ClassVar[type[BaseModel]] = HasteParameters

    def __init__(self, parameters: HasteParameters) -> None:  # noqa: ARG002
        super().__init__(LogisticParameters(feature=SLOPE, k=-4.5, x0=-1.4))

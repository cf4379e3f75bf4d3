"""Interestingness `constant`: the same value for everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import BaseModel, Field

from tierflow.config_section import Section, Share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tierflow.interestingness.base import PlaneTable, Values


class ConstantParameters(Section):
    """The value."""

    value: Share = Field(1.0, description="Interestingness of every plane.")


class Constant:
    """Gives every plane the same value, to route by flags alone or to keep everything in one tier."""

    name: ClassVar[str] = "constant"
    Parameters: ClassVar[type[BaseModel]] = ConstantParameters

    def __init__(self, parameters: ConstantParameters) -> None:
        self._value = parameters.value

    def needs(self) -> list[str]:
        """Return no feature."""
        return []

    def score(self, planes: PlaneTable) -> Values:
        """Return the value for every plane, shape (plane,)."""
        return np.full(len(planes), self._value)

    def explain(self, planes: PlaneTable, rows: NDArray[np.int64], values: Values) -> list[str]:  # noqa: ARG002
        """Say that the value is fixed."""
        return [f"constant value {self._value:g}"] * len(rows)

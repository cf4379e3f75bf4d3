"""Interestingness `expression`: arithmetic on features, as the user writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import BaseModel, Field

from tierflow.config_section import Section
from tierflow.errors import ConfigError
from tierflow.interestingness.arithmetic import FUNCTIONS, Formula, parse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tierflow.interestingness.base import PlaneTable, Values

_KEY = "score.parameters.expression"


class ExpressionParameters(Section):
    """The formula."""

    expression: str = Field(
        description="Formula of feature names, numbers, + - * / **, comparisons, and, or, not, and the functions "
        + ", ".join(FUNCTIONS)
        + "; z('feature') is the robust z within plate and channel. The result must lie in 0 to 1: clip(x, 0, 1)."
    )


class Expression:
    """A formula on features, evaluated by walking its syntax tree: nothing but the listed operations can happen.

    NaN where any feature (or z) that the formula names has no value, even in a branch that `where` doesn't take: a
    plane is not called interesting on half of its measurements.
    """

    name: ClassVar[str] = "expression"
    Parameters: ClassVar[type[BaseModel]] = ExpressionParameters

    def __init__(self, parameters: ExpressionParameters) -> None:
        try:
            self._formula: Formula = parse(parameters.expression)
        except ValueError as error:
            raise ConfigError(f"{_KEY} is {parameters.expression!r}: {error}") from error
        self._text = parameters.expression

    def needs(self) -> list[str]:
        """Return the features that the formula names, each once."""
        return list(dict.fromkeys([*self._formula.features, *self._formula.compared]))

    def score(self, planes: PlaneTable) -> Values:
        """Return the formula's values, shape (plane,)."""
        with np.errstate(all="ignore"):
            z = {name: planes.robust_z(name) for name in self._formula.compared}
            result = np.asarray(self._formula.evaluate(planes.features, z), dtype=np.float64)
        known = np.ones(len(planes), dtype=np.bool_)
        for values in (*(planes.features[name] for name in self._formula.features), *z.values()):
            known &= ~np.isnan(values)
        return np.where(known, np.broadcast_to(result, known.shape), np.nan)

    def explain(self, planes: PlaneTable, rows: NDArray[np.int64], values: Values) -> list[str]:
        """Show the formula with the values of its features."""
        names = self.needs()
        parts = [planes.features[name][rows].tolist() for name in names]
        shown = [
            ", ".join(f"{name} = {value:.4g}" for name, value in zip(names, found, strict=True))
            for found in (zip(*parts, strict=True) if parts else [()] * len(rows))
        ]
        return [
            f"{self._text} = {value:.4g}" + (f" with {text}" if text else "")
            for value, text in zip(values.tolist(), shown, strict=True)
        ]

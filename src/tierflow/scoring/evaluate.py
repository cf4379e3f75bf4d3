"""Call an interestingness function and believe nothing that it returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tierflow.errors import ConfigError
from tierflow.scoring.planes import subset
from tierflow.scoring.problems import UNSCORED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tierflow.interestingness.base import InterestingnessFunction, PlaneTable, Values
    from tierflow.scoring.problems import Problems

# Rounding in a function's last step; anything further outside [0, 1] is a mistake of the function.
_EXCESS = 1e-9


def evaluate(
    function: InterestingnessFunction,
    planes: PlaneTable,
    *,
    row: NDArray[np.int64],
    number: NDArray[np.int64],
    unit: NDArray[np.int64],
    problems: Problems,
) -> Values:
    """Score planes, and note the objects for which the function gives no usable value.

    Args:
        function: Interestingness function.
        planes: Planes to score.
        row: Row of each plane's object, shape (plane,).
        number: Number of each plane in its object, likewise.
        unit: Unit of each object, shape (object,).
        problems: Where objects are noted whose value is missing or outside [0, 1], or for which the function raised.

    Returns:
        Shape (plane,); within [0, 1] for all planes of objects without a problem.

    Raises:
        ConfigError: if the function finds its own parameters wrong.
    """
    values = _called(function, planes, row=row, unit=unit, problems=problems)
    outside = (values < -_EXCESS) | (values > 1 + _EXCESS)
    for index in np.flatnonzero(np.isnan(values) | outside).tolist():
        problems.note(int(row[index]), UNSCORED, _complaint(function, planes, index, values[index], number[index]))
    return np.clip(values, 0.0, 1.0)


def _called(
    function: InterestingnessFunction,
    planes: PlaneTable,
    *,
    row: NDArray[np.int64],
    unit: NDArray[np.int64],
    problems: Problems,
) -> Values:
    if not len(planes):
        return np.empty(0)
    try:
        return _checked(function, planes)
    except ConfigError:
        raise
    except Exception:
        # One bad plane must not take the shard's other objects with it: find the units that raise.
        values = np.full(len(planes), np.nan)
        for one in np.unique(unit[row]).tolist():
            members = np.flatnonzero(unit[row] == one)
            try:
                values[members] = _checked(function, subset(planes, members))
            except ConfigError:
                raise
            except Exception as error:
                text = f"interestingness function {function.name!r} failed: {type(error).__name__}: {error}"
                for at in row[members].tolist():
                    problems.note(at, UNSCORED, text)
        return values


def _checked(function: InterestingnessFunction, planes: PlaneTable) -> Values:
    with np.errstate(all="ignore"):
        values = np.asarray(function.score(planes), dtype=np.float64)
    if values.shape != (len(planes),):
        raise ValueError(f"it returned an array of shape {values.shape}, expected ({len(planes)},)")
    return values


def _complaint(
    function: InterestingnessFunction, planes: PlaneTable, index: int, value: float, number: np.int64
) -> str:
    if not np.isnan(value):
        return (
            f"interestingness function {function.name!r} gave {value:g} for plane {number}, outside 0 to 1: "
            "correct the function or its parameters"
        )
    missing = [name for name in function.needs() if np.isnan(planes.features[name][index])]
    why = f": no value for {', '.join(missing)}, as of planes with too few pixels" if missing else ""
    return f"interestingness function {function.name!r} can't tell for plane {number}{why}"

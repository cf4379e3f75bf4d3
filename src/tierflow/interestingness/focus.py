"""Interestingness `focus`, the default: is there something in the image, and is it sharp?"""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import BaseModel, Field

from tierflow.config_section import Section, Share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tierflow.interestingness.base import PlaneTable, Values

SHARPNESS, STRUCTURE, OBJECT = "sharpness", "structure_z", "object_z"

# A hundredth of what is expected is as blurred as can be told; below lies rounding.
_LEAST_RATIO = 0.01
# A group whose median is less than a tenth of the fixed value is blank or blurred throughout; its own noise must not
# become the measure of what is sharp.
_LEAST_MEDIAN = 0.1

_EVEN = 0.5
_VERDICTS = (
    "hardly any signal above the noise, so sharpness {:.3f} may be chance; ",
    "blurred: sharpness {:.3f}, ",
    "sharp: sharpness {:.3f}, ",
)
_FAINT, _BLURRED, _SHARP = range(3)
_STEP = 1001


class FocusParameters(Section):
    """What counts as sharp and as signal."""

    typical_sharpness: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.05, description="Sharpness that scores .5 where nothing is known about plate and channel."
    )
    baseline_weight: Share = Field(
        1 / 3,
        description="How far the median of plate and channel replaces typical_sharpness (logarithmic), 0 to 1.",
    )
    steepness: Annotated[float, Field(gt=0, le=10)] = Field(
        2.0, description="Twice the sharpness multiplies the odds of the score by two to this power."
    )
    structure_z: Annotated[float, Field(gt=0)] = Field(
        30.0, description="structure_z at which a signal counts half; pure noise stays below 5."
    )
    object_z: Annotated[float, Field(gt=0)] = Field(
        12.0, description="object_z at which a single object counts half; pure noise stays below 5."
    )


class Focus:
    """Odds of being sharp, as far as there is a signal that can be judged.

    With s = sharpness, m its median over plate x channel, w = baseline_weight, k = steepness, and z and o the features
    structure_z and object_z over the parameters of their names:

        expected   = typical_sharpness^(1 - w) m^w      (typical_sharpness where the group is too small)
        confidence = z^2 / (1 + z^2)
        odds       = (s / expected)^(k confidence)      (even odds where sharpness is mere chance)
        gate       = e / (1 + e), e = z^4 + o^4
        score      = gate * odds / (1 + odds)

    Range [0, 1]. Blank images and pure noise have no gate and score about 0, blurred ones score low, and on a plate
    that is sharp throughout the typical image scores above .5. The choices and their evidence: design/focus.md.
    NaN where one of the features has no value.
    """

    name: ClassVar[str] = "focus"
    Parameters: ClassVar[type[BaseModel]] = FocusParameters

    def __init__(self, parameters: FocusParameters) -> None:
        self._settings = parameters

    def needs(self) -> list[str]:
        """Return the three features it reads."""
        return [SHARPNESS, STRUCTURE, OBJECT]

    def score(self, planes: PlaneTable) -> Values:
        """Return values in [0, 1] of shape (plane,)."""
        z = self._structure(planes)
        confidence = z**2 / (1 + z**2)
        ratio = np.maximum(planes.features[SHARPNESS] / self._expected(planes), _LEAST_RATIO)
        # Any number, even NaN, to the power of 0 is 1: without a sharpness there must be no score.
        odds = np.where(np.isnan(ratio), np.nan, np.power(ratio, self._settings.steepness * confidence))
        score: Values = odds / (1 + odds) * self._gate(planes)
        return score

    def explain(self, planes: PlaneTable, rows: NDArray[np.int64], values: Values) -> list[str]:
        """Name what decided: too little signal, or the sharpness against what was expected."""
        expected, median = self._expected(planes)[rows], planes.median[SHARPNESS][rows]
        # Few groups and few different roundings: writing each text once is much faster than once per plane.
        _, first, group = np.unique(expected, return_index=True, return_inverse=True)
        tails = [_against(float(expected[i]), float(median[i])) for i in first]
        thousandths = np.rint(np.clip(planes.features[SHARPNESS][rows], 0.0, 1.0) * 1000).astype(np.int64)
        verdict = np.where(values >= _EVEN, _SHARP, _BLURRED)
        verdict[self._gate(planes)[rows] < _EVEN] = _FAINT
        kinds, kind = np.unique(verdict * _STEP + thousandths, return_inverse=True)
        heads = [_VERDICTS[code // _STEP].format(code % _STEP / 1000) for code in kinds.tolist()]
        return [heads[k] + tails[g] for k, g in zip(kind.tolist(), group.tolist(), strict=True)]

    def _expected(self, planes: PlaneTable) -> Values:
        fixed, weight = self._settings.typical_sharpness, self._settings.baseline_weight
        median = np.maximum(planes.median[SHARPNESS], fixed * _LEAST_MEDIAN)
        return np.where(np.isnan(median), fixed, fixed * (median / fixed) ** weight)

    def _structure(self, planes: PlaneTable) -> Values:
        # Values run to millions; beyond a thousand times the limit nothing changes, and powers stay finite.
        return np.clip(planes.features[STRUCTURE] / self._settings.structure_z, 0.0, 1e3)

    def _gate(self, planes: PlaneTable) -> Values:
        alone = np.clip(planes.features[OBJECT] / self._settings.object_z, 0.0, 1e3)
        evidence = self._structure(planes) ** 4 + alone**4
        gate: Values = evidence / (1 + evidence)
        return gate


def _against(expected: float, median: float) -> str:
    known = "too few planes to compare with" if isnan(median) else f"median of plate and channel {median:.3f}"
    return f"{expected:.3f} expected ({known})"

"""Interestingness `focus`, the default: is there something in the image, and is it sharp?"""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import BaseModel, Field

from tierflow.config import Section, Share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tierflow.interestingness.base import PlaneTable, Values

SHARE, STRUCTURE, SNR = "mid_band_share", "structure_snr", "snr"

# Plain noise has an snr of 3.1 (its 99.9th percentile), so only what exceeds 3 speaks for a signal. Half a unit more
# counts as one: the dimmest in-focus image of the evidence (2 % of its light, see design/focus.md) has 3.58.
_NOISE_SNR, _SNR_UNIT = 3.0, 0.5
# Dark objects on a bright ground may have no bright tail at all; strong structure must then be enough.
_LEAST_TAIL = 0.1


class FocusParameters(Section):
    """What counts as sharp and as signal."""

    sharp_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.05, description="mid_band_share that scores .5 where nothing is known about plate and channel."
    )
    baseline_weight: Share = Field(
        1 / 3,
        description="How far the median of plate and channel replaces sharp_share, on a logarithmic scale, 0 to 1.",
    )
    steepness: Annotated[float, Field(gt=0, le=10)] = Field(
        2.0, description="Twice the share makes the odds of the score this power of two better."
    )
    signal: Annotated[float, Field(gt=0)] = Field(
        0.05, description="structure_snr at which an image of snr 3.5 counts half; less is taken for noise."
    )


class Focus:
    """Odds of being sharp, gated by the evidence that there is a signal.

    With s = mid_band_share, m its median over plate x channel, w = baseline_weight and k = steepness:

        expected = sharp_share^(1 - w) m^w        (sharp_share where the group is too small)
        sharp    = s^k / (s^k + expected^k)
        evidence = structure_snr / signal * max(snr - 3, .1) / .5
        gate     = evidence^2 / (1 + evidence^2)
        score    = gate * sharp

    Range [0, 1]. Blank images and pure noise have no evidence and score about 0, blurred ones score low, and on a plate
    that is sharp throughout the typical image scores above .5. The choices and their evidence: design/focus.md.
    NaN where one of the features has no value.
    """

    name: ClassVar[str] = "focus"
    Parameters: ClassVar[type[BaseModel]] = FocusParameters

    def __init__(self, parameters: FocusParameters) -> None:
        self._settings = parameters

    def needs(self) -> list[str]:
        """Return the three features it reads."""
        return [SHARE, STRUCTURE, SNR]

    def score(self, planes: PlaneTable) -> Values:
        """Return values in [0, 1] of shape (plane,)."""
        ratio = planes.features[SHARE] / self._expected(planes)
        odds = np.power(np.maximum(ratio, 0.0), self._settings.steepness)
        score: Values = odds / (1 + odds) * self._gate(planes)
        return score

    def explain(self, planes: PlaneTable, rows: NDArray[np.int64], values: Values) -> list[str]:
        """Name what decided: too little signal, or the share against what was expected."""
        share = planes.features[SHARE][rows]
        expected = self._expected(planes)[rows]
        gate = self._gate(planes)[rows]
        median = planes.median[SHARE][rows]
        texts = []
        for s, e, g, m, v in zip(
            share.tolist(), expected.tolist(), gate.tolist(), median.tolist(), values.tolist(), strict=True
        ):
            if g < 0.5:
                texts.append(f"hardly any signal above the noise (evidence {g:.2f} of 1): can't be judged as sharp")
                continue
            verdict = "sharp" if v >= 0.5 else "blurred"
            against = "too few planes to compare with" if isnan(m) else f"plate and channel have {m:.3f}"
            texts.append(f"{verdict}: {s:.3f} of the structure is fine detail, {e:.3f} expected ({against})")
        return texts

    def _expected(self, planes: PlaneTable) -> Values:
        fixed, weight = self._settings.sharp_share, self._settings.baseline_weight
        # A group without any fine detail (all blank) must not make its noise look sharp by comparison.
        median = np.clip(planes.median[SHARE], fixed / 10, 1.0)
        return np.where(np.isnan(median), fixed, fixed * (median / fixed) ** weight)

    def _gate(self, planes: PlaneTable) -> Values:
        structure = np.maximum(planes.features[STRUCTURE], 0.0) / self._settings.signal
        tail = np.maximum(planes.features[SNR] - _NOISE_SNR, _LEAST_TAIL) / _SNR_UNIT
        evidence = np.minimum(structure * tail, 1e6)
        gate: Values = evidence**2 / (1 + evidence**2)
        return gate

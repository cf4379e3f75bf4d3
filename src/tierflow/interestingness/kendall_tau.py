"""Interestingness `kendall_tau`: does something change in the time series that a plane ends?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import BaseModel, Field, field_validator

from tierflow.config_section import Section
from tierflow.interestingness.base import LookBack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tierflow.interestingness.base import PlaneTable, Values

# What it finds in earlier planes: the tau of each feature by its position, and how many planes came before.
TAU, BEFORE = "tau_{}", "planes_before"
# Pairs compared at once, 32 MB.
_MOST = 2_000_000

Substream = Literal["plate", "well", "site", "channel", "z"]


class KendallTauParameters(Section):
    """Features, length of the series, and what counts as a trend."""

    features: tuple[str, ...] = Field(
        ("ImageQuality_Correlation_20", "ImageQuality_FocusScore"),
        min_length=1,
        max_length=8,
        description="Features whose trend is looked for; the strongest trend decides.",
    )
    images: Annotated[int, Field(ge=3, le=500)] = Field(
        20, description="Planes in a series, the last one included; the first so many of a substream get 1."
    )
    threshold: Annotated[float, Field(ge=0, le=1)] = Field(
        0.2, description="A tau of this or more, up or down, is called a trend in the reason; policies decide by value."
    )
    by: tuple[Substream, ...] = Field(
        ("plate", "well", "site", "channel"), description="Columns that make a substream; add z for stacks."
    )

    @field_validator("features")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"features are {', '.join(value)}: name each once")
        return value


class KendallTau:
    """Greatest |Kendall's tau| of some features against time, as the HASTE toolkit's function for time series.

    The last `images` planes of the same plate, well, site and channel, the plane itself included, are put against their
    order in time, which has no ties; tau is Kendall's tau-b (M. G. Kendall, Biometrika 33, 1945): with s = concordant -
    discordant pairs, p pairs in all and t of them with equal values,

        tau   = s / sqrt((p - t) p)      (0 where all values are equal: nothing changes)
        score = max |tau|

    The first `images` planes of a substream get 1. 0 is no trend, 1 a feature that only rises or only falls. Under pure
    chance tau has a standard deviation of sqrt(2 (2n + 5) / (9 n (n - 1))), .16 for n = 20 images and .22 for 12, so
    shorter series call chance a trend at the toolkit's threshold of .2. NaN where a feature has no value; such planes
    are no part of later series.

    The toolkit used the GLCM's correlation and the variance of the Laplacian. `ImageQuality_Correlation_20` is the
    first: the correlation in the co-occurrence matrix of gray levels, here of pixels 20 px apart. Nearest to the second
    comes `ImageQuality_FocusScore`, variance over mean: both are quadratic in contrast and rise with sharpness and with
    the number of cells, and tau asks for the direction of a trend alone, not its size. It lacks that a Laplacian sees
    the finest details only. Set `features` for others, such as `sharpness`.
    """

    name: ClassVar[str] = "kendall_tau"
    Parameters: ClassVar[type[BaseModel]] = KendallTauParameters

    def __init__(self, parameters: KendallTauParameters) -> None:
        self._settings = parameters
        self._columns = [TAU.format(number) for number in range(len(parameters.features))]

    def needs(self) -> list[str]:
        """Return the features."""
        return list(self._settings.features)

    def look_back(self) -> LookBack:
        """Ask for the features in the last planes of the same place."""
        settings = self._settings
        return LookBack(
            features=settings.features, by=settings.by, window=settings.images, columns=(*self._columns, BEFORE)
        )

    def trace(self, series: Mapping[str, Values], first: int) -> Mapping[str, Values]:
        """Return tau of each feature (NaN as long as a series is too short) and the number of planes before."""
        images = self._settings.images
        found = {
            column: tau_at_ends(series[feature], images=images, first=first)
            for column, feature in zip(self._columns, self._settings.features, strict=True)
        }
        end = len(series[self._settings.features[0]])
        return found | {BEFORE: np.minimum(np.arange(first, end), images).astype(np.float64)}

    def score(self, planes: PlaneTable) -> Values:
        """Return values in [0, 1] of shape (plane,)."""
        strongest = np.max(np.abs(self._taus(planes)), axis=0)
        value = np.where(planes.history[BEFORE] < self._settings.images, 1.0, strongest)
        known = np.all([np.isfinite(planes.features[name]) for name in self._settings.features], axis=0)
        return np.where(known, np.minimum(value, 1.0), np.nan)

    def explain(self, planes: PlaneTable, rows: NDArray[np.int64], values: Values) -> list[str]:
        """Give the strongest tau and its feature."""
        images, threshold = self._settings.images, self._settings.threshold
        taus = self._taus(planes)[:, rows]
        before = planes.history[BEFORE][rows].tolist()
        texts = []
        for at, value in enumerate(values.tolist()):
            if before[at] < images:
                texts.append(f"only {before[at]:.0f} planes of this place came before, fewer than {images}: kept")
                continue
            number = int(np.argmax(np.abs(taus[:, at])))
            verdict = "a trend" if value >= threshold else "no trend"
            texts.append(
                f"{verdict}: over the last {images} planes of this place Kendall's tau of "
                f"{self._settings.features[number]} is {taus[number, at]:.3g} (limit {threshold:g})"
            )
        return texts

    def _taus(self, planes: PlaneTable) -> NDArray[np.float64]:
        """Return the taus, shape (feature, plane)."""
        return np.array([planes.history[column] for column in self._columns])


def tau_at_ends(values: Values, *, images: int, first: int) -> Values:
    """Return Kendall's tau-b against time of the `images` values that end at each plane.

    Args:
        values: In the order of time, shape (plane,), finite.
        images: Length of a series.
        first: The first plane whose tau is wanted.

    Returns:
        Shape (plane - first,), -1 to 1; 0 where all values are equal, NaN where fewer than `images` are there.
    """
    tau = np.full(len(values) - first, np.nan)
    begin = max(first, images - 1)
    if begin >= len(values):
        return tau
    windows = sliding_window_view(values, images)[begin - images + 1 :]
    earlier, later = np.triu_indices(images, 1)
    pairs = len(earlier)
    step = max(1, _MOST // pairs)
    for start in range(0, len(windows), step):
        part = windows[start : start + step]
        first_of_pair, second_of_pair = part[:, earlier], part[:, later]
        up = np.count_nonzero(second_of_pair > first_of_pair, axis=1)
        down = np.count_nonzero(second_of_pair < first_of_pair, axis=1)
        untied = up + down
        scale = np.sqrt((untied * pairs).astype(np.float64))
        at = begin - first + start
        tau[at : at + len(part)] = np.where(untied == 0, 0.0, (up - down) / np.maximum(scale, 1.0))
    return tau

"""Axes: from values to positions, and round numbers to label them with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.report.text import number

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from `low` to `high`.

    Attributes:
        low: Value at position 0.
        high: Value at position 1; greater than `low`.
        log: Positions follow the logarithm; both ends are then positive.
    """

    low: float
    high: float
    log: bool = False

    def place(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return positions in [0, 1]; values beyond the ends stand at the ends."""
        if self.log:
            with np.errstate(divide="ignore", invalid="ignore"):
                inner = np.log(np.maximum(values, self.low) / self.low) / math.log(self.high / self.low)
        else:
            inner = (np.asarray(values, dtype=np.float64) - self.low) / (self.high - self.low)
        places: NDArray[np.float64] = np.clip(inner, 0.0, 1.0)
        return places

    def at(self, value: float) -> float:
        """Return the position of one value."""
        return float(self.place(np.array([value]))[0])

    def ticks(self, wanted: int = 5) -> list[tuple[float, str]]:
        """Return (position, label) of round values, about `wanted` of them."""
        values = _log_ticks(self.low, self.high, wanted) if self.log else _even_ticks(self.low, self.high, wanted)
        return [(self.at(value), number(value, 3)) for value in values]


def fit(values: NDArray[np.float64]) -> Scale:
    """Choose an axis for finite values: logarithmic where they are positive and span more than two decades.

    The outermost 0.2 % on either side don't stretch the axis, so that one strange image doesn't squeeze all others.
    """
    if values.size == 0:
        return Scale(0.0, 1.0)
    low, first, last, high = (float(q) for q in np.quantile(values, (0.002, 0.02, 0.98, 0.998)))
    if first > 0 and last / first > 100:
        return Scale(max(low, first / 10), high * 1.05, log=True)
    if high <= low:
        margin = abs(low) * 0.05 or 0.5
        return Scale(low - margin, high + margin)
    margin = 0.03 * (high - low)
    # An axis of shares or counts that nearly reaches 0 begins there.
    start = 0.0 if 0 <= low < 0.25 * high else low - margin
    return Scale(start, high + margin)


def _even_ticks(low: float, high: float, wanted: int) -> list[float]:
    raw = (high - low) / max(wanted, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def _log_ticks(low: float, high: float, wanted: int) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    # A narrow range shows 2 and 5 as well, a wide one skips decades.
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    stride = max(1, math.ceil((last - first) / wanted)) if len(factors) == 1 else 1
    values = [factor * 10.0**power for power in range(first, last + 1, stride) for factor in factors]
    return [value for value in values if low * 0.999 <= value <= high * 1.001]

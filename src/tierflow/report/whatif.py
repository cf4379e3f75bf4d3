"""What the tiers would hold under other cut-offs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.report.text import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Values = NDArray[np.float64]
    Whole = NDArray[np.int64]

FINE = 1000
"""Bins of the histogram that the page's sliders work on; one more holds exactly 1."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """The tiers under one set of cut-offs.

    Attributes:
        name: What is different.
        minima: Smallest interestingness of each tier but the last, best first.
        counts: Objects per tier.
        sizes: Bytes per tier.
    """

    name: str
    minima: list[float]
    counts: list[int]
    sizes: list[int]


def fine_histogram(score: Values, size: Whole) -> dict[str, list[int]]:
    """Return objects and bytes per thousandth of interestingness; the last bin holds exactly 1."""
    # 0.57 * 1000 is 569.99...: a value on an edge belongs to the bin that begins there.
    place = np.floor(score * FINE + 1e-9).astype(np.int64)
    counts = np.bincount(place, minlength=FINE + 1)
    sizes = np.bincount(place, weights=size.astype(np.float64), minlength=FINE + 1)
    return {"counts": counts.tolist(), "sizes": sizes.astype(np.int64).tolist()}


def tally(score: Values, size: Whole, minima: Sequence[float]) -> tuple[list[int], list[int]]:
    """Return objects and bytes per tier, best first; tiers begin at `minima` (falling), the last takes the rest."""
    # Counting the cut-offs above a value gives its tier: half-open, the cut-off itself belongs to the better tier.
    tier = np.searchsorted(-np.asarray(minima, dtype=np.float64), -score, side="left")
    counts = np.bincount(tier, minlength=len(minima) + 1)
    sizes = np.bincount(tier, weights=size.astype(np.float64), minlength=len(minima) + 1)
    return counts.tolist(), sizes.astype(np.int64).tolist()


def scenarios(score: Values, size: Whole, minima: Sequence[float]) -> list[Scenario]:
    """Return what the tiers would hold under stricter, looser and equal cut-offs.

    Args:
        score: Interestingness of the objects that the cut-offs decide about, shape (object,).
        size: Their bytes.
        minima: The cut-offs of now, best first, without the last tier's 0.
    """
    tiers = len(minima) + 1
    if score.size == 0 or tiers == 1:
        return []
    equal = [1 - i / tiers for i in range(1, tiers)]
    by_rank = [float(np.quantile(score, q)) for q in equal]
    sets: list[tuple[str, list[float]]] = [
        ("as it is", list(minima)),
        ("stricter by 0.1", [min(1.0, m + 0.1) for m in minima]),
        ("looser by 0.1", [max(0.0, m - 0.1) for m in minima]),
        ("equal steps of interestingness", equal),
        (f"{_fraction(tiers)} of the objects each", by_rank),
        (
            "best 5 % apart",
            [float(np.quantile(score, 0.95)), *[min(m, float(np.quantile(score, 0.95))) for m in equal[1:]]],
        ),
    ]
    return [Scenario(name, chosen, *tally(score, size, chosen)) for name, chosen in sets]


def _fraction(tiers: int) -> str:
    return {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth"}.get(tiers, f"1/{tiers}")


def ranges(tiers: Sequence[str], minima: Sequence[float]) -> list[dict[str, Any]]:
    """Return each tier's half-open range of interestingness in words."""
    lows = [*minima, 0.0]
    highs = [None, *minima]
    return [
        {
            "tier": tier,
            "words": f"{number(low, 3)} or more" if high is None else f"{number(low, 3)} to below {number(high, 3)}",
        }
        for tier, low, high in zip(tiers, lows, highs, strict=True)
    ]

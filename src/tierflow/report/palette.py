"""Colours of tiers and of heat maps, chosen to differ in lightness so that colour-blind readers tell them apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Ordered, because tiers are: the best tier stands out most from the page, on light and on dark paper.
_LIGHT = ("#1f3f93", "#1f7fb5", "#3fb3b5", "#86c29b")
_DARK = ("#d6f5dc", "#62c9c4", "#3f93c8", "#5a66b4")
# Vermilion of Okabe and Ito: distinct from every blue and green under all common colour-vision deficiencies.
QUARANTINE = {"light": "#d1531b", "dark": "#ff8a4c"}
# Viridis, sampled: even steps in lightness, readable in gray print.
SEQUENTIAL = ("#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725")


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def between(stops: Sequence[str], position: float) -> str:
    """Return the colour at `position` (0 to 1, clipped) along evenly spaced stops, as `#rrggbb`."""
    place = min(max(position, 0.0), 1.0) * (len(stops) - 1)
    low = min(int(place), len(stops) - 2)
    part = place - low
    mixed = (round(a + (b - a) * part) for a, b in zip(_channels(stops[low]), _channels(stops[low + 1]), strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed)


def tier_colours(tiers: int, *, dark: bool) -> list[str]:
    """Return one colour per tier, best first, for light or dark paper."""
    stops = _DARK if dark else _LIGHT
    if tiers == 1:
        return [stops[1]]
    return [between(stops, i / (tiers - 1)) for i in range(tiers)]

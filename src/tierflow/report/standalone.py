"""Pictures that stand alone, for notebooks and slides: SVG without the report's style sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from tierflow.report.palette import tier_colours
from tierflow.report.scale import Scale
from tierflow.report.text import counted, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierflow.catalogue.query import Bin

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 30, 46
_INK, _LINE = "#3c4650", "#d5dbe1"


def histogram_svg(bins: Sequence[Bin], *, label: str) -> str:
    """Draw counts in bins.

    Args:
        bins: From the smallest to the largest value, as `Found.histogram` gives them; none draws an empty frame.
        label: Name and unit of the horizontal axis.

    Returns:
        An SVG element, 640 x 260 px.
    """
    total, top = sum(part.count for part in bins), max([part.count for part in bins], default=1) * 1.05
    low, high = (bins[0].low, bins[-1].high) if bins else (0.0, 1.0)
    across, up = Scale(low, high if high > low else low + 1), Scale(0.0, top)
    marks = []
    for place, text in up.ticks(4):
        if "." not in text:
            marks.append(_rule(_y(place)) + _text(LEFT - 8, _y(place) + 4, text, "end"))
    for place, text in across.ticks(5):
        marks.append(_text(_x(place), HEIGHT - BOTTOM + 18, text, "middle"))
    width = (WIDTH - LEFT - RIGHT) / max(len(bins), 1)
    for position, part in enumerate(bins):
        y = _y(part.count / top)
        box = (
            f'x="{LEFT + position * width:.1f}" y="{y:.1f}" width="{width - 1:.1f}" height="{HEIGHT - BOTTOM - y:.1f}"'
        )
        told = Markup("{} to {}: {}").format(number(part.low), number(part.high), counted(part.count, "object"))
        marks.append(Markup(f"<rect {box}><title>{{}}</title></rect>").format(told))  # noqa: S704 - numbers only
    title = _text(LEFT, 18, counted(total, "object"), "start")
    name = _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, label, "middle")
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="{}" viewBox="0 0 {} {}" role="img" '
        'aria-label="{}" font-family="sans-serif" font-size="12" fill="{}">{}{}{}</svg>'
    ).format(
        WIDTH,
        HEIGHT,
        WIDTH,
        HEIGHT,
        f"Histogram of {label}, {counted(total, 'object')}",
        tier_colours(1, dark=False)[0],
        title,
        Markup("").join(marks),
        name,
    )


def _x(place: float) -> float:
    return LEFT + place * (WIDTH - LEFT - RIGHT)


def _y(place: float) -> float:
    return HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)


def _rule(y: float) -> Markup:
    return Markup('<path d="M{} {:.1f}H{}" stroke="{}"/>').format(LEFT, y, WIDTH - RIGHT, _LINE)


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" fill="{}">{}</text>').format(x, y, anchor, _INK, text)

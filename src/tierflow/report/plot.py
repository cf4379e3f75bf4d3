"""The frame of a chart: marks in an SVG that stretches to any width, labels as text that keeps its size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Iterable

UNITS = 1000
"""Edge of the square in which marks are drawn; the page stretches it to the size of the chart."""


@dataclass(slots=True)
class Plot:
    """A chart under construction. Marks are SVG text that the caller built from numbers only.

    Attributes:
        title: What is seen, as a sentence without a full stop.
        note: Smaller text beside the title.
        alt: The chart in words for those who can't see it.
        x_label: Name and unit of the horizontal axis.
        y_label: Name and unit of the vertical axis.
        height: Height of the drawing area in CSS pixels.
        kind: Extra class names of the figure.
    """

    title: str
    alt: str
    note: str = ""
    x_label: str = ""
    y_label: str = ""
    height: int = 200
    kind: str = ""
    _marks: list[str] = field(default_factory=list)
    _labels: list[Markup] = field(default_factory=list)

    def add(self, mark: str) -> None:
        """Add an SVG element in units of 0 to 1000, y downwards."""
        self._marks.append(mark)

    def x_ticks(self, ticks: Iterable[tuple[float, str]], *, grid: bool = False) -> None:
        """Label positions (0 to 1) along the bottom."""
        for place, text in ticks:
            x = round(place * UNITS, 1)
            if grid:
                self._marks.insert(0, f'<path class="grid" d="M{x:g} 0V1000"/>')
            self._labels.append(Markup('<span class="xt" style="left:{:.4g}%">{}</span>').format(place * 100, text))

    def y_ticks(self, ticks: Iterable[tuple[float, str]], *, grid: bool = True, kind: str = "yt") -> None:
        """Label positions (0 to 1, upwards) along the left side."""
        for place, text in ticks:
            y = round((1 - place) * UNITS, 1)
            if grid:
                self._marks.insert(0, f'<path class="grid" d="M0 {y:g}H1000"/>')
            self._labels.append(
                Markup('<span class="{}" style="top:{:.4g}%" title="{}">{}</span>').format(
                    kind, (1 - place) * 100, text, text
                )
            )

    def label(self, place: float, text: str, *, kind: str, level: int = 0) -> None:
        """Write text at the top at a horizontal position (0 to 1), `level` lines up."""
        self._labels.append(
            Markup('<span class="{}" style="left:{:.4g}%;--level:{}">{}</span>').format(kind, place * 100, level, text)
        )

    def html(self) -> Markup:
        """Return the figure."""
        svg = Markup(
            '<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
        ).format(self.alt, Markup("".join(self._marks)))  # noqa: S704 - marks hold numbers and our own class names
        note = Markup('<span class="note">{}</span>').format(self.note) if self.note else Markup("")
        y_label = Markup('<div class="yl">{}</div>').format(self.y_label) if self.y_label else Markup("")
        x_label = Markup('<div class="xl">{}</div>').format(self.x_label) if self.x_label else Markup("")
        return Markup(
            '<figure class="chart {}"><figcaption>{}{}</figcaption>{}'
            '<div class="plot" style="height:{}px">{}{}</div>{}</figure>'
        ).format(
            self.kind,
            Markup("<strong>{}</strong>").format(escape(self.title)) if self.title else Markup(""),
            note,
            y_label,
            self.height,
            svg,
            Markup("").join(self._labels),
            x_label,
        )


def box(x: float, y: float, width: float, height: float) -> str:
    """Return the SVG path of a rectangle with its upper left corner at x, y."""
    return f"M{x:.1f} {y:.1f}h{width:.1f}v{height:.1f}h{-width:.1f}z"

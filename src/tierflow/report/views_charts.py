"""Charts of counts and percentiles: numbers in, an HTML figure with inline SVG out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierflow.report.plot import Plot, box
from tierflow.report.scale import Scale
from tierflow.report.text import count, counted, number, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup

    from tierflow.report.views_data import Moment, Part

_QUARTERS = [(0.0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (1.0, "1")]


def spreads(parts: Sequence[Part], *, title: str) -> Markup:
    """Draw percentiles 5, 25, 50, 75 and 95 of the interestingness of each group, a row each."""
    known = [part for part in parts if part.percents.get(50.0) is not None]
    medians = ", ".join(f"{printable(part.name)} {number(part.percents[50.0], 3)}" for part in known)
    plot = Plot(title, f"{title}; medians: {medians}.", x_label="interestingness", height=24 + 34 * len(known))
    plot.kind = "small rows"
    plot.x_ticks(_QUARTERS, grid=True)
    rows = len(known)
    plot.y_ticks([(1 - (i + 0.5) / rows, printable(p.name)) for i, p in enumerate(known)], grid=False, kind="yr")
    for index, part in enumerate(known):
        low, first, middle, third, high = (1000 * _at(part.percents, percent) for percent in (5, 25, 50, 75, 95))
        y, half = (index + 0.5) * 1000 / rows, 230 / rows
        plot.add(f'<path class="whisker" d="M{low:.1f} {y:.1f}H{high:.1f}"/>')
        plot.add(f'<path class="quartile" d="M{first:.1f} {y:.1f}H{third:.1f}"/>')
        plot.add(f'<path class="median" d="M{middle:.1f} {y - half:.1f}V{y + half:.1f}"/>')
    return plot.html()


def band(moments: Sequence[Moment], *, title: str, about: str) -> Markup:
    """Draw median and middle 90 % of interestingness over time."""
    known = [moment for moment in moments if moment.percents.get(50.0) is not None]
    first, last = known[0], known[-1]
    change = f"median {number(first.percents[50.0], 3)} at the start, {number(last.percents[50.0], 3)} at the end"
    plot = Plot(title, f"{title} from {first.name} to {last.name}: {change}.", note=change, x_label=about, height=220)
    plot.y_ticks([(0, "0"), (0.5, "0.5"), (1, "1")])
    plot.x_ticks(_ends([moment.name for moment in known]))
    x = [1000 * i / max(len(known) - 1, 1) for i in range(len(known))]
    low, middle, high = ([1000 - 1000 * _at(m.percents, percent) for m in known] for percent in (5, 50, 95))
    upper = [f"{a:.1f} {b:.1f}" for a, b in zip(x, high, strict=True)]
    lower = [f"{a:.1f} {b:.1f}" for a, b in zip(reversed(x), reversed(low), strict=True)]
    centre = [f"{a:.1f} {b:.1f}" for a, b in zip(x, middle, strict=True)]
    plot.add(f'<path class="band" d="M{"L".join(upper + lower)}Z"/>')
    plot.add(f'<path class="line" d="M{"L".join(centre)}"/>')
    plot.add(f'<path class="dot sv" d="{"".join(f"M{point}h0" for point in centre)}"/>')
    return plot.html()


def columns(moments: Sequence[Moment], *, title: str, about: str, failed: int) -> Markup:
    """Draw how many objects there are over time, failed ones in the colour of the quarantine.

    Args:
        moments: Oldest first.
        title: What is seen.
        about: What the horizontal axis is.
        failed: Index of the colour of what failed.
    """
    total, lost = sum(moment.objects for moment in moments), sum(moment.failed for moment in moments)
    note = f"{counted(total, 'object')}, {count(lost)} failed"
    plot = Plot(title, f"{title}: {note}.", note=note, x_label=about, height=220)
    top = max(moment.objects for moment in moments) * 1.05
    plot.y_ticks([(place, text) for place, text in Scale(0.0, top).ticks(4) if "." not in text])
    plot.x_ticks(_ends([moment.name for moment in moments], inside=True))
    step = 1000 / len(moments)
    gap = min(1.6, step * 0.15)
    for kind, base, values in (
        ("bar", [moment.failed for moment in moments], [moment.objects - moment.failed for moment in moments]),
        (f"f{failed}", [0] * len(moments), [moment.failed for moment in moments]),
    ):
        boxes = "".join(
            box(i * step + gap, 1000 - 1000 * (low + value) / top, step - 2 * gap, 1000 * value / top)
            for i, (low, value) in enumerate(zip(base, values, strict=True))
            if value
        )
        plot.add(f'<path class="{kind}" d="{boxes}"/>')
    return plot.html()


def _at(percents: Mapping[float, float | None], percent: float) -> float:
    value = percents.get(float(percent))
    return min(max(value if value is not None else 0.0, 0.0), 1.0)


def _ends(names: Sequence[str], *, inside: bool = False) -> list[tuple[float, str]]:
    """Return labels of the first, middle and last of things that lie side by side."""
    shown = sorted({0, (len(names) - 1) // 2, len(names) - 1})
    if inside:
        return [((i + 0.5) / len(names), names[i]) for i in shown]
    return [(i / max(len(names) - 1, 1), names[i]) for i in shown]

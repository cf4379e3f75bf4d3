"""The charts: numbers in, an HTML figure with inline SVG out. Large data are binned before anything is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.report.plot import Plot, box
from tierflow.report.scale import Scale, fit
from tierflow.report.text import count, counted, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup
    from numpy.typing import NDArray

    from tierflow.policies.base import Cut

    Values = NDArray[np.float64]
    Whole = NDArray[np.int64]

POINTS = 2000
"""Above this number of objects a scatter chart shows bins instead of points."""
BIN_COLUMNS, BIN_ROWS = 64, 40
DEPTHS = 6
FEWEST_FOR_OUTLINE = 30
"""Below this number of objects a distribution is drawn as points: an outline would invent bumps."""
UNIT = Scale(0.0, 1.0)
_QUARTERS = [(0.0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (1.0, "1")]


def score_histogram(counts: Whole, cuts: Sequence[Cut], *, alt: str, note: str) -> Markup:
    """Draw how many objects have which interestingness, coloured by tier, with the cut-offs.

    Args:
        counts: Objects per bin of [0, 1] and tier, shape (bin, tier).
        cuts: The cut-offs, best first.
        alt: The chart in words.
        note: Shown beside the title.
    """
    plot = Plot(
        "How interesting the objects are", alt, note=note, x_label="interestingness", y_label="objects", height=260
    )
    bins = len(counts)
    top = max(1.0, float(counts.sum(axis=1).max(initial=0)) * 1.04)
    axis = Scale(0.0, top)
    plot.y_ticks([(place, text) for place, text in axis.ticks(4) if "." not in text])
    plot.x_ticks(_QUARTERS)
    step = 1000 / bins
    bars: dict[int, list[str]] = {}
    for index, row in enumerate(counts):
        base = 1000.0
        for tier in range(len(row) - 1, -1, -1):
            height = 1000 * row[tier] / top
            if height > 0:
                bars.setdefault(tier, []).append(box(index * step, base - height, step - 1.6, height))
                base -= height
    plot.add('<g id="score-bars">')
    for tier, boxes in sorted(bars.items()):
        plot.add(f'<path class="f{tier}" d="{"".join(boxes)}"/>')
    plot.add("</g>")
    inner = [cut for cut in cuts if 0 < cut.minimum <= 1]
    for index, cut in enumerate(inner):
        plot.add(f'<path class="cut" data-cut="{index}" d="M{cut.minimum * 1000:.2f} -20V1000"/>')
    for cut, level in zip(inner, _levels([cut.minimum for cut in inner]), strict=True):
        plot.label(cut.minimum, f"{cut.tier} from {number(cut.minimum, 3)}", kind="cutname", level=level)
    return plot.html()


def relation(values: Values, score: Values, tier: Whole, *, title: str, about: str, cuts: Sequence[Cut]) -> Markup:
    """Draw a feature (across) against interestingness (up): points, or bins where there are many.

    Args:
        values: The feature, NaN where unknown, shape (object,).
        score: Interestingness, NaN where unknown.
        tier: Index of each object's tier.
        title: Name of the feature.
        about: What it means, for the note.
        cuts: The cut-offs, best first.
    """
    known = np.isfinite(values) & np.isfinite(score)
    values, score, tier = values[known], score[known], tier[known]
    axis = fit(values)
    rho = spearman(values, score)
    strength = "no clear relation" if np.isnan(rho) or abs(rho) < 0.3 else ("rises" if rho > 0 else "falls")
    said = strength if strength[0] == "n" else f"{strength} with the score"
    note = f"{said}, rank correlation {rho:.2f}" if np.isfinite(rho) else said
    plot = Plot(title, f"{title} against interestingness: {note}.", note=note, x_label=about, y_label="interestingness")
    plot.kind = "small"
    plot.y_ticks([(0, "0"), (0.5, "0.5"), (1, "1")])
    plot.x_ticks(axis.ticks(4), grid=True)
    for cut in cuts:
        if 0 < cut.minimum < 1:
            plot.add(f'<path class="cutline" d="M0 {1000 - cut.minimum * 1000:.1f}H1000"/>')
    across = axis.place(values)
    if len(values) <= POINTS:
        for code in np.unique(tier):
            chosen = tier == code
            dots = zip((across[chosen] * 1000).round(1), (1000 - score[chosen] * 1000).round(1), strict=True)
            plot.add(f'<path class="dot s{code}" d="{"".join(f"M{x:g} {y:g}h0" for x, y in dots)}"/>')
    else:
        for mark in _bins(across, score, tier):
            plot.add(mark)
    return plot.html()


def _bins(across: Values, score: Values, tier: Whole) -> list[str]:
    """Return one path per tier and depth of colour; depth follows the logarithm of the number of objects."""
    column = np.minimum((across * BIN_COLUMNS).astype(np.int64), BIN_COLUMNS - 1)
    row = np.minimum((score * BIN_ROWS).astype(np.int64), BIN_ROWS - 1)
    kinds = int(tier.max(initial=0)) + 1
    flat = (row * BIN_COLUMNS + column) * kinds + tier
    table = np.bincount(flat, minlength=BIN_ROWS * BIN_COLUMNS * kinds).reshape(-1, kinds)
    total, main = table.sum(axis=1), table.argmax(axis=1)
    filled = np.flatnonzero(total)
    depth = np.ceil(DEPTHS * np.log1p(total[filled]) / np.log1p(total.max())).astype(np.int64)
    wide, high = 1000 / BIN_COLUMNS, 1000 / BIN_ROWS
    paths: dict[tuple[int, int], list[str]] = {}
    for cell, level in zip(filled.tolist(), depth.tolist(), strict=True):
        y, x = divmod(cell, BIN_COLUMNS)
        paths.setdefault((int(main[cell]), level), []).append(box(x * wide, 1000 - (y + 1) * high, wide, high))
    return [f'<path class="f{code} d{level}" d="{"".join(boxes)}"/>' for (code, level), boxes in sorted(paths.items())]


def violins(
    values: Values, group: Whole, names: Sequence[str], *, title: str, about: str, scale: Scale | None = None
) -> Markup:
    """Draw the distribution of a feature for each group, one row per group, with median and middle half.

    Args:
        values: The feature, NaN where unknown, shape (object,).
        group: Group of each object, -1 for none.
        names: Names of the groups.
        title: Name of the feature.
        about: Label of the axis.
        scale: The axis; chosen from the values without it.
    """
    known = np.isfinite(values) & (group >= 0)
    values, group = values[known], group[known]
    axis = scale or fit(values)
    rows = len(names)
    medians = [
        f"{name} {number(float(np.median(values[group == i])), 3)}"
        for i, name in enumerate(names)
        if (group == i).any()
    ]
    plot = Plot(title, f"{title} by channel; medians: {', '.join(medians)}.", x_label=about, height=34 + 46 * rows)
    plot.kind = "small rows"
    plot.x_ticks(axis.ticks(4), grid=True)
    plot.y_ticks([(1 - (i + 0.5) / rows, name) for i, name in enumerate(names)], grid=False, kind="yr")
    for index in range(rows):
        own = values[group == index]
        if own.size:
            for mark in _violin(axis.place(own), middle=(index + 0.5) * 1000 / rows, half=420 / rows):
                plot.add(mark)
    return plot.html()


def _violin(places: Values, *, middle: float, half: float) -> list[str]:
    if places.size < FEWEST_FOR_OUTLINE:
        dots = "".join(f"M{x:g} {middle:.0f}h0" for x in (places * 1000).round(1))
        return [f'<path class="dot sv" d="{dots}"/>']
    bins = 72
    heights = np.histogram(places, bins=bins, range=(0.0, 1.0))[0].astype(np.float64)
    kernel = np.exp(-0.5 * (np.arange(-5, 6) / 1.6) ** 2)
    smooth = np.convolve(heights, kernel / kernel.sum(), mode="same")
    smooth *= half / smooth.max()
    filled = np.flatnonzero(smooth > half * 0.004)
    first, last = int(filled[0]), int(filled[-1]) + 1
    xs = (np.arange(first, last) + 0.5) * 1000 / bins
    upper = [f"{x:.1f} {middle - y:.1f}" for x, y in zip(xs, smooth[first:last], strict=True)]
    lower = [f"{x:.1f} {middle + y:.1f}" for x, y in zip(xs[::-1], smooth[first:last][::-1], strict=True)]
    q1, q2, q3 = (float(q) * 1000 for q in np.quantile(places, (0.25, 0.5, 0.75)))
    return [
        f'<path class="violin" d="M{"L".join(upper + lower)}Z"/>',
        f'<path class="quartile" d="M{q1:.1f} {middle:.1f}H{q3:.1f}"/>',
        f'<path class="median" d="M{q2:.1f} {middle - half * 0.55:.1f}V{middle + half * 0.55:.1f}"/>',
    ]


def timeline(
    values: Values, moment: Whole, names: Sequence[str], *, title: str, about: str, scale: Scale | None = None
) -> Markup:
    """Draw median and middle 80 % of a feature over time.

    Args:
        values: The feature, NaN where unknown, shape (object,).
        moment: Position in `names` of each object, ascending in time, -1 for unknown.
        names: The moments in words.
        title: Name of the feature.
        about: What the horizontal axis is.
        scale: The vertical axis; chosen from the values without it.
    """
    known = np.isfinite(values) & (moment >= 0)
    values, moment = values[known], moment[known]
    order = np.argsort(moment, kind="stable")
    groups = np.split(values[order], np.searchsorted(moment[order], np.arange(1, len(names))))
    points = [(i, *np.quantile(own, (0.1, 0.5, 0.9))) for i, own in enumerate(groups) if own.size]
    axis = scale or fit(values)
    first, last = str(names[0]), str(names[-1])
    change = f"median {number(points[0][2], 3)} at the start, {number(points[-1][2], 3)} at the end"
    plot = Plot(title, f"{title} from {first} to {last}: {change}.", note=change, x_label=about, kind="small")
    plot.y_ticks(axis.ticks(4))
    span = max(len(names) - 1, 1)
    shown = sorted({0, span // 2, span})
    plot.x_ticks([(i / span, str(names[i])) for i in shown if i < len(names)])
    x = [i * 1000 / span for i, *_ in points]
    low, middle, high = (1000 - 1000 * axis.place(np.array(column)) for column in list(zip(*points, strict=True))[1:])
    upper = [f"{a:.1f} {b:.1f}" for a, b in zip(x, high, strict=True)]
    lower = [f"{a:.1f} {b:.1f}" for a, b in zip(x[::-1], low[::-1], strict=True)]
    centre = [f"{a:.1f} {b:.1f}" for a, b in zip(x, middle, strict=True)]
    plot.add(f'<path class="band" d="M{"L".join(upper + lower)}Z"/>')
    plot.add(f'<path class="line" d="M{"L".join(centre)}"/>')
    if len(points) <= 60:
        plot.add(f'<path class="dot sv" d="{"".join(f"M{point}h0" for point in centre)}"/>')
    return plot.html()


def histogram_words(objects: int, counts: Whole) -> str:
    """Return the score histogram in words."""
    if objects == 0:
        return "No object has a score."
    total = counts.sum(axis=1)
    peak = int(total.argmax())
    low, high = peak / len(total), (peak + 1) / len(total)
    return (
        f"Histogram of interestingness of {counted(objects, 'object')}; the fullest bin, "
        f"{number(low, 2)} to {number(high, 2)}, holds {count(int(total[peak]))}."
    )


def spearman(a: NDArray[Any], b: NDArray[Any], *, most: int = 50_000) -> float:
    """Return the rank correlation of two columns without NaN; NaN when one is constant or there are fewer than 8 rows.

    Above `most` rows, every n-th is taken. Equal values share the mean of their ranks.
    """
    step = max(1, len(a) // most)
    a, b = a[::step], b[::step]
    if len(a) < 8:
        return float("nan")
    ranks = [_ranks(values) for values in (a, b)]
    deviations = [rank - rank.mean() for rank in ranks]
    norm = float(np.sqrt((deviations[0] ** 2).sum() * (deviations[1] ** 2).sum()))
    return float((deviations[0] * deviations[1]).sum() / norm) if norm > 0 else float("nan")


def _ranks(values: NDArray[Any]) -> Values:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Values = (last - (counts - 1) / 2)[inverse]
    return ranks


def _levels(places: Sequence[float]) -> list[int]:
    """Return the line on which each label goes, so that near ones (best first) don't cover each other."""
    levels: list[int] = []
    for index, place in enumerate(places):
        taken = {levels[i] for i in range(index) if abs(places[i] - place) < 0.16}
        levels.append(next(level for level in range(len(places) + 1) if level not in taken))
    return levels

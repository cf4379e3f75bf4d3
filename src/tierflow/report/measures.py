"""The sections that show features: plate maps, features against the score, by channel and over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.report import charts, plates, words
from tierflow.report.palette import SEQUENTIAL
from tierflow.report.text import counted, number, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup
    from numpy.typing import NDArray

    from tierflow.policies.base import Cut
    from tierflow.report.objects import Objects
    from tierflow.report.scale import Scale

SCATTERS = 6
CHANNELS = 8
MOMENTS = 60


def plate_maps(objects: Objects) -> dict[str, Any] | None:
    """Return the plates' heat maps and what the page's script needs to recolour them; None without wells."""
    drawn, total = plates.grids(objects)
    if not drawn:
        return None
    measures = {"interestingness": "interestingness (median)"}
    measures |= {name: f"{words.feature(name).label} (median)" for name in objects.features}
    measures |= {"flagged": "objects with a finding", "failed": "objects that failed"}
    return {
        "plates": [(grid.name, plates.draw(grid, number_of=i)) for i, grid in enumerate(drawn)],
        "measures": measures,
        "hidden": total - len(drawn),
        "total": total,
        "kind": _plate_size(max(grid.columns for grid in drawn), len(drawn)),
        "data": plates.page_data(drawn, measures),
        "ramp": ", ".join(SEQUENTIAL),
    }


def _plate_size(columns: int, drawn: int) -> str:
    """Return the class of the plates' layout: few are drawn large, many as small multiples."""
    if columns > 24:
        return "dense"
    if drawn > 12:
        return "many"
    return "mid" if drawn <= 2 or (columns > 12 and drawn <= 6) else ""


def relations(objects: Objects, tier: NDArray[np.int64], cuts: Sequence[Cut]) -> list[Markup]:
    """Return a chart of each feature against interestingness, the most telling first."""
    drawn: list[Markup] = []
    for name, values in objects.features.items():
        known = np.isfinite(values) & objects.measured
        if len(drawn) < SCATTERS and known.any() and float(np.ptp(values[known])) > 0:
            title = words.feature(name).label
            score = np.where(objects.measured, objects.interestingness, np.nan)
            drawn.append(charts.relation(values, score, tier, title=title, about=name, cuts=cuts))
    return drawn


def channels(objects: Objects) -> dict[str, Any] | None:
    """Return the distributions of focus and light by channel; None where names don't say channels."""
    counts = objects.channel.counts()
    if len(counts) == 0:
        return None
    chosen = sorted(np.argsort(-counts, kind="stable")[:CHANNELS].tolist())
    lookup = np.full(len(counts) + 1, -1, dtype=np.int64)
    lookup[chosen] = np.arange(len(chosen))
    group = np.where(objects.measured, lookup[objects.channel.codes], -1)
    names = [printable(objects.channel.names[i]) for i in chosen]
    scores = [("Interestingness", "interestingness", objects.interestingness)]
    features = [(words.feature(n).label, n, objects.features[n]) for n in words.PER_CHANNEL if n in objects.features]
    drawn = [
        charts.violins(values, group, names, title=title, about=about, scale=_axis_of(title))
        for title, about, values in [*scores, *features][:SCATTERS]
        if np.isfinite(values[group >= 0]).any()
    ]
    return (
        {
            "charts": drawn,
            "hidden": counted(len(counts) - len(chosen), "more channel") if len(counts) > len(chosen) else "",
        }
        if drawn
        else None
    )


def _axis_of(title: str) -> Scale | None:
    return charts.UNIT if title == "Interestingness" else None


def timelines(objects: Objects) -> list[Markup]:
    """Return interestingness and two features over time; nothing where fewer than three moments are known."""
    moments, names, about = _moments(objects)
    if len(names) < 3:
        return []
    series = [("Interestingness", objects.interestingness)]
    series += [(words.feature(name).label, values) for name, values in objects.features.items()]
    measured = [(title, np.where(objects.measured, values, np.nan)) for title, values in series[:3]]
    return [
        charts.timeline(values, moments, names, title=title, about=about, scale=_axis_of(title))
        for title, values in measured
        if np.isfinite(values[moments >= 0]).any()
    ]


def _moments(objects: Objects) -> tuple[NDArray[np.int64], list[str], str]:
    """Return the moment of each object, the names of the moments in order, and what they are."""
    if len(objects.acquired_at.names) >= 3:
        names, codes = objects.acquired_at.names, objects.acquired_at.codes.astype(np.int64)
        about = "time of acquisition, in order"
    else:
        times, codes = np.unique(np.nan_to_num(objects.timepoint, nan=-1.0), return_inverse=True)
        unknown = int(times.size > 0 and times[0] < 0)
        names, codes, about = [number(float(t)) for t in times[unknown:]], codes - unknown, "time point"
    if len(names) > MOMENTS:
        edges = np.arange(len(names)) * MOMENTS // len(names)
        names = [names[int(np.searchsorted(edges, i))] for i in range(MOMENTS)]
        codes = np.where(codes >= 0, np.append(edges, -1)[codes], -1)
        about += f", in {MOMENTS} steps"
    return codes, [printable(name) for name in names], about

"""Heat maps of plates: one square per well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from tierflow.report import words
from tierflow.report.palette import SEQUENTIAL, between
from tierflow.report.text import counted, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tierflow.report.objects import Objects

    Values = NDArray[np.float64]

FORMATS = ((8, 12), (16, 24), (32, 48))
"""Rows and columns of the plates in use: 96, 384 and 1536 wells; a plate takes the smallest that holds its wells."""
MOST_WELLS = 8000
CELL = 20


@dataclass(frozen=True, slots=True)
class Grid:
    """Values of one plate.

    Attributes:
        name: The plate, for people.
        rows: Rows of the format.
        columns: Columns of the format.
        values: By measure, shape (row, column), NaN where nothing was measured.
        objects: Objects per well, shape (row, column).
        failed: Objects per well that couldn't be measured.
    """

    name: str
    rows: int
    columns: int
    values: Mapping[str, Values]
    objects: NDArray[np.int64]
    failed: NDArray[np.int64]


def grids(objects: Objects) -> tuple[list[Grid], int]:
    """Aggregate objects to wells.

    Returns:
        The plates that are drawn, and how many there are in all; wells are capped at `MOST_WELLS`.
    """
    row, column = objects.well
    known = (row > 0) & (column > 0) & (objects.plate.codes >= 0)
    plates = np.unique(objects.plate.codes[known])
    drawn: list[Grid] = []
    room = MOST_WELLS
    order = np.argsort(np.where(known, objects.plate.codes, -1), kind="stable")
    ranked = np.where(known, objects.plate.codes, -1)[order]
    for plate in plates:
        here = order[np.searchsorted(ranked, plate) : np.searchsorted(ranked, plate, side="right")]
        shape = format_of(int(row[here].max()), int(column[here].max()))
        room -= shape[0] * shape[1]
        if room < 0 and drawn:
            break
        drawn.append(_grid(objects, here, shape=shape, name=words.plate(objects.plate.names[plate])))
    return drawn, len(plates)


def format_of(rows: int, columns: int) -> tuple[int, int]:
    """Return rows and columns of the smallest plate in use that holds a well at these."""
    return next((f for f in FORMATS if rows <= f[0] and columns <= f[1]), (rows, columns))


def _grid(objects: Objects, here: NDArray[np.int64], *, shape: tuple[int, int], name: str) -> Grid:
    wells = shape[0] * shape[1]
    well = (objects.well[0][here].astype(np.int64) - 1) * shape[1] + objects.well[1][here] - 1
    measures = {"interestingness": objects.interestingness, **objects.features}
    values = {key: median_by(well, column[here], wells).reshape(shape) for key, column in measures.items()}
    total = np.bincount(well, minlength=wells).reshape(shape)
    failed = np.bincount(well[~objects.measured[here]], minlength=wells).reshape(shape)
    flagged = np.bincount(well[objects.flagged[here]], minlength=wells).reshape(shape)
    values["flagged"] = np.where(total > 0, flagged, np.nan)
    values["failed"] = np.where(total > 0, failed, np.nan)
    return Grid(name=name, rows=shape[0], columns=shape[1], values=values, objects=total, failed=failed)


def median_by(group: NDArray[np.int64], values: Values, groups: int) -> Values:
    """Return the median of the finite values of each group, NaN for groups without any."""
    known = np.isfinite(values)
    group, values = group[known], values[known]
    order = np.lexsort((values, group))
    ranked = values[order]
    counts = np.bincount(group, minlength=groups)
    starts = np.cumsum(counts) - counts
    result = np.full(groups, np.nan)
    some = counts > 0
    low, high = starts + (counts - 1) // 2, starts + counts // 2
    result[some] = (ranked[low[some]] + ranked[high[some]]) / 2
    return result


def span(drawn: list[Grid], measure: str) -> tuple[float, float]:
    """Return the ends of the colour scale that all plates share.

    They are 0 and 1 for scores, 0 and the most for numbers of objects, else percentiles 2 and 98.
    """
    if measure == "interestingness":
        return 0.0, 1.0
    values = np.concatenate([grid.values[measure].ravel() for grid in drawn])
    values = values[np.isfinite(values)]
    if measure in ("flagged", "failed"):
        return 0.0, max(1.0, float(values.max(initial=0)))
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(q) for q in np.quantile(values, (0.02, 0.98)))
    return (low, high) if high > low else (low, low + (abs(low) or 1.0))


def row_name(row: int) -> str:
    """Return the letter(s) of a row counted from 0: A to Z, then AA."""
    return chr(65 + row) if row < 26 else row_name(row // 26 - 1) + chr(65 + row % 26)


def draw(
    grid: Grid,
    *,
    number_of: int,
    measure: str = "interestingness",
    label: str = "median interestingness",
    ends: tuple[float, float] = (0.0, 1.0),
) -> Markup:
    """Draw one plate coloured by one measure; the report's script recolours it for other measures.

    Args:
        grid: The plate.
        number_of: Its position on the page.
        measure: Key of the values that are drawn.
        label: What they are, in words.
        ends: Values at the ends of the colours, the first one smaller.
    """
    left, top = 26, 18
    width, height = left + grid.columns * CELL, top + grid.rows * CELL
    values = grid.values[measure]
    every = 1 if grid.columns <= 12 else 2
    size = 9 if grid.columns <= 12 else 13 if grid.columns <= 24 else 15
    shift = CELL / 2 + size * 0.35
    heads = [
        Markup('<text x="{}" y="{}">{}</text>').format(left + c * CELL + CELL / 2, top - 5, c + 1)
        for c in range(0, grid.columns, every)
    ]
    sides = [
        Markup('<text x="{}" y="{:.1f}">{}</text>').format(left / 2, top + r * CELL + shift, row_name(r))
        for r in range(0, grid.rows, every)
    ]
    cells = [
        _cell(grid, r, c, left=left, top=top, value=float(values[r, c]), ends=ends)
        for r in range(grid.rows)
        for c in range(grid.columns)
    ]
    finite = values[np.isfinite(values)]
    middle = number(float(np.median(finite)), 2) if finite.size else "unknown"
    imaged = counted(int((grid.objects > 0).sum()), "well")
    return Markup(
        '<svg class="plate" data-plate="{}" viewBox="0 0 {} {}" style="max-width:{}px" role="img" aria-label="{}"'
        ' font-size="{}">{}</svg>'
    ).format(
        number_of,
        width,
        height,
        round(width * (2 if grid.columns <= 12 else 1.3)),
        f"Plate {grid.name}: {imaged} with images, {label} {middle}",
        size,
        Markup("").join([*heads, *sides, *cells]),
    )


def _cell(grid: Grid, r: int, c: int, *, left: int, top: int, value: float, ends: tuple[float, float]) -> Markup:
    x, y = left + c * CELL + 1, top + r * CELL + 1
    edge = CELL - 2
    if grid.objects[r, c] == 0:
        return Markup('<rect class="none" x="{}" y="{}" width="{}" height="{}" rx="3"/>').format(x, y, edge, edge)
    well = f"{row_name(r)}{c + 1:02d}"
    words = f"{well}: {number(value, 3)} ({counted(int(grid.objects[r, c]), 'object')}"
    words += f", {int(grid.failed[r, c])} failed)" if grid.failed[r, c] else ")"
    kind = "w" if np.isfinite(value) else "w lost"
    place = (value - ends[0]) / (ends[1] - ends[0])
    fill = Markup(' fill="{}"').format(between(SEQUENTIAL, place)) if np.isfinite(value) else Markup("")
    return Markup(
        '<rect class="{}" data-w="{}" x="{}" y="{}" width="{}" height="{}" rx="3"{}><title>{}</title></rect>'
    ).format(kind, r * grid.columns + c, x, y, edge, edge, fill, words)


def page_data(drawn: list[Grid], measures: Mapping[str, str]) -> dict[str, Any]:
    """Return what the page's script needs to recolour the plates, rounded to four digits.

    Args:
        drawn: The plates.
        measures: Label by measure, in the order of the selector.
    """
    return {
        "colours": list(SEQUENTIAL),
        "measures": [
            {"key": key, "label": label, "span": [_short(end) for end in span(drawn, key)]}
            for key, label in measures.items()
        ],
        "plates": [
            {
                "name": grid.name,
                "columns": grid.columns,
                "objects": grid.objects.ravel().tolist(),
                "failed": grid.failed.ravel().tolist(),
                "values": {key: [_short(v) for v in grid.values[key].ravel()] for key in measures},
            }
            for grid in drawn
        ],
    }


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None

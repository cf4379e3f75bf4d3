"""What the page of a catalogue shows, asked of the catalogue: any backend, counts and shares instead of records."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.catalogue.query import EVERYTHING, And, Eq, Exists, Query, Range, Sort
from tierflow.config import QUARANTINE
from tierflow.report import words
from tierflow.report.plates import MOST_WELLS, Grid, format_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tierflow.catalogue.base import Catalogue
    from tierflow.catalogue.query import Filter

SCORE = "interestingness"
FAILED = Eq("status", "failed")
MEASURED = Eq("status", "ok")
BINS = 20
MOST_RUNS = 20
MOST_PLATES = 12
MOST_GROUPS = 30
MOST_MOMENTS = 40
MOST_FEATURES = 5
_WELL = re.compile(r"([A-Z]{1,2})(\d{1,2})")


@dataclass(frozen=True, slots=True)
class Part:
    """A group of objects: a run, a plate, a channel.

    Attributes:
        name: What they share.
        objects: How many there are.
        failed: How many of them couldn't be measured.
        flagged: How many carry a finding.
        tiers: Objects in each tier, in the order of `Overview.tiers`.
        percents: Interestingness by percent.
    """

    name: str
    objects: int
    failed: int
    flagged: int
    tiers: tuple[int, ...]
    percents: Mapping[float, float | None]


@dataclass(frozen=True, slots=True)
class Moment:
    """Some days.

    Attributes:
        name: The first of them.
        objects: Objects that were acquired then.
        failed: How many of them couldn't be measured.
        percents: Interestingness by percent.
    """

    name: str
    objects: int
    failed: int
    percents: Mapping[float, float | None]


@dataclass(frozen=True, slots=True)
class Tiers:
    """The tiers, best first, the quarantine last.

    Attributes:
        names: Their names.
        counts: Objects in each.
        sizes: Bytes in each.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    sizes: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Plates:
    """Plates, drawn by several measures.

    Attributes:
        grids: One per plate; values are means over a well's objects.
        labels: Measures in words.
        total: Number of plates that there are.
    """

    grids: tuple[Grid, ...]
    labels: Mapping[str, str]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything that is counted.

    Attributes:
        objects: Number of objects.
        failed: Those that couldn't be measured.
        flagged: Those that were measured and carry a finding.
        tiers: The tiers.
        scores: Objects per bin of [0, 1] and tier, shape (bin, tier).
        percents: Interestingness by percent, of all objects.
        runs: The runs, as far as they are shown.
        plates: Their number, tiers and failures.
        channels: The same by channel.
        moments: Over time, oldest first.
        flags: Findings of measured objects with their numbers.
        failures: The same of failed ones.
        reasons: Why objects failed, in words, with their numbers.
        maps: Plates with wells.
    """

    objects: int
    failed: int
    flagged: int
    tiers: Tiers
    scores: NDArray[np.int64]
    percents: Mapping[float, float | None]
    runs: tuple[Part, ...]
    plates: tuple[Part, ...]
    channels: tuple[Part, ...]
    moments: tuple[Moment, ...] = ()
    flags: Sequence[tuple[str, int]] = ()
    failures: Sequence[tuple[str, int]] = ()
    reasons: Sequence[tuple[str, int]] = ()
    maps: Plates = field(default_factory=lambda: Plates((), {}, 0))


def read(catalogue: Catalogue) -> Overview:
    """Ask a catalogue for everything that the page shows; some hundred small requests, no record is fetched."""
    tiers = _tiers(catalogue)
    reader = _Reader(catalogue, tiers.names)
    return Overview(
        objects=catalogue.count(),
        failed=catalogue.count(FAILED),
        flagged=catalogue.count(And((MEASURED, Exists("flags")))),
        tiers=tiers,
        scores=reader.scores(),
        percents=catalogue.percentiles(SCORE),
        runs=reader.parts("run", MOST_RUNS),
        plates=reader.parts("plate", MOST_GROUPS),
        channels=reader.parts("channel", MOST_GROUPS),
        moments=reader.moments("acquired_at"),
        flags=_named(catalogue.facets("flags", filters=MEASURED, limit=20)),
        failures=_named(catalogue.facets("flags", filters=FAILED, limit=20)),
        reasons=_named(catalogue.facets("reason", filters=FAILED, limit=12)),
        maps=_maps(catalogue),
    )


def _named(found: Sequence[tuple[Any, int]]) -> list[tuple[str, int]]:
    return [(str(value), number) for value, number in found]


def _tiers(catalogue: Catalogue) -> Tiers:
    """Return the tiers by their mean interestingness, because a catalogue doesn't say which one is the best."""
    counts = dict(_named(catalogue.facets("tier", limit=50)))
    mean = {str(found.group): found.mean for found in catalogue.stats(SCORE, by="tier")}
    sizes = {str(found.group): found.count * (found.mean or 0) for found in catalogue.stats("bytes", by="tier")}
    names = sorted(counts, key=lambda name: (name == QUARANTINE, -(mean.get(name) or 0), name))
    return Tiers(tuple(names), tuple(counts[n] for n in names), tuple(sizes.get(n, 0.0) for n in names))


class _Reader:
    def __init__(self, catalogue: Catalogue, tiers: Sequence[str]) -> None:
        self._catalogue, self._tiers = catalogue, tiers

    def scores(self) -> NDArray[np.int64]:
        edges = [i / BINS for i in range(BINS)]
        rows = []
        for low, high in zip(edges, [*edges[1:], None], strict=True):
            # The last bin holds 1 as well.
            inside = Range(SCORE, gte=low, lt=high) if high is not None else Range(SCORE, gte=low)
            rows.append(self._counts(And((MEASURED, inside))))
        return np.array(rows, dtype=np.int64).reshape(BINS, len(self._tiers))

    def parts(self, name: str, most: int) -> tuple[Part, ...]:
        found = self._catalogue.facets(name, limit=most)
        return tuple(sorted((self._part(Eq(name, value), str(value)) for value, _ in found), key=lambda p: p.name))

    def _part(self, where: Filter, name: str) -> Part:
        return Part(
            name=name,
            objects=self._catalogue.count(where),
            failed=self._catalogue.count(And((where, FAILED))),
            flagged=self._catalogue.count(And((where, MEASURED, Exists("flags")))),
            tiers=self._counts(where),
            percents=self._catalogue.percentiles(SCORE, filters=where),
        )

    def _counts(self, where: Filter) -> tuple[int, ...]:
        counts = dict(_named(self._catalogue.facets("tier", filters=where, limit=50)))
        return tuple(counts.get(tier, 0) for tier in self._tiers)

    def moments(self, name: str) -> tuple[Moment, ...]:
        first, last = self._end(name, descending=False), self._end(name, descending=True)
        if first is None or last is None:
            return ()
        step = timedelta(days=-(-((last - first).days + 1) // MOST_MOMENTS))
        found = []
        while first <= last:
            # Moments are text, of which the day is the beginning.
            within = Range(name, gte=first.isoformat(), lt=(first + step).isoformat())
            if objects := self._catalogue.count(within):
                failed = self._catalogue.count(And((within, FAILED)))
                percents = self._catalogue.percentiles(SCORE, filters=within)
                found.append(Moment(first.isoformat(), objects, failed, percents))
            first += step
        return tuple(found)

    def _end(self, name: str, *, descending: bool) -> date | None:
        rows = self._catalogue.search(
            Query(Exists(name), sort=(Sort(name, descending=descending),), limit=1, columns=(name,))
        ).rows
        try:
            return date.fromisoformat(str(rows[0][name])[:10]) if rows else None
        except ValueError:
            return None


def _maps(catalogue: Catalogue) -> Plates:
    known = Exists("well")
    found = sorted(str(value) for value, _ in catalogue.facets("plate", filters=known, limit=1000))
    fields = catalogue.fields()
    features = [name for name in words.PREFERRED if f"features.{name}" in fields][:MOST_FEATURES]
    labels = {SCORE: "mean interestingness"}
    labels |= {name: f"{words.feature(name).label} (mean)" for name in features}
    labels |= {"flagged": "objects with a finding", "failed": "objects that failed"}
    grids = [grid for name in found[:MOST_PLATES] if (grid := _grid(catalogue, name, features)) is not None]
    return Plates(tuple(grids), labels, len(found))


def _grid(catalogue: Catalogue, plate: str, features: Sequence[str]) -> Grid | None:
    where = Eq("plate", plate)
    objects = _by_well(catalogue.facets("well", filters=where, limit=MOST_WELLS))
    if not objects:
        return None
    shape = format_of(max(row for row, _ in objects) + 1, max(column for _, column in objects) + 1)
    flagged = And((where, MEASURED, Exists("flags")))
    failed = _by_well(catalogue.facets("well", filters=And((where, FAILED)), limit=MOST_WELLS))
    marked = _by_well(catalogue.facets("well", filters=flagged, limit=MOST_WELLS))
    values = {SCORE: _means(catalogue, SCORE, where)}
    values |= {name: _means(catalogue, f"features.{name}", where) for name in features}
    values |= {"flagged": dict.fromkeys(objects, 0.0) | marked, "failed": dict.fromkeys(objects, 0.0) | failed}
    return Grid(
        name=words.plate(plate),
        rows=shape[0],
        columns=shape[1],
        values={name: _filled(shape, cells, np.nan) for name, cells in values.items()},
        objects=_filled(shape, objects, 0).astype(np.int64),
        failed=_filled(shape, failed, 0).astype(np.int64),
    )


def _means(catalogue: Catalogue, name: str, where: Filter) -> dict[tuple[int, int], float]:
    found = catalogue.stats(name, by="well", filters=where)
    return _by_well([(stats.group, stats.mean) for stats in found if stats.mean is not None])


def _by_well(found: Sequence[tuple[Any, float]]) -> dict[tuple[int, int], float]:
    """Return values by row and column from 0; what isn't a well's name is left out."""
    cells = {}
    for well, value in found:
        parts = _WELL.fullmatch(str(well))
        if parts and int(parts[2]) > 0:
            row = sum((ord(letter) - 64) * 26**i for i, letter in enumerate(reversed(parts[1]))) - 1
            cells[row, int(parts[2]) - 1] = value
    return cells


def _filled(shape: tuple[int, int], cells: Mapping[tuple[int, int], float], nothing: float) -> NDArray[np.float64]:
    grid = np.full(shape, nothing, dtype=np.float64)
    for place, value in cells.items():
        grid[place] = value
    return grid


def worst(catalogue: Catalogue, wanted: int) -> list[dict[str, Any]]:
    """Return the records of the least interesting objects that were measured, the lowest first."""
    return _records(catalogue, Query(MEASURED, sort=(Sort(SCORE),), limit=wanted, columns=_SHOWN))


def lost(catalogue: Catalogue, wanted: int) -> list[dict[str, Any]]:
    """Return the records of objects that failed."""
    return _records(catalogue, Query(FAILED, sort=(Sort("path"),), limit=wanted, columns=_SHOWN))


_SHOWN = (
    *("path_bytes", "destination", "run", "status", "best_plane", SCORE, "tier", "flags", "reason", "corrected_by"),
    *("plate", "well", "site", "channel", "z", "timepoint"),
)


def _records(catalogue: Catalogue, query: Query) -> list[dict[str, Any]]:
    return list(catalogue.search(query).rows) if catalogue.count(EVERYTHING) else []

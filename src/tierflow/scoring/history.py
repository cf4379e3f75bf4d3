"""What interestingness functions that look back find in the planes before each plane, in a batch as in a stream.

The order of the stream is (`mtime_ns`, bytes of the path, number of the plane): the time of change says when the
instrument had written the file, it is in the scan table of every run, and it stays when a file is renamed into place,
moved or linked into a tier, or copied with its times (`cp -p`, `rsync -t`). A copy with new times is another stream.

A batch run over all objects gives exactly what the stream gave when objects were handled in this order. An object that
comes late, with an older time than ones of its substream that are already handled, is scored as the batch run would;
those that were handled before it stay as they were decided, although a batch run would count it among theirs. Late
objects are therefore counted.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tierflow import tables
from tierflow.errors import ConfigError, TableError
from tierflow.scoring import columns, groups
from tierflow.scoring.columns import compute as pc
from tierflow.scoring.folder import feature_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import TypeGuard

    from numpy.typing import NDArray

    from tierflow.config import Config
    from tierflow.interestingness.base import InterestingnessFunction, LookBack, LooksBack, Values

SCAN_COLUMNS = ["object_id", "path_bytes", "mtime_ns", "plate", "well", "site", "channel", "z"]
PLANE_COLUMNS = ["object_id", "plane", "c", "z", "channel_name", "status"]
SUBSTREAM_COLUMNS = ("plate", "well", "site", "channel", "z")

ORDER = [("mtime_ns", "ascending"), ("path_bytes", "ascending"), ("plane", "ascending")]
"""The order of the stream, as sort keys of a table from `entries`."""

MAX_PLANES = 200_000
"""Planes that a stream remembers over all substreams, some 60 MB; the substreams that were quiet longest go first."""

Place = tuple[int, bytes, int]
"""Place of a plane in the stream: `ORDER`."""

# Between the parts of a substream's key: a character that names hardly have.
_BETWEEN = "\x1f"
# A late object finds its window as long as it isn't later than another window.
_KEPT_WINDOWS = 2


def looks_back(function: InterestingnessFunction) -> TypeGuard[LooksBack]:
    """Tell whether a function looks at earlier planes."""
    return hasattr(function, "look_back")


def digest(config: Config) -> str:
    """Return what of `score` decides the table of history: "" where the function looks at no earlier plane.

    Raises:
        ConfigError: if there is no such function, or its parameters are wrong.
    """
    from tierflow.scoring.build import make_function

    function = make_function(config)
    return f"{function.name} {function.look_back()}" if looks_back(function) else ""


def read_planes(extract: Path, features: Sequence[str]) -> pa.Table:
    """Read what `entries` wants of an extract table; features that it doesn't have are left out.

    Raises:
        InputMissingError: if the table isn't there.
        TableError: if it is damaged.
    """
    present = set(feature_names(extract))
    return tables.read(extract, [*PLANE_COLUMNS, *(name for name in features if name in present)])


def entries(objects: pa.Table, planes: pa.Table, wanted: LookBack) -> pa.Table:
    """Return the planes of some objects as members of substreams.

    Args:
        objects: Scan table with `SCAN_COLUMNS`.
        planes: Extract table with `PLANE_COLUMNS` and the features that are wanted; a feature that isn't there has no
            value in these planes.
        wanted: What the function wants to look at.

    Returns:
        A row per plane that was measured, in the order of `planes`: object_id, plane, mtime_ns, path_bytes, `key` of
        the substream, and the features, null where they have no finite value.
    """
    rows = groups.object_rows(planes, objects)
    good = np.flatnonzero(columns.equals(planes["status"], "ok") & (rows >= 0))
    planes, rows = planes.take(good), rows[good]
    found: dict[str, Any] = {"object_id": planes["object_id"], "plane": planes["plane"]}
    found |= {name: objects[name].take(rows) for name in ("mtime_ns", "path_bytes")}
    found["key"] = _keys(objects, planes, rows, by=wanted.by)
    for name in wanted.features:
        values = columns.floats(planes[name]) if name in planes.column_names else np.full(len(rows), np.nan)
        found[name] = columns.nullable(values, np.isfinite(values))
    return columns.table(found)


def _keys(objects: pa.Table, planes: pa.Table, rows: NDArray[np.int64], *, by: Sequence[str]) -> Any:
    parts: list[Any] = []
    for name in by:
        if name == "channel":
            parts.append(groups.channels_of(planes, objects, rows))
        elif name == "z":
            parts.append(pc.cast(pc.coalesce(objects["z"].take(rows), planes["z"]), "string"))
        else:
            parts.append(objects[name].take(rows))
    if not parts:
        return pa.array([""] * len(rows), pa.string())
    return pc.binary_join_element_wise(*parts, _BETWEEN, null_handling="replace", null_replacement="")


def history_table(function: InterestingnessFunction, parts: Iterable[tuple[pa.Table, pa.Table]]) -> pa.Table:
    """Look back from all planes of a run.

    Args:
        function: Interestingness function.
        parts: Scan table and extract table of each shard, as `entries` wants them; not read where nobody looks back.

    Returns:
        A table of `tables.history_schema`: a row per plane that was measured, in the order of the parts; no row for a
        function that doesn't look back.

    Raises:
        ConfigError: if the function fails.
    """
    if not looks_back(function):
        return tables.history_schema(()).empty_table()
    wanted = function.look_back()
    found = [entries(objects, planes, wanted) for objects, planes in parts]
    if not found:
        return tables.history_schema(wanted.columns).empty_table()
    whole = pa.concat_tables(found)
    members = _Members.of(whole, wanted)
    values = np.full((len(wanted.columns), whole.num_rows), np.nan)
    for _, rows in members.substreams():
        values[:, rows] = _traced(function, wanted, members.values[:, rows], 0)
    return _as_table(whole, values, wanted)


class Substreams:
    """What a stream remembers of its substreams: for each the latest planes, so that the next ones can look back.

    Memory is bounded: two windows per substream (the second one for late objects) and `MAX_PLANES` in all.

    Args:
        function: An interestingness function that looks back.

    Attributes:
        late: Planes that came after planes that follow them in the order of the stream.
        forgotten: Substreams that were dropped because there were too many; should one of them go on, it begins anew.
    """

    def __init__(self, function: LooksBack) -> None:
        self._function = function
        self.wanted = function.look_back()
        self.late = 0
        self.forgotten = 0
        self._series: OrderedDict[str, _Series] = OrderedDict()
        self._planes = 0

    @property
    def planes(self) -> int:
        """Return how many planes are remembered."""
        return self._planes

    def fill(self, found: pa.Table) -> None:
        """Remember planes from `entries` that were handled before."""
        self._add(found, np.empty((0, 0)))

    def add(self, found: pa.Table) -> pa.Table:
        """Look back from planes, and remember them.

        Args:
            found: From `entries`. Objects that are known already are taken out first: they were written again, or their
                batch is handled again after a crash.

        Returns:
            A table of `tables.history_schema`, a row per row of `found`.
        """
        values = np.full((len(self.wanted.columns), found.num_rows), np.nan)
        self._add(found, values)
        return _as_table(found, values, self.wanted)

    def _add(self, found: pa.Table, values: NDArray[np.float64]) -> None:
        """Remember planes; where `values` has columns, fill those of the planes."""
        members = _Members.of(found, self.wanted)
        new = set(members.object_id.tolist())
        places = members.places()
        for key, rows in members.substreams():
            series = self._series.pop(key, None) or _Series.empty(len(self.wanted.features))
            self._planes -= len(series.order)
            series = series.without(new)
            order = [places[row] for row in rows.tolist()]
            late = sum(place < series.order[-1] for place in order) if series.order else 0
            more = _Series(order, members.object_id[rows].tolist(), members.values[:, rows])
            series, at = series.joined(more, in_order=not late)
            if values.shape[1]:
                self.late += late
                first = int(at.min())
                traced = _traced(self._function, self.wanted, series.values, first)
                values[:, rows] = traced[:, at - first]
            self._series[key] = series = series.last(_KEPT_WINDOWS * self.wanted.window)
            self._planes += len(series.order)
        while self._planes > MAX_PLANES and len(self._series) > 1:
            _, oldest = self._series.popitem(last=False)
            self._planes -= len(oldest.order)
            self.forgotten += 1


@dataclass(frozen=True, slots=True)
class _Members:
    """Planes from `entries`, column by column.

    Attributes:
        values: Features, shape (feature, plane); NaN where missing.
        object_id: Shape (plane,).
        sorted: Rows with all features, in the order of the stream.
        code: Substream of each plane, shape (plane,).
        keys: Its key.
        table: The table itself.
    """

    values: NDArray[np.float64]
    object_id: NDArray[np.object_]
    sorted: NDArray[np.int64]
    code: NDArray[np.int64]
    keys: NDArray[np.object_]
    table: pa.Table

    @classmethod
    def of(cls, found: pa.Table, wanted: LookBack) -> _Members:
        values = np.array([columns.floats(found[name]) for name in wanted.features])
        values = values.reshape(len(wanted.features), found.num_rows)
        order = pc.sort_indices(found, sort_keys=ORDER).to_numpy().astype(np.int64)
        known = np.isfinite(values).all(axis=0)
        code, keys = columns.codes(found["key"])
        return cls(values, columns.texts(found["object_id"]), order[known[order]], code, keys, found)

    def substreams(self) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """Yield each substream's key and its rows in the order of the stream."""
        grouped = self.sorted[np.argsort(self.code[self.sorted], kind="stable")]
        edges = np.searchsorted(self.code[grouped], np.arange(len(self.keys) + 1))
        for number, (start, stop) in enumerate(pairwise(edges.tolist())):
            if stop > start:
                yield str(self.keys[number]), grouped[start:stop]

    def places(self) -> list[Place]:
        """Return the place of every row in the order of the stream."""
        return list(zip(*(self.table[name].to_pylist() for name, _ in ORDER), strict=True))


@dataclass(frozen=True, slots=True)
class _Series:
    """The latest planes of one substream, in the order of the stream.

    Attributes:
        order: Place of each plane in it.
        object_id: Its object.
        values: Features, shape (feature, plane).
    """

    order: list[Place]
    object_id: list[str]
    values: NDArray[np.float64]

    @classmethod
    def empty(cls, features: int) -> _Series:
        return cls([], [], np.empty((features, 0)))

    def without(self, objects: set[str]) -> _Series:
        if objects.isdisjoint(self.object_id):
            return self
        return self._at([at for at, name in enumerate(self.object_id) if name not in objects])

    def joined(self, more: _Series, *, in_order: bool) -> tuple[_Series, NDArray[np.int64]]:
        """Put planes in their places; also return their positions, shape (plane,)."""
        both = _Series(
            order=[*self.order, *more.order],
            object_id=[*self.object_id, *more.object_id],
            values=np.concatenate([self.values, more.values], axis=1),
        )
        appended = np.arange(len(self.order), len(both.order))
        if in_order:
            return both, appended
        by_place = sorted(range(len(both.order)), key=both.order.__getitem__)
        return both._at(by_place), np.argsort(by_place)[appended]

    def last(self, count: int) -> _Series:
        if len(self.order) <= count:
            return self
        return _Series(self.order[-count:], self.object_id[-count:], self.values[:, -count:].copy())

    def _at(self, positions: Sequence[int]) -> _Series:
        return _Series(
            [self.order[at] for at in positions], [self.object_id[at] for at in positions], self.values[:, positions]
        )


def found_for(history: pa.Table, planes: pa.Table, function: InterestingnessFunction) -> dict[str, Values]:
    """Return what a function found in earlier planes, in the order of the planes that are scored.

    Args:
        history: Table of history of the run or the batch.
        planes: Planes that were measured, with object_id and plane.
        function: Interestingness function.

    Returns:
        Values by column, each of shape (plane,); none for a function that doesn't look back.

    Raises:
        TableError: if the table doesn't know the function's columns, or not all planes.
    """
    if not looks_back(function):
        return {}
    wanted = function.look_back().columns
    missing = [name for name in wanted if name not in history.column_names]
    near = history.filter(pc.is_in(history["object_id"], value_set=pc.unique(planes["object_id"])))
    place = {pair: row for row, pair in enumerate(_pairs(near))}
    rows = np.array([place.get(pair, -1) for pair in _pairs(planes)], dtype=np.int64)
    if missing or (rows < 0).any():
        what = f"column {missing[0]!r}" if missing else f"plane of object {planes['object_id'][int(rows.argmin())]}"
        raise TableError(f"history.parquet has no {what}: run the step `baseline`, or `tierflow run` again")
    return {name: columns.floats(near[name])[rows] for name in wanted}


def _pairs(table: pa.Table) -> Iterator[tuple[Any, Any]]:
    return zip(table["object_id"].to_pylist(), table["plane"].to_pylist(), strict=True)


def _traced(function: LooksBack, wanted: LookBack, values: NDArray[np.float64], first: int) -> NDArray[np.float64]:
    """Return what the function finds, shape (column, plane - first).

    Raises:
        ConfigError: if it fails or gives something else than it should.
    """
    count = values.shape[1] - first
    try:
        with np.errstate(all="ignore"):
            found = function.trace(dict(zip(wanted.features, values, strict=True)), first)
        made = np.array([np.asarray(found[name], dtype=np.float64) for name in wanted.columns])
    except Exception as error:
        raise ConfigError(
            f"interestingness function {function.name!r} failed while it looked back at earlier planes: "
            f"{type(error).__name__}: {error}; correct the function or choose another with score.function"
        ) from error
    if made.shape != (len(wanted.columns), count):
        raise ConfigError(
            f"interestingness function {function.name!r} found arrays of shape {made.shape[1:]} in earlier planes, "
            f"expected ({count},): correct the function or choose another with score.function"
        )
    return made


def _as_table(found: pa.Table, values: NDArray[np.float64], wanted: LookBack) -> pa.Table:
    rows: dict[str, Any] = {"object_id": found["object_id"], "plane": found["plane"]}
    rows |= {name: columns.nullable(row, ~np.isnan(row)) for name, row in zip(wanted.columns, values, strict=True)}
    return columns.table(rows, schema=tables.history_schema(wanted.columns))

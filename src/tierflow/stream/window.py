"""What a stream compares new planes with: the running baseline, and the planes that came before.

The baseline of a group is the median and 1.4826 x MAD over its last `stream.window_planes` planes in the order of
arrival, those of the batch that is scored included; planes of one batch count in the order of the stream (see
`tierflow.scoring.history`). As long as nothing has left the window it equals the baseline of the step `baseline`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tierflow import tables
from tierflow.scoring import columns, groups, history
from tierflow.scoring.build import make_function
from tierflow.scoring.columns import compute as pc
from tierflow.scoring.folder import feature_names
from tierflow.scoring.score import needed_features
from tierflow.scoring.statistics import MAD_TO_SIGMA, middle

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tierflow.config import Config

MAX_GROUPS = 256
"""Groups (plate x channel) that are remembered, some 70 kB each; the one that was quiet longest goes first."""

LOAD_PLANES = 200_000
"""Planes that a restart reads again, at most."""

_SCAN_COLUMNS = list(dict.fromkeys([*groups.SCAN_COLUMNS, *history.SCAN_COLUMNS]))
_PLANE_COLUMNS = list(dict.fromkeys([*groups.PLANE_COLUMNS, *history.PLANE_COLUMNS]))
_BASELINE_COLUMNS = ("n", "median", "mad")


class Window:
    """The latest planes of a stream.

    It holds only the features that `score` reads: those of the interestingness function and of the flag rules. Memory
    is bounded by `MAX_GROUPS`, `stream.window_planes` and `tierflow.scoring.history.MAX_PLANES`.

    Args:
        config: Configuration of the stream.

    Raises:
        ConfigError: if the interestingness function or its parameters are wrong.
    """

    def __init__(self, config: Config) -> None:
        function = make_function(config)
        self.features = needed_features(function, config)
        self._by = config.baseline.by
        self._size = config.stream.window_planes
        self._groups: OrderedDict[groups.Key, _Group] = OrderedDict()
        self._substreams = history.Substreams(function) if history.looks_back(function) else None
        self._history = tables.history_schema(()).empty_table()
        self.forgotten = 0

    @property
    def late(self) -> int:
        """Return how many planes came after ones that follow them in the order of the stream, if a function cares."""
        return self._substreams.late if self._substreams else 0

    def health(self) -> dict[str, int]:
        """Return numbers for the state of the stream: what is held, what came late, what was dropped."""
        return {
            "groups": len(self._groups),
            "planes": sum(len(group.owner) for group in self._groups.values()),
            "groups_forgotten": self.forgotten,
            "history_planes": self._substreams.planes if self._substreams else 0,
            "history_late": self.late,
            "history_forgotten": self._substreams.forgotten if self._substreams else 0,
        }

    def load(self, output: Path) -> None:
        """Read the latest planes of an output again: shard by shard from the last, until all is known or `LOAD_PLANES`.

        The order of arrival isn't in the tables; the order of the stream stands for it.

        Args:
            output: Output folder of the stream; one without tables leaves the window empty.

        Raises:
            TableError: if a table is damaged.
        """
        self._groups.clear()
        scans, extracts, planes = [], [], 0
        counted: dict[groups.Key, int] = {}
        for extract in sorted((output / "extract").glob("[0-9]*.parquet"), key=lambda p: int(p.stem), reverse=True):
            scan = output / "scan" / "shards" / extract.name
            if not scan.exists():
                continue
            scans.append(tables.read(scan, _SCAN_COLUMNS))
            present = set(feature_names(extract))
            extracts.append(tables.read(extract, [*_PLANE_COLUMNS, *(f for f in self.features if f in present)]))
            planes += extracts[-1].num_rows
            if planes >= LOAD_PLANES or self._is_enough(counted, scans[-1], extracts[-1]):
                break
        if scans:
            self._remember(pa.concat_tables(scans), pa.concat_tables(extracts, promote_options="default"), quiet=True)

    def add(self, scan_table: pa.Table, extract_table: pa.Table) -> None:
        """Take a batch in, before it is scored.

        Objects that are known already are replaced: they were written again, or their batch is handled again.

        Args:
            scan_table: Scan table of the batch.
            extract_table: Its measured planes.
        """
        self._remember(scan_table, extract_table, quiet=False)

    def baseline(self) -> pa.Table:
        """Return the baseline of all groups that are held, a table of the schema `tables.BASELINE`."""
        keys = sorted(self._groups)
        features = sorted(self.features)
        at = [self.features.index(name) for name in features]
        sums = [self._groups[key].sums()[:, at] for key in keys]
        joined = np.concatenate(sums, axis=1) if sums else np.empty((len(_BASELINE_COLUMNS), 0))
        rows: dict[str, Any] = {
            "plate": [plate for plate, _ in keys for _ in features],
            "channel": [channel for _, channel in keys for _ in features],
            "feature": features * len(keys),
        }
        rows |= {"n": joined[0].astype(np.int64), "median": joined[1], "mad": joined[2]}
        return columns.table(rows, schema=tables.BASELINE)

    def history(self) -> pa.Table:
        """Return what the planes of the batch that was added last found in earlier planes: `tables.history_schema`."""
        return self._history

    def _is_enough(self, counted: dict[groups.Key, int], scan: pa.Table, extract: pa.Table) -> bool:
        """Count the planes of a shard; tell whether every group seen so far has its window full."""
        if self._substreams:
            # Substreams are many and mostly too short ever to be full.
            return False
        _, codes, keys = self._grouped(scan, extract)
        for key, n in zip(keys, np.bincount(codes, minlength=len(keys)).tolist(), strict=True):
            counted[key] = counted.get(key, 0) + n
        return bool(counted) and min(counted.values()) >= self._size

    def _grouped(self, scan: pa.Table, extract: pa.Table) -> tuple[pa.Table, NDArray[np.int64], list[groups.Key]]:
        """Return the planes that could be measured, in the order of the stream, and their groups."""
        rows = groups.object_rows(extract, scan)
        good = np.flatnonzero(columns.equals(extract["status"], "ok") & (rows >= 0))
        at, planes = rows[good], extract.take(good)
        order = planes.select(["plane"])
        for name in ("mtime_ns", "path_bytes"):
            order = order.append_column(name, scan[name].take(at))
        turn = pc.sort_indices(order, sort_keys=history.ORDER).to_numpy()
        planes, at = planes.take(turn), at[turn]
        codes, keys = groups.group_codes(groups.plates_of(scan, at), groups.channels_of(planes, scan, at), by=self._by)
        return planes, codes, keys

    def _remember(self, scan: pa.Table, extract: pa.Table, *, quiet: bool) -> None:
        planes, codes, keys = self._grouped(scan, extract)
        absent = np.full(planes.num_rows, np.nan)
        names = planes.column_names
        values = np.array([columns.floats(planes[f]) if f in names else absent for f in self.features])
        values = values.reshape(len(self.features), planes.num_rows)
        owner = np.array([hash(name) for name in planes["object_id"].to_pylist()], dtype=np.int64)
        for number, key in enumerate(keys):
            rows = np.flatnonzero(codes == number)
            group = self._groups.pop(key, None) or _Group.empty(len(self.features))
            group.add(values[:, rows], owner[rows], keep=self._size)
            self._groups[key] = group
        while len(self._groups) > MAX_GROUPS:
            self._groups.popitem(last=False)
            self.forgotten += 1
        if self._substreams:
            found = history.entries(scan, extract, self._substreams.wanted)
            if quiet:
                self._substreams.fill(found)
            else:
                self._history = self._substreams.add(found)


@dataclass(slots=True)
class _Group:
    """The latest planes of one group, in the order of arrival.

    Attributes:
        values: Features, shape (feature, plane).
        owner: Hash of each plane's object_id, shape (plane,); two objects of one hash are rarer than failing disks.
        known: n, median and MAD of each feature, shape (3, feature); None when planes came since.
    """

    values: NDArray[np.float64]
    owner: NDArray[np.int64]
    known: NDArray[np.float64] | None = None

    @classmethod
    def empty(cls, features: int) -> _Group:
        return cls(np.empty((features, 0)), np.empty(0, dtype=np.int64))

    def add(self, values: NDArray[np.float64], owner: NDArray[np.int64], *, keep: int) -> None:
        kept = ~np.isin(self.owner, owner)
        self.values = np.concatenate([self.values[:, kept], values], axis=1)[:, -keep:]
        self.owner = np.concatenate([self.owner[kept], owner])[-keep:]
        self.known = None

    def sums(self) -> NDArray[np.float64]:
        if self.known is None:
            self.known = np.array([_sums(row[np.isfinite(row)]) for row in self.values]).reshape(-1, 3).T
        return self.known


def _sums(finite: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return n, median and 1.4826 x MAD, as `tierflow.scoring.statistics.Groups` does for one group."""
    if not finite.size:
        return 0.0, np.nan, np.nan
    median = middle(finite)
    return float(finite.size), median, MAD_TO_SIGMA * middle(np.abs(finite - median))

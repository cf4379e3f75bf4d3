"""The objects of a run as columns: what every chart and table of the report is computed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tierflow import tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from tierflow.report.source import Source

    Mask = NDArray[np.bool_]
    Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Codes:
    """A column of texts, each stored once.

    Attributes:
        names: The texts that occur, sorted.
        codes: Position in `names` of each object, -1 for none, shape (object,).
    """

    names: list[str]
    codes: NDArray[np.int32]

    def counts(self) -> NDArray[np.int64]:
        """Return how many objects have each name."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.names))


@dataclass(frozen=True, slots=True)
class Objects:
    """Columns over all objects, each of shape (object,).

    Attributes:
        interestingness: In [0, 1], NaN where it couldn't be scored.
        size: Bytes of the file.
        measured: The object was read, measured and scored.
        tier: Its tier; no name where nothing was placed yet.
        plate: Its plate.
        channel: Its channel.
        well: Row and column of its well from 1, 0 where unknown.
        timepoint: Its time point, NaN where unknown.
        acquired_at: When it was taken, ISO 8601.
        flags: Which objects carry a flag, by flag.
        features: Values by feature, NaN where not measured; only those that the report draws.
    """

    interestingness: Values
    size: NDArray[np.int64]
    measured: Mask
    tier: Codes
    plate: Codes
    channel: Codes
    well: tuple[NDArray[np.int32], NDArray[np.int32]]
    timepoint: Values
    acquired_at: Codes
    flags: Mapping[str, Mask]
    features: Mapping[str, Values]

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.size)

    @property
    def flagged(self) -> Mask:
        """Objects that were measured and carry at least one flag."""
        found = np.zeros(len(self), dtype=bool)
        for mask in self.flags.values():
            found |= mask
        return found & self.measured


def read_objects(source: Source, features: Sequence[str]) -> Objects:
    """Read the columns that the report draws.

    Args:
        source: The objects.
        features: Features to read.
    """
    names = ("interestingness", "bytes", "status", "tier", "plate", "channel", "row", "column", "timepoint")
    table = source.columns([*names, "acquired_at", "flags", *features])
    score = _numbers(table, "interestingness")
    status = _codes(table, "status")
    ok = status.names.index("ok") if "ok" in status.names else -2
    return Objects(
        interestingness=score,
        size=np.nan_to_num(_numbers(table, "bytes")).astype(np.int64),
        measured=(status.codes == ok) & np.isfinite(score),
        tier=_codes(table, "tier"),
        plate=_codes(table, "plate"),
        channel=_codes(table, "channel"),
        well=(_whole(table, "row"), _whole(table, "column")),
        timepoint=_numbers(table, "timepoint"),
        acquired_at=_codes(table, "acquired_at"),
        flags=_flags(table),
        features={name: _numbers(table, name) for name in features if name in table.column_names},
    )


def read_corrected(source: Source) -> Mask:
    """Tell which objects a person put into their tier, against the policy, shape (object,)."""
    return _codes(source.columns(["corrected_by", "object_id"]), "corrected_by").codes >= 0


def choose_features(schema: pa.Schema, preferred: Iterable[str], limit: int) -> list[str]:
    """Return up to `limit` feature columns: the preferred ones that exist, in their order, then others."""
    present = tables.feature_columns(schema)
    chosen = [name for name in dict.fromkeys(preferred) if name in present]
    return (chosen or present)[:limit]


def _numbers(table: pa.Table, name: str) -> Values:
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    column = table[name].cast(pa.float64())
    values: Values = column.to_numpy().astype(np.float64)
    # Infinite values have no place on an axis.
    return np.where(np.isfinite(values), values, np.nan)


def _whole(table: pa.Table, name: str) -> NDArray[np.int32]:
    return np.nan_to_num(_numbers(table, name)).astype(np.int32)


def _codes(table: pa.Table, name: str) -> Codes:
    if name not in table.column_names:
        return Codes([], np.full(table.num_rows, -1, dtype=np.int32))
    column: Any = table[name].cast(pa.string()).dictionary_encode().combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks else pa.array([], pa.string()).dictionary_encode()
    names = column.dictionary.to_pylist()
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    order = sorted(range(len(names)), key=names.__getitem__)
    rank = np.empty(len(names) + 1, dtype=np.int32)
    rank[order] = np.arange(len(names))
    rank[len(names)] = -1
    return Codes([names[i] for i in order], rank[codes])


def _flags(table: pa.Table) -> dict[str, Mask]:
    if "flags" not in table.column_names or table.num_rows == 0:
        return {}
    lists: Any = table["flags"].combine_chunks()
    if isinstance(lists, pa.ChunkedArray):
        lists = pa.concat_arrays(lists.chunks)
    lengths = np.diff(lists.offsets.to_numpy())
    owner = np.repeat(np.arange(table.num_rows), lengths)
    values = _codes(pa.table({"flag": lists.flatten()}), "flag")
    found = {}
    for code, name in enumerate(values.names):
        mask = np.zeros(table.num_rows, dtype=bool)
        mask[owner[values.codes == code]] = True
        found[name] = mask
    return found

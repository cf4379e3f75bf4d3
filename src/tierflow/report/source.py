"""Where the objects come from: the catalogue's Parquet files, or a table that was joined from an unfinished run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tierflow import tables
from tierflow.errors import InputMissingError, TableError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


class Source(Protocol):
    """Rows of objects, of which columns or single rows can be had without holding everything."""

    @property
    def schema(self) -> pa.Schema:
        """Return the columns that there are."""

    def __len__(self) -> int:
        """Return the number of objects."""

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Return whole columns; names that don't exist are left out."""

    def rows(self, indices: Sequence[int], names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return some objects as dictionaries, in the order of `indices`."""


@dataclass(frozen=True, slots=True)
class TableSource:
    """Objects of a table in memory."""

    table: pa.Table

    @property
    def schema(self) -> pa.Schema:
        """Return the table's schema."""
        return self.table.schema

    def __len__(self) -> int:
        """Return the number of objects."""
        return self.table.num_rows

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Return whole columns; names that don't exist are left out."""
        return self.table.select([name for name in names if name in self.schema.names])

    def rows(self, indices: Sequence[int], names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return some objects as dictionaries, in the order of `indices`."""
        table = self.table if names is None else self.columns(names)
        return table.take(pa.array(indices, pa.int64())).to_pylist()


class CatalogueSource:
    """Objects of a catalogue folder: one Parquet file per shard, read column by column.

    Raises:
        InputMissingError: if the folder holds no table.
        TableError: if one of its tables is damaged or of another schema version.
    """

    def __init__(self, folder: Path) -> None:
        self._files = sorted(folder.glob("*.parquet"))
        if not self._files:
            raise InputMissingError(f"{folder} holds no table: run the step index, or `tierflow run` again")
        counts = [_rows_of(path) for path in self._files]
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._schema = tables.read(self._files[0]).schema

    @property
    def schema(self) -> pa.Schema:
        """Return the columns of the first file; all have the same."""
        return self._schema

    def __len__(self) -> int:
        """Return the number of objects."""
        return int(self._starts[-1])

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Return whole columns; names that don't exist are left out."""
        kept = [name for name in names if name in self.schema.names]
        return pa.concat_tables([tables.read(path, columns=kept) for path in self._files], promote_options="default")

    def rows(self, indices: Sequence[int], names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return some objects as dictionaries, in the order of `indices`."""
        wanted: NDArray[np.int64] = np.asarray(indices, dtype=np.int64)
        shard = np.searchsorted(self._starts, wanted, side="right") - 1
        kept = self.schema.names if names is None else [name for name in names if name in self.schema.names]
        found: dict[int, dict[str, Any]] = {}
        for which in np.unique(shard):
            here = wanted[shard == which]
            table = tables.read(self._files[which], columns=kept).take(pa.array(here - self._starts[which]))
            found.update(zip(here.tolist(), table.to_pylist(), strict=True))
        return [found[index] for index in wanted.tolist()]


def _rows_of(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowInvalid, OSError) as error:
        raise TableError(f"{path} can't be read as a table ({error}): delete it and run again") from error

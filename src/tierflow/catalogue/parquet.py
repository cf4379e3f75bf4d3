"""The embedded catalogue: the Parquet files of one output, searched by DuckDB. Always there; nothing is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tierflow import tables
from tierflow.catalogue import cursor as cursors
from tierflow.catalogue import sql
from tierflow.catalogue.base import PERCENTS, Folders
from tierflow.catalogue.checks import (
    bin_edges,
    check_bins,
    check_percents,
    checked_sort,
    facet_limit,
    groupable,
    numeric,
    page_limit,
    shown_columns,
    with_columns,
)
from tierflow.catalogue.engine import Engine
from tierflow.catalogue.export import export
from tierflow.catalogue.query import (
    EVERYTHING,
    TIE_BREAKERS,
    Bin,
    Filter,
    Page,
    Query,
    Scalar,
    Stats,
    check,
)
from tierflow.catalogue.sql import Sql, quoted
from tierflow.objectstore.connect import is_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

    from tierflow.catalogue.export import Format
    from tierflow.catalogue.fields import Field, Fields

PATH_COLUMNS = ("path", "path_bytes", "destination")


class ParquetCatalogue:
    """The catalogue of one output folder; meets the protocol `Catalogue`.

    A run may still be writing: every query sees the tables that are complete when it starts.

    Args:
        output: Output folder of a run.
        threads: Cores that a query may use.
        memory_mb: Memory that it may use before it spills to the system's temporary folder.
    """

    def __init__(self, output: Path, *, threads: int = 1, memory_mb: int = 500) -> None:
        self._output = output
        self._engine = Engine(output, threads=threads, memory_mb=memory_mb)

    def fields(self) -> Fields:
        """Return the fields that queries may name.

        Raises:
            InputMissingError: if there is no catalogue yet.
        """
        return self._engine.snapshot().fields

    def get(self, object_id: str) -> dict[str, Any] | None:
        """Return everything that is recorded about an object; None if it isn't there.

        Of several runs' records, that of the newest `scored_at` (then of the first run by name) is returned.
        """
        found = self._engine.rows(
            Sql(
                "SELECT filename, run FROM objects WHERE object_id = ? ORDER BY scored_at DESC NULLS LAST, run LIMIT 1",
                (object_id,),
            )
        )
        if not found:
            return None
        # Reading the one file is faster than having the engine decode all columns of all files.
        table = tables.read(Path(found[0][0]))
        rows = table.filter(pc.equal(table["object_id"], pa.scalar(object_id))).to_pylist()
        rows = [row for row in rows if row["run"] == found[0][1]]
        # Tables of other shards may have columns that this one lacks.
        return dict.fromkeys(self._engine.snapshot().schema.names) | rows[0] if rows else None

    def search(self, query: Query) -> Page:
        """Return one page of objects.

        Raises:
            QueryError: if the query doesn't fit the catalogue, or its limit isn't 1 to 10,000.
        """
        limit = page_limit(query.limit)
        fields = self.fields()
        filters, sort = check(query.filters, fields), checked_sort(query.sort, fields)
        columns = shown_columns(query.columns, fields)
        keys = [*(fields[key.field].column for key in sort), *TIE_BREAKERS]
        condition = sql.where(filters, fields)
        start = Sql("TRUE")
        if query.cursor is not None:
            start = sql.after(cursors.decode(query.cursor, sort=sort, filters=filters), sort, fields)
        found = self._engine.rows(
            Sql(
                f"{_select([*columns, *keys])} WHERE {condition.text} AND {start.text} "
                f"ORDER BY {sql.order_by(sort, fields)} LIMIT ?",
                (*condition.values, *start.values, limit + 1),
            )
        )
        rows = found[:limit]
        more = len(found) > limit
        return Page(
            rows=tuple(dict(zip(columns, row, strict=False)) for row in rows),
            next_cursor=cursors.encode(rows[-1][len(columns) :], sort=sort, filters=filters) if more else None,
            total=self.count(filters),
        )

    def count(self, filters: Filter = EVERYTHING) -> int:
        """Return the number of objects that fulfil the filters."""
        condition = self._where(filters)
        found: int = self._engine.rows(Sql(f"SELECT count(*) FROM objects WHERE {condition.text}", condition.values))[
            0
        ][0]
        return found

    def facets(self, field: str, *, filters: Filter = EVERYTHING, limit: int = 100) -> list[tuple[Scalar, int]]:
        """Return the values of a field and how many objects have each, the most frequent first, ties by value."""
        group, condition = self._group(field), self._where(filters)
        parts = f"SELECT {group} AS part FROM objects WHERE {condition.text}"
        statement = (
            f"SELECT part, count(*) AS n FROM ({parts}) WHERE part IS NOT NULL "
            "GROUP BY part ORDER BY n DESC, part ASC LIMIT ?"
        )
        return [
            (value, count)
            for value, count in self._engine.rows(Sql(statement, (*condition.values, facet_limit(limit))))
        ]

    def histogram(self, field: str, *, bins: int = 10, filters: Filter = EVERYTHING) -> list[Bin]:
        """Return counts in equal bins from the smallest to the largest value; one bin when all are equal.

        Raises:
            QueryError: if the field holds no numbers or `bins` isn't 1 to 10,000.
        """
        check_bins(bins)
        [whole] = self.stats(field, filters=filters)
        if whole.minimum is None or whole.maximum is None:
            return []
        edges = bin_edges(whole.minimum, whole.maximum, bins)
        bins = len(edges) - 1
        counts = np.zeros(bins, dtype=np.int64)
        for values in self._values(numeric(field, self.fields()), filters):
            counts += np.bincount(
                np.clip(np.searchsorted(edges, values, side="right") - 1, 0, bins - 1), minlength=bins
            )
        triples = zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
        return [Bin(low, high, count) for low, high, count in triples]

    def percentiles(
        self, field: str, *, percents: Sequence[float] = PERCENTS, filters: Filter = EVERYTHING
    ) -> dict[float, float | None]:
        """Return values by percent (0 to 100), linearly interpolated between neighbours; None without values.

        Raises:
            QueryError: if the field holds no numbers or a percent isn't 0 to 100.
        """
        check_percents(percents)
        column, condition = quoted(numeric(field, self.fields()).column), self._where(filters)
        [(found,)] = self._engine.rows(
            Sql(
                f"SELECT quantile_cont({column}::DOUBLE, ?) FROM objects WHERE {condition.text}",
                ([percent / 100 for percent in percents], *condition.values),
            )
        )
        return dict(zip(percents, found or [None] * len(percents), strict=True))

    def stats(self, field: str, *, by: str | None = None, filters: Filter = EVERYTHING) -> list[Stats]:
        """Return numbers about a field, for all objects or for each value of the field `by`, ordered by it.

        Raises:
            QueryError: if the field holds no numbers.
        """
        column, condition = quoted(numeric(field, self.fields()).column), self._where(filters)
        group = "NULL" if by is None else self._group(by)
        grouped = "" if by is None else "WHERE part IS NOT NULL GROUP BY part HAVING count(value) > 0 ORDER BY part"
        inner = f"SELECT {group} AS part, {column}::DOUBLE AS value FROM objects WHERE {condition.text}"
        found = self._engine.rows(
            Sql(
                f"SELECT {'NULL' if by is None else 'part'}, count(value), min(value), max(value), avg(value), "
                f"stddev_pop(value) FROM ({inner}) {grouped}",
                condition.values,
            )
        )
        return [Stats(*row) for row in found]

    def batches(self, query: Query) -> pa.RecordBatchReader:
        """Stream all objects of a query (up to its limit, None for all) in its order; the cursor is not used.

        Without `columns` the batches hold every column. The schema carries units and meanings.
        """
        snapshot = self._engine.snapshot()
        fields = snapshot.fields
        names = shown_columns(query.columns, fields) if query.columns else snapshot.schema.names
        schema = pa.schema([snapshot.schema.field(name) for name in names])
        condition = self._where(query.filters)
        order = sql.order_by(checked_sort(query.sort, fields), fields)
        limit = "" if query.limit is None else "LIMIT ?"
        values = condition.values if query.limit is None else (*condition.values, query.limit)
        statement = Sql(f"{_select(names)} WHERE {condition.text} ORDER BY {order} {limit}", values)
        return pa.RecordBatchReader.from_batches(schema, _cast(self._engine.batches(statement), schema))

    def paths(self, query: Query) -> Iterator[bytes]:
        """Yield where each object's file is now, as the file system's own bytes, in the order of the query."""
        source = self._engine.snapshot().source
        for batch in self.batches(with_columns(query, PATH_COLUMNS)):
            columns = (batch.column(name).to_pylist() for name in PATH_COLUMNS)
            for path, path_bytes, destination in zip(*columns, strict=True):
                yield current_path(
                    path=path, path_bytes=path_bytes, destination=destination, source=source, output=self._output
                )

    def folders(self, run: str) -> Folders:  # noqa: ARG002 - an output holds one run
        """Return the folders of the run."""
        return Folders(self._engine.snapshot().source, str(self._output))

    def export(self, query: Query, fmt: Format, target: Path | BinaryIO) -> int:
        """Write all objects of a query; see `tierflow.catalogue.export.export`."""
        return export(self, query, fmt, target)

    def _where(self, filters: Filter) -> Sql:
        fields = self.fields()
        return sql.where(check(filters, fields), fields)

    def _group(self, name: str) -> str:
        field = groupable(name, self.fields())
        column = quoted(field.column)
        return f"unnest(list_distinct({column}))" if field.kind == "texts" else column

    def _values(self, field: Field, filters: Filter) -> Iterator[Any]:
        column, condition = quoted(field.column), self._where(filters)
        text = f"SELECT {column}::DOUBLE AS value FROM objects WHERE {condition.text} AND {column} IS NOT NULL"
        for batch in self._engine.batches(Sql(text, condition.values)):
            yield batch.column("value").to_numpy()


def current_path(*, path: str, path_bytes: bytes, destination: str | None, source: str, output: Path) -> bytes:
    """Return where a file is now, as the file system's own bytes.

    Args:
        path: Column `path`.
        path_bytes: Column `path_bytes`.
        destination: Column `destination`; relative ones lie in the output.
        source: Input folder.
        output: Output folder of the run.
    """
    if destination is None:
        return os.fsencode(source).rstrip(b"/") + b"/" + path_bytes
    if is_url(destination):
        return destination.encode()
    # Destinations end with the path, in which bytes that aren't UTF-8 were made readable: take the true ones.
    folder = destination.removesuffix(path)
    raw = os.fsencode(folder) + path_bytes if folder != destination else os.fsencode(destination)
    return os.path.join(os.fsencode(output), raw)  # noqa: PTH118 - pathlib has no bytes


def _select(columns: Iterable[str]) -> str:
    return f"SELECT {', '.join(quoted(name) for name in columns)} FROM objects"


def _cast(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield from pa.Table.from_batches([batch]).cast(schema).to_batches()

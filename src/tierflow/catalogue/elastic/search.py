"""The catalogue of a server: the same queries and answers as the embedded one, over one run or all of them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tierflow.catalogue import cursor as cursors
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
from tierflow.catalogue.elastic import compile as dsl
from tierflow.catalogue.elastic.connection import connect
from tierflow.catalogue.elastic.described import read_schema
from tierflow.catalogue.elastic.documents import SENT_ONLY, record
from tierflow.catalogue.elastic.figures import RangeCounts, stats_of
from tierflow.catalogue.elastic.ranks import between, interpolated, order_statistics
from tierflow.catalogue.elastic.template import runs_alias
from tierflow.catalogue.elastic.views import ask, groups, hits, view
from tierflow.catalogue.export import export
from tierflow.catalogue.fields import Fields
from tierflow.catalogue.parquet import PATH_COLUMNS, current_path
from tierflow.catalogue.query import (
    EVERYTHING,
    MAX_PAGE,
    TIE_BREAKERS,
    And,
    Bin,
    Eq,
    Filter,
    Page,
    Query,
    Scalar,
    Sort,
    Stats,
    check,
    valid_text,
)
from tierflow.errors import InputMissingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

    from tierflow.catalogue.elastic.compile import Tree
    from tierflow.catalogue.export import Format
    from tierflow.config import Elasticsearch

FRESH_S = 2.0
"""Seconds for which the fields that the server knows aren't asked for again."""
MAX_TERMS = 10_000
WHOLE_PAGE = 2500
NARROW_PAGE = 10_000
NARROW = 12
"""Columns up to which many rows are fetched at once."""


class ElasticCatalogue:
    """The catalogue behind an alias; meets the protocol `Catalogue`.

    Searches see what was refreshed, which the server does every second. Answers of more than one request come from one
    unchanging view. Objects that several runs hold are there once per run.

    Args:
        settings: Address, credentials and alias.
        run: Name of the run to look at; None for all.
    """

    def __init__(self, settings: Elasticsearch, *, run: str | None = None) -> None:
        self._settings, self._run = settings, run
        self._client = connect(settings)
        self._known: tuple[float, pa.Schema, Fields] | None = None

    def fields(self) -> Fields:
        """Return the fields that queries may name.

        Raises:
            InputMissingError: if the server has no such catalogue.
            TryAgainError: if the server is away.
        """
        return self._described()[1]

    def get(self, object_id: str) -> dict[str, Any] | None:
        """Return everything that is recorded about an object; None if it isn't there.

        Of several runs' records, that of the newest `scored_at` (then of the first run by name) is returned.
        """
        schema, fields = self._described()
        newest = (Sort("scored_at", descending=True), Sort("run"))
        found = ask(
            self._client,
            self._settings,
            query=self._query(Eq("object_id", valid_text(object_id)), fields),
            sort=dsl.order_by(newest, fields),
            size=1,
            track_total_hits=False,
        )["hits"]["hits"]
        return record(found[0]["_source"], schema.names) if found else None

    def search(self, query: Query) -> Page:
        """Return one page of objects.

        Raises:
            QueryError: if the query doesn't fit the catalogue or is beyond the server's limits, or its limit isn't 1 to
                10,000.
        """
        limit = page_limit(query.limit)
        fields = self.fields()
        filters, sort = check(query.filters, fields), checked_sort(query.sort, fields)
        columns = shown_columns(query.columns, fields)
        keys = [*(fields[key.field].column for key in sort), *TIE_BREAKERS]
        start: dict[str, Any] = {}
        if query.cursor is not None:
            last = cursors.decode(query.cursor, sort=sort, filters=filters)
            start = {"search_after": dsl.after(last, sort, fields)}
        asked: Tree = {"query": self._query(filters, fields), "sort": dsl.order_by(sort, fields)}
        found = ask(
            self._client,
            self._settings,
            **asked,
            **start,
            size=min(limit + 1, MAX_PAGE),
            source=_source([*columns, *keys], fields),
            track_total_hits=True,
        )["hits"]
        rows = [hit["_source"] for hit in found["hits"]]
        more = len(rows) > limit or (len(rows) == MAX_PAGE and self._goes_on(asked, found["hits"][-1]["sort"]))
        rows = rows[:limit]
        end = tuple(record(rows[-1], keys)[key] for key in keys) if more else ()
        return Page(
            rows=tuple(record(row, columns) for row in rows),
            next_cursor=cursors.encode(end, sort=sort, filters=filters) if more else None,
            total=found["total"]["value"],
        )

    def count(self, filters: Filter = EVERYTHING) -> int:
        """Return the number of objects that fulfil the filters."""
        fields = self.fields()
        query = self._query(check(filters, fields), fields)
        found = ask(self._client, self._settings, query=query, size=0, track_total_hits=True)
        total: int = found["hits"]["total"]["value"]
        return total

    def facets(self, field: str, *, filters: Filter = EVERYTHING, limit: int = 100) -> list[tuple[Scalar, int]]:
        """Return the values of a field and how many objects have each, the most frequent first, ties by value."""
        fields = self.fields()
        name, query = groupable(field, fields).name, self._query(check(filters, fields), fields)
        size = min(facet_limit(limit), MAX_TERMS)
        terms = {"field": name, "size": size, "shard_size": MAX_TERMS, "order": [{"_count": "desc"}, {"_key": "asc"}]}
        with view(self._client, self._settings) as search:
            found = search(query=query, size=0, aggs={"values": {"terms": terms}}, track_total_hits=False)
            values = found["aggregations"]["values"]
            whole = not values["sum_other_doc_count"] or size == limit
            if whole and not values["doc_count_error_upper_bound"]:
                return [(bucket["key"], bucket["doc_count"]) for bucket in values["buckets"]]
            # Shards that keep only their own most frequent values can't tell those of the whole.
            buckets = groups(search, query=query, by={"value": name})
            counts = {bucket["key"]["value"]: bucket["doc_count"] for bucket in buckets}
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]

    def histogram(self, field: str, *, bins: int = 10, filters: Filter = EVERYTHING) -> list[Bin]:
        """Return counts in equal bins from the smallest to the largest value; one bin when all are equal.

        Raises:
            QueryError: if the field holds no numbers or `bins` isn't 1 to 10,000.
        """
        check_bins(bins)
        fields = self.fields()
        name, query = numeric(field, fields).name, self._query(check(filters, fields), fields)
        with view(self._client, self._settings) as search:
            [whole] = stats_of(search, query, name)
            if whole.minimum is None or whole.maximum is None:
                return []
            edges = bin_edges(whole.minimum, whole.maximum, bins).tolist()
            ranges = list(zip(edges[:-1], [*edges[1:-1], float("inf")], strict=True))
            # Between neighbouring doubles some bins have no room.
            roomy = [low < high for low, high in ranges]
            asked = [bounds for bounds, room in zip(ranges, roomy, strict=True) if room]
            counts = iter(RangeCounts(search, query, name).in_ranges(asked))
        return [
            Bin(low, high, next(counts) if room else 0)
            for low, high, room in zip(edges[:-1], edges[1:], roomy, strict=True)
        ]

    def percentiles(
        self, field: str, *, percents: Sequence[float] = PERCENTS, filters: Filter = EVERYTHING
    ) -> dict[float, float | None]:
        """Return values by percent (0 to 100), linearly interpolated between neighbours; None without values.

        Raises:
            QueryError: if the field holds no numbers or a percent isn't 0 to 100.
        """
        check_percents(percents)
        fields = self.fields()
        name, query = numeric(field, fields).name, self._query(check(filters, fields), fields)
        with view(self._client, self._settings) as search:
            wanted = {"value": {"stats": {"field": name}}}
            whole = search(query=query, size=0, aggs=wanted, track_total_hits=False)["aggregations"]["value"]
            if not whole["count"]:
                return dict.fromkeys(percents)
            places = interpolated(percents, whole["count"])
            found = order_statistics(
                RangeCounts(search, query, name),
                ranks=[rank for low, high, _ in places.values() for rank in (low, high)],
                count=whole["count"],
                minimum=whole["min"],
                maximum=whole["max"],
            )
        return {percent: between(found[low], found[high], share) for percent, (low, high, share) in places.items()}

    def stats(self, field: str, *, by: str | None = None, filters: Filter = EVERYTHING) -> list[Stats]:
        """Return numbers about a field, for all objects or for each value of the field `by`, ordered by it.

        Raises:
            QueryError: if the field holds no numbers.
        """
        fields = self.fields()
        name, query = numeric(field, fields).name, self._query(check(filters, fields), fields)
        group = None if by is None else groupable(by, fields).name
        with view(self._client, self._settings) as search:
            return stats_of(search, query, name, by=group)

    def batches(self, query: Query) -> pa.RecordBatchReader:
        """Stream all objects of a query (up to its limit, None for all) in its order; the cursor is not used.

        Without `columns` the batches hold every column. The schema carries units and meanings.
        """
        whole, fields = self._described()
        names = shown_columns(query.columns, fields) if query.columns else whole.names
        schema = pa.schema([whole.field(name) for name in names])
        asked = self._query(check(query.filters, fields), fields)
        order = dsl.order_by(checked_sort(query.sort, fields), fields)
        source = _source(names, fields)
        return pa.RecordBatchReader.from_batches(schema, self._batches(asked, order, source, schema, query.limit))

    def paths(self, query: Query) -> Iterator[bytes]:
        """Yield where each object's file is now, as the file system's own bytes, in the order of the query."""
        known: dict[str, Folders] = {}
        for batch in self.batches(with_columns(query, (*PATH_COLUMNS, "run"))):
            columns = (batch.column(name).to_pylist() for name in (*PATH_COLUMNS, "run"))
            for path, path_bytes, destination, run in zip(*columns, strict=True):
                if run not in known:
                    known[run] = self.folders(run)
                source, output = known[run]
                yield current_path(
                    path=path, path_bytes=path_bytes, destination=destination, source=source, output=Path(output)
                )

    def folders(self, run: str) -> Folders:
        """Return the folders of a run.

        Raises:
            InputMissingError: if the server doesn't know the run.
        """
        found = ask(
            self._client,
            self._settings,
            index=runs_alias(self._settings.alias),
            query={"term": {"run": {"value": run}}},
            size=1,
            source=["input", "output"],
        )["hits"]["hits"]
        if not found:
            raise InputMissingError(
                f"Elasticsearch at {self._settings.url} doesn't know where the files of run {run!r} are: publish the "
                "run again by `tierflow elastic rebuild OUTPUT`"
            )
        source = found[0]["_source"]
        return Folders(source.get("input", ""), source.get("output", ""))

    def export(self, query: Query, fmt: Format, target: Path | BinaryIO) -> int:
        """Write all objects of a query; see `tierflow.catalogue.export.export`."""
        return export(self, query, fmt, target)

    def _described(self) -> tuple[pa.Schema, Fields]:
        now = time.monotonic()
        if self._known is None or now - self._known[0] > FRESH_S:
            schema = read_schema(self._client, self._settings, run=self._run)
            self._known = (now, schema, Fields.of_schema(schema))
        return self._known[1:]

    def _query(self, filters: Filter, fields: Fields) -> Tree:
        return dsl.where(filters if self._run is None else And((Eq("run", self._run), filters)), fields)

    def _goes_on(self, asked: Tree, last: list[Any]) -> bool:
        """Tell whether something follows the largest page, which has no room for one row more."""
        found = ask(self._client, self._settings, **asked, size=1, search_after=last, track_total_hits=False)
        return bool(found["hits"]["hits"])

    def _batches(
        self, query: Tree, order: list[Tree], source: Tree, schema: pa.Schema, limit: int | None
    ) -> Iterator[pa.RecordBatch]:
        page = NARROW_PAGE if len(schema) <= NARROW else WHOLE_PAGE
        with view(self._client, self._settings) as search:
            for found in hits(search, query=query, sort=order, page=page, limit=limit, source=source):
                rows = [record(hit["_source"], schema.names) for hit in found]
                yield pa.RecordBatch.from_pylist(rows, schema=schema)


def _source(columns: Iterable[str], fields: Fields) -> Tree:
    """Return the parts of documents that hold these columns."""
    wanted = set(columns)
    if "path_bytes" in wanted:
        wanted.add("path")  # bytes that are UTF-8 aren't kept twice
    names = [field.name for field in fields.values() if field.column in wanted]
    if len(names) <= len(fields) // 2:
        return {"includes": names}
    return {"excludes": [*SENT_ONLY, *(field.name for field in fields.values() if field.column not in wanted)]}

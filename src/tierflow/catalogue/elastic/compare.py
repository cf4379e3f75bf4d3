"""Compare an output's Parquet catalogue with the server, record by record and in both directions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson
import pyarrow as pa

from tierflow import tables
from tierflow.catalogue.elastic.documents import document_id, documents
from tierflow.catalogue.elastic.pages import pages
from tierflow.catalogue.engine import connect
from tierflow.io.identity import ID_DIGITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from elasticsearch import Elasticsearch as Client

    from tierflow.catalogue.elastic.documents import Document
    from tierflow.catalogue.elastic.outputs import Output

Kind = Literal["missing", "extra", "different", "dead"]
KINDS: tuple[Kind, ...] = ("missing", "extra", "different", "dead")
OUTSIDE_DIGEST = ("indexed_at", "digest")
ROWS = 5000
_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("object_id", "id", "digest", "path", "file")] + [("row", pa.int64())]
)
_DEAD_SCHEMA = pa.schema([("object_id", pa.string()), ("reason", pa.string())])


@dataclass(frozen=True, slots=True)
class Expected:
    """What the server should have for one record.

    Attributes:
        object_id: The object.
        id: `_id` of its document.
        digest: Digest of the document.
        path: Path of the object.
        file: Catalogue table that holds the record.
        row: Its row, from 0.
        dead: Why the server refused it; None if it didn't.
    """

    object_id: str
    id: str
    digest: str
    path: str = ""
    file: str = ""
    row: int = 0
    dead: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A document of the server.

    Attributes:
        object_id: The object that it says it is about; "" for none.
        id: Its `_id`.
        digest: Digest of what it holds, worked out anew.
        version: Its version.
        source: The document.
    """

    object_id: str
    id: str
    digest: str
    version: int = 0
    source: Document = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """One record that isn't the same in both.

    Attributes:
        kind: `missing` on the server, `extra` there, `different`, or `dead`: refused by the server.
        expected: What should be there, None for an extra document.
        found: What is there, None when it is missing.
    """

    kind: Kind
    expected: Expected | None
    found: Found | None


@dataclass(frozen=True, slots=True)
class Example:
    """A difference as it is shown.

    Attributes:
        kind: See `Difference`.
        object_id: The object.
        path: Its path, "" where nothing says it.
        id: `_id` of the document.
        reason: Why the server refused it, "" for the other kinds.
        changes: Field, value in Parquet and value on the server; None where one has no such field.
    """

    kind: Kind
    object_id: str
    path: str
    id: str
    reason: str = ""
    changes: tuple[tuple[str, Any, Any], ...] = ()


@dataclass(slots=True)
class Comparison:
    """Result of a comparison.

    Attributes:
        run: Name of the run.
        records: Records in Parquet.
        documents: Documents of the run on the server.
        counts: Number of differences by kind.
        examples: The first of them.
    """

    run: str
    records: int = 0
    documents: int = 0
    counts: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    examples: list[Example] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not any(self.counts.values())


class Records:
    """What an output's Parquet catalogue says the server should have, in the order of the objects' ids.

    Ids and digests lie in a table that spills to the system's temporary folder, so memory stays bounded.

    Args:
        output: The output.
        reasons: Why the server refused records, as a table with the columns `object_id` and `reason`.
        on_progress: Called with the number of records that were read.
    """

    def __init__(
        self,
        output: Output,
        *,
        reasons: Iterable[pa.Table] = (),
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._connection = connect()
        self._connection.execute(
            "CREATE TABLE expected "
            '(object_id VARCHAR, id VARCHAR, digest VARCHAR, path VARCHAR, file VARCHAR, "row" BIGINT)'
        )
        self._connection.execute("CREATE TABLE dead (object_id VARCHAR, reason VARCHAR)")
        self.count = 0
        for name, table in zip(output.files, output.tables(), strict=True):
            for batch in _summaries(table, name):
                self._insert("expected", batch)
                self.count += batch.num_rows
                on_progress(batch.num_rows)
        for table in reasons:
            self._insert("dead", table.select(_DEAD_SCHEMA.names).cast(_DEAD_SCHEMA))
        self.run = output.run

    def __iter__(self) -> Iterator[Expected]:
        """Yield what should be there, ordered by object and then by document."""
        statement = (
            'SELECT object_id, id, digest, path, file, "row", dead.reason FROM expected LEFT JOIN '
            "(SELECT object_id, any_value(reason) AS reason FROM dead GROUP BY object_id) AS dead USING (object_id) "
            "ORDER BY object_id, id"
        )
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            while rows := cursor.fetchmany(ROWS):
                yield from (Expected(*row) for row in rows)

    def close(self) -> None:
        """Free the temporary table."""
        self._connection.close()

    def _insert(self, name: str, rows: pa.Table) -> None:
        self._connection.register("rows", rows)
        self._connection.execute(f"INSERT INTO {name} SELECT * FROM rows")
        self._connection.unregister("rows")


def documents_of_run(client: Client, index: str, run: str) -> Iterator[Found]:
    """Yield the documents of a run, ordered by object and then by document.

    Args:
        client: Client of the server.
        index: Index or alias; refresh it first.
        run: Name of the run.
    """
    keyed = (
        (hit["sort"][0] or "", hit)
        for page in pages(client, index, query={"term": {"run": run}}, sort=[OBJECT_ORDER])
        for hit in page
    )
    for object_id, same in groupby(keyed, key=lambda pair: pair[0]):
        for _, hit in sorted(same, key=lambda pair: str(pair[1]["_id"])):
            source = hit["_source"]
            yield Found(object_id, hit["_id"], content_digest(source), hit["_version"], source)


OBJECT_ORDER = {"object_id": {"order": "asc", "missing": "_first"}}


def content_digest(source: Document) -> str:
    """Return the digest of what a document holds, as `documents` gives it to equal records.

    A document whose stored `digest` isn't that of its content gets a digest that no record has: somebody changed it.
    """
    kept = {name: value for name, value in source.items() if name not in OUTSIDE_DIGEST}
    digest = hashlib.sha256(orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)).hexdigest()[:ID_DIGITS]
    return digest if source.get("digest") == digest else f"changed:{digest}"


def differences(expected: Iterable[Expected], found: Iterable[Found]) -> Iterator[Difference]:
    """Yield every record that isn't the same in both; neither stream is held in memory.

    Args:
        expected: What should be there, ordered by object.
        found: What is there, in the same order.
    """
    for wanted, there in _paired(expected, found):
        present = {each.id: each for each in there}
        for one in wanted:
            match = present.pop(one.id, None)
            if match is not None and match.digest == one.digest:
                continue
            kind: Kind = "dead" if one.dead is not None else "missing" if match is None else "different"
            yield Difference(kind, one, match)
        for extra in present.values():
            yield Difference("extra", None, extra)


def compare(client: Client, index: str, records: Records, *, examples: int) -> Comparison:
    """Compare a Parquet catalogue with the server.

    Args:
        client: Client of the server; its errors pass through unchanged.
        index: Index or alias; refresh it first.
        records: What should be there.
        examples: How many differences to describe field by field.
    """
    result = Comparison(records.run, records=records.count)

    def counted() -> Iterator[Found]:
        for one in documents_of_run(client, index, records.run):
            result.documents += 1
            yield one

    for difference in differences(records, counted()):
        result.counts[difference.kind] += 1
        if len(result.examples) < examples:
            result.examples.append(describe(difference))
    return result


def describe(difference: Difference) -> Example:
    """Return a difference with the fields that differ, for which the record is read again."""
    wanted, there = difference.expected, difference.found
    changes = changed_fields(_document_at(wanted), there.source) if wanted and there else ()
    source = there.source if there else {}
    return Example(
        kind=difference.kind,
        object_id=wanted.object_id if wanted else there.object_id if there else "",
        path=wanted.path if wanted else str(source.get("path", "")),
        id=wanted.id if wanted else there.id if there else "",
        reason=(wanted.dead or "") if wanted else "",
        changes=changes,
    )


def changed_fields(record: Document, source: Document) -> tuple[tuple[str, Any, Any], ...]:
    """Return name, value in Parquet and value on the server of every field that differs, by name."""
    ours, theirs = _flat(record), _flat({name: value for name, value in source.items() if name != "indexed_at"})
    both = sorted({*ours, *theirs} - {"digest"})
    changes = [(name, ours.get(name), theirs.get(name)) for name in both if ours.get(name) != theirs.get(name)]
    if not changes and ours.get("digest") != theirs.get("digest"):
        changes = [("digest", ours.get("digest"), theirs.get("digest"))]
    return tuple(changes)


def _flat(document: Document) -> Document:
    nested = {name: document.get(name) for name in ("features", "metadata")}
    flat = {name: value for name, value in document.items() if name not in nested or not isinstance(value, dict)}
    for section, values in nested.items():
        if isinstance(values, dict):
            flat |= {f"{section}.{name}": value for name, value in values.items()}
    return flat


def _document_at(place: Expected) -> Document:
    table = tables.read(Path(place.file)).slice(place.row, 1)
    return next(documents(table), {})


def _paired(expected: Iterable[Expected], found: Iterable[Found]) -> Iterator[tuple[list[Expected], list[Found]]]:
    """Yield what both streams have about each object, in the order of their ids."""
    tagged = (
        ((one.object_id, 0, one) for one in expected),
        ((one.object_id, 1, one) for one in found),
    )
    for _, same in groupby(merge(*tagged, key=itemgetter(0, 1)), key=itemgetter(0)):
        both = [one for _, _, one in same]
        ours = [one for one in both if isinstance(one, Expected)]
        theirs = [one for one in both if isinstance(one, Found)]
        yield ours, theirs


def _summaries(table: pa.Table, name: str) -> Iterator[pa.Table]:
    start = 0
    for batch in table.to_batches(max_chunksize=ROWS):
        part = pa.Table.from_batches([batch])
        found = list(documents(part))
        columns: dict[str, Any] = {
            "object_id": [document["object_id"] for document in found],
            "id": [document_id(document["run"], document["object_id"]) for document in found],
            "digest": [document["digest"] for document in found],
            "path": part["path"].to_pylist(),
            "file": [name] * part.num_rows,
            "row": list(range(start, start + part.num_rows)),
        }
        yield pa.table(columns, schema=_SCHEMA)
        start += part.num_rows

"""Records to documents and back: pure."""

from __future__ import annotations

import base64
import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from tierflow import tables
from tierflow.catalogue.fields import METADATA_PREFIX
from tierflow.io.identity import ID_DIGITS, display_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Document = dict[str, Any]
SENT_ONLY = ("indexed_at", "digest", "not_finite")
"""Fields of a document that aren't part of the record."""


def document_id(run: str, object_id: str) -> str:
    """Return the `_id` of a record: runs don't overwrite each other's records of the same object.

    >>> document_id("plate-7-3fa2c1", "1ea7e46918870deb2da6e5924e05e6f3")
    '07e22d5ad6b708d56487a82dee3caa73'
    """
    return hashlib.sha256(f"{run}/{object_id}".encode("utf-8", "surrogateescape")).hexdigest()[:ID_DIGITS]


@dataclass(frozen=True, slots=True)
class Line:
    """A record as it is sent.

    Attributes:
        id: `_id` of the document.
        object_id: The object.
        path: Its path, as people see it.
        digest: The same for equal records.
        json: The document.
    """

    id: str
    object_id: str
    path: str
    digest: str
    json: bytes


def documents(table: pa.Table) -> Iterator[Document]:
    """Yield the document of every record of a catalogue table, in its order.

    Nulls are left out. A number that isn't finite is left out and named in `not_finite`. `digest` is the same for
    equal records.
    """
    for content in _contents(table):
        yield {**content, "digest": _digest(_json(content))}


def ids_of(table: pa.Table) -> list[str]:
    """Return the `_id` of every record of a catalogue table, in its order."""
    keys = (table[name].to_pylist() for name in ("run", "object_id"))
    return [document_id(run, object_id) for run, object_id in zip(*keys, strict=True)]


def lines(table: pa.Table, *, indexed_at: str, ids: Iterable[str] | None = None) -> Iterator[Line]:
    """Yield the same as JSON, each put into text only once.

    Args:
        table: A catalogue table.
        indexed_at: When they are sent, as `tierflow.clock.utc_now` says it.
        ids: `_id` of every record where they are known already, see `ids_of`.
    """
    sent_at = orjson.dumps(indexed_at)
    for key, content in zip(ids_of(table) if ids is None else ids, _contents(table), strict=True):
        text = _json(content)
        digest = _digest(text)
        stamp = b',"digest":"%b","indexed_at":%b}' % (digest.encode(), sent_at)
        yield Line(key, content["object_id"], content["path"], digest, text[:-1] + stamp)


def document(row: Mapping[str, Any], *, features: Mapping[str, Any], metadata: Mapping[str, Any]) -> Document:
    """Return the document of one record.

    Args:
        row: Columns but for features and metadata.
        features: Value by name.
        metadata: Value by name of the column, with its prefix.
    """
    plain = ({name: _plain(value) for name, value in part.items()} for part in (row, features, metadata))
    content = _content(*plain)
    return {**content, "digest": _digest(_json(content))}


def _contents(table: pa.Table) -> Iterator[Document]:
    features = tables.feature_columns(table.schema)
    metadata = [name for name in table.column_names if name.startswith(METADATA_PREFIX)]
    base = [name for name in table.column_names if name not in {*features, *metadata}]
    for batch in table.to_batches(max_chunksize=1000):
        whole, numbers, known = (_rows(batch.select(names)) for names in (base, features, metadata))
        finite = _all_finite(batch)
        for row, measured, more in zip(whole, numbers, known, strict=True):
            yield _content(row, measured, more, finite=finite)


def _content(
    row: Mapping[str, Any], features: Mapping[str, Any], metadata: Mapping[str, Any], *, finite: bool = False
) -> Document:
    """Return a document without its digest; `finite` says that all numbers are known to be finite."""
    found: Document = {name: value for name, value in row.items() if value is not None}
    path_bytes = found.pop("path_bytes", None)
    if path_bytes is not None and display_path(path_bytes).encode() != path_bytes:
        found["path_bytes"] = {"base64": base64.b64encode(path_bytes).decode()}
    if "flag_details" in found:
        found["flag_details"] = {"list": [_finite_only(detail) for detail in found["flag_details"]]}
    if "histogram" in found:
        found["histogram"] = {"list": found["histogram"]}
    found["features"] = {name: value for name, value in features.items() if value is not None}
    found["metadata"] = {name.removeprefix(METADATA_PREFIX): v for name, v in metadata.items() if v is not None}
    if not finite:
        _leave_out_bad(found)
    return found


def _leave_out_bad(found: Document) -> None:
    bad = [name for name, value in found.items() if isinstance(value, float) and not math.isfinite(value)]
    for section in ("features", "metadata"):
        values = found[section].items()
        bad += [f"{section}.{name}" for name, v in values if isinstance(v, float) and not math.isfinite(v)]
    for name in bad:
        section, _, leaf = name.rpartition(".")
        del (found[section] if section else found)[leaf]
    if bad:
        found["not_finite"] = bad


def _json(content: Document) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:ID_DIGITS]


def record(found: Document, columns: Sequence[str]) -> dict[str, Any]:
    """Return a document as a row with these columns; those that it lacks are None.

    Args:
        found: A document's source, whole or in part.
        columns: Names of columns; features without a prefix, metadata with it.
    """
    features, metadata = found.get("features", {}), found.get("metadata", {})
    return {name: _value(found, name, features, metadata) for name in columns}


def _value(found: Document, name: str, features: Document, metadata: Document) -> Any:
    if name == "path_bytes":
        kept = found.get(name)
        return base64.b64decode(kept["base64"]) if kept else found["path"].encode()
    if name in ("flag_details", "histogram"):
        return found[name]["list"] if name in found else None
    if name.startswith(METADATA_PREFIX):
        return metadata.get(name.removeprefix(METADATA_PREFIX))
    return found[name] if name in found else features.get(name)


def _plain(value: Any) -> Any:
    # Adding zero turns -0.0 into 0.0: they are equal, and so must be their texts.
    return value + 0.0 if isinstance(value, float) else value


def _rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return rows without the columns that are null throughout, and with 0.0 for -0.0 (see `_plain`)."""
    columns = {name: column for name, column in zip(batch.schema.names, batch.columns, strict=True) if _has(column)}
    if not columns:
        return [{}] * batch.num_rows
    return [dict(zip(columns, row, strict=True)) for row in zip(*map(_values, columns.values()), strict=True)]


def _has(column: pa.Array[Any]) -> bool:
    return column.null_count < len(column)


def _values(column: pa.Array[Any]) -> list[Any]:
    if pa.types.is_floating(column.type):
        column = pc.add(column, 0.0)
    if column.null_count == 0 and (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        # Twice as fast as Arrow's own way.
        plain: list[Any] = column.to_numpy().tolist()
        return plain
    return column.to_pylist()


def _all_finite(batch: pa.RecordBatch) -> bool:
    numbers = (column for column in batch.columns if pa.types.is_floating(column.type))
    return all(pc.all(pc.is_finite(column)).as_py() is not False for column in numbers)


def _finite_only(detail: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in detail.items()}

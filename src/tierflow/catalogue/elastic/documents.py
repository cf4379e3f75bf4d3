"""Records to documents and back: pure."""

from __future__ import annotations

import base64
import hashlib
import math
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from tierflow import tables
from tierflow.catalogue.fields import METADATA_PREFIX
from tierflow.io.identity import ID_DIGITS, display_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Document = dict[str, Any]
SENT_ONLY = ("indexed_at", "digest", "not_finite")
"""Fields of a document that aren't part of the record."""


def document_id(run: str, object_id: str) -> str:
    """Return the `_id` of a record: runs don't overwrite each other's records of the same object.

    >>> document_id("plate-7-3fa2c1", "1ea7e46918870deb2da6e5924e05e6f3")
    '07e22d5ad6b708d56487a82dee3caa73'
    """
    return hashlib.sha256(f"{run}/{object_id}".encode("utf-8", "surrogateescape")).hexdigest()[:ID_DIGITS]


def documents(table: pa.Table) -> Iterator[Document]:
    """Yield the document of every record of a catalogue table, in its order.

    Nulls are left out. A number that isn't finite is left out and named in `not_finite`. `digest` is the same for
    equal records.
    """
    features = tables.feature_columns(table.schema)
    metadata = [name for name in table.column_names if name.startswith(METADATA_PREFIX)]
    base = [name for name in table.column_names if name not in {*features, *metadata}]
    for batch in table.to_batches(max_chunksize=1000):
        whole, numbers, known = (_rows(batch.select(names)) for names in (base, features, metadata))
        for row, measured, more in zip(whole, numbers, known, strict=True):
            yield document(row, features=measured, metadata=more)


def document(row: Mapping[str, Any], *, features: Mapping[str, Any], metadata: Mapping[str, Any]) -> Document:
    """Return the document of one record.

    Args:
        row: Columns but for features and metadata.
        features: Value by name.
        metadata: Value by name of the column, with its prefix.
    """
    found: Document = {name: value for name, value in row.items() if value is not None}
    path_bytes = found.pop("path_bytes", None)
    if path_bytes is not None and display_path(path_bytes).encode() != path_bytes:
        found["path_bytes"] = {"base64": base64.b64encode(path_bytes).decode()}
    if "flag_details" in found:
        found["flag_details"] = {"list": [_finite_only(detail) for detail in found["flag_details"]]}
    if "histogram" in found:
        found["histogram"] = {"list": found["histogram"]}
    bad = [name for name, value in found.items() if isinstance(value, float) and not math.isfinite(value)]
    found["features"] = {name: value + 0.0 for name, value in features.items() if value is not None}
    bad += [f"features.{name}" for name, value in found["features"].items() if not math.isfinite(value)]
    found["metadata"] = {name.removeprefix(METADATA_PREFIX): v for name, v in metadata.items() if v is not None}
    bad += [f"metadata.{n}" for n, v in found["metadata"].items() if isinstance(v, float) and not math.isfinite(v)]
    for name in bad:
        section, _, leaf = name.rpartition(".")
        del (found[section] if section else found)[leaf]
    if bad:
        found["not_finite"] = bad
    found["digest"] = hashlib.sha256(orjson.dumps(found, option=orjson.OPT_SORT_KEYS)).hexdigest()[:ID_DIGITS]
    return found


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


def _rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    return batch.to_pylist() if batch.num_columns else [{}] * batch.num_rows


def _finite_only(detail: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in detail.items()}

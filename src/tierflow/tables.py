"""The schema of every table of a run, with units and meaning in the field metadata.

One place says which columns exist. Feature columns are added by extractors: see `extract_schema`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tierflow.errors import InputMissingError, TableError
from tierflow.io.atomic import write_parquet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

SCHEMA_VERSION = "1"
HISTOGRAM_BINS = 256


def field(name: str, kind: pa.DataType, about: str, unit: str = "") -> pa.Field[Any]:
    """Make a column that carries its meaning and, where it has one, its unit."""
    metadata = {"about": about} | ({"unit": unit} if unit else {})
    return pa.field(name, kind, metadata=metadata)


# What a layout reads from a file's name; every table that shows objects repeats these.
NAME_FIELDS = [
    field("plate", pa.string(), "plate or, without one, the folder of the file"),
    field("well", pa.string(), "well as letter(s) and two digits, such as B03"),
    field("row", pa.int32(), "well row, 1 = A"),
    field("column", pa.int32(), "well column, from 1"),
    field("site", pa.string(), "site (field of view) as the instrument names it"),
    field("channel", pa.string(), "channel as the instrument names it"),
    field("z", pa.int32(), "z plane as the instrument numbers it"),
    field("timepoint", pa.int32(), "time point as the instrument numbers it"),
    field("acquired_at", pa.string(), "time or day of acquisition, ISO 8601"),
]
NAME_COLUMNS = [f.name for f in NAME_FIELDS]

SCAN = pa.schema(
    [
        field("object_id", pa.string(), "first 32 hex digits of SHA-256 over dataset + '/' + path"),
        field("path", pa.string(), "path relative to the input root, '/' between parts; undecodable bytes as \\xNN"),
        field("path_bytes", pa.binary(), "the same path as the file system's own bytes"),
        field("bytes", pa.int64(), "size of the file", "byte"),
        field("mtime_ns", pa.int64(), "time of last change since 1970", "ns"),
        field("is_link", pa.bool_(), "the entry is a symbolic link"),
        field("unit_id", pa.string(), "objects with the same value share one decision"),
        field("layout", pa.string(), "naming layout that read the names"),
        *NAME_FIELDS,
    ]
)

# Row per plane. A failed object has one row with plane = -1 and no features.
EXTRACT_BASE = [
    field("object_id", pa.string(), "the object"),
    field("plane", pa.int32(), "position of the plane in the object, from 0; -1 when nothing could be read"),
    field("series", pa.int32(), "image series in the file, from 0"),
    field("c", pa.int32(), "channel index in the file, from 0"),
    field("z", pa.int32(), "z index in the file, from 0"),
    field("t", pa.int32(), "time index in the file, from 0"),
    field("status", pa.string(), "ok or failed"),
    field("flag", pa.string(), "name of the failure; when ok null, or a finding such as incomplete"),
    field("reason", pa.string(), "what went wrong, in words; when ok null, or the finding in words"),
    field("sha256", pa.string(), "SHA-256 of the file's bytes, null when it couldn't be read"),
    field("bytes", pa.int64(), "bytes that were read and hashed", "byte"),
    field("channel_name", pa.string(), "channel name in the file's own metadata"),
    field("height", pa.int32(), "rows (y)", "px"),
    field("width", pa.int32(), "columns (x)", "px"),
    field("samples", pa.int32(), "1 for gray, 3 for RGB"),
    field("dtype", pa.string(), "type of the pixels in the file"),
    field("pixel_size_um", pa.float64(), "edge of a pixel, from metadata or configuration", "um"),
    field("pixel_hash", pa.string(), "hash of the pixels: equal for identical planes whatever the file format"),
    field("histogram", pa.list_(pa.uint32(), HISTOGRAM_BINS), "counts of 256 equal bins from min to max of the plane"),
]
# Columns whose values mostly differ from row to row.
UNIQUE_COLUMNS = frozenset(
    {"object_id", "unit_id", "path", "path_bytes", "sha256", "pixel_hash", "reason", "destination"}
)
EXTRACT_COLUMNS = [f.name for f in EXTRACT_BASE]

BASELINE = pa.schema(
    [
        field("plate", pa.string(), "plate of the group"),
        field("channel", pa.string(), "channel of the group"),
        field("feature", pa.string(), "feature name"),
        field("n", pa.int64(), "planes with a finite value"),
        field("median", pa.float64(), "median over the group, in the feature's unit"),
        field("mad", pa.float64(), "1.4826 x median absolute deviation from the median, in the feature's unit"),
    ]
)

DUPLICATES = pa.schema(
    [
        field("pixel_hash", pa.string(), "hash of pixels that occur more than once"),
        field("object_id", pa.string(), "an object that holds them"),
        field("first_object_id", pa.string(), "the first object (by path) that holds them"),
        field("first_path", pa.string(), "its path"),
    ]
)

# Row per plane that was measured, where the interestingness function looks back at earlier planes; else no row at all.
# The columns of the function are added: see `history_schema`.
HISTORY_BASE = [
    field("object_id", pa.string(), "the object"),
    field("plane", pa.int32(), "position of the plane in the object, from 0"),
]

FLAG_TYPE = pa.struct(
    [
        pa.field("flag", pa.string()),
        pa.field("feature", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("limit", pa.float64()),
        pa.field("text", pa.string()),
    ]
)

SCORE = pa.schema(
    [
        field("object_id", pa.string(), "the object"),
        field("unit_id", pa.string(), "objects with the same value share one decision"),
        field("status", pa.string(), "ok or failed"),
        field("reason", pa.string(), "why it failed, or why it got this score, in words"),
        field("interestingness", pa.float64(), "interestingness of the unit in [0, 1]; null when failed"),
        field("best_plane", pa.int32(), "the plane that decided, as in the extract table; null when failed"),
        field("flags", pa.list_(pa.string()), "names of the findings"),
        field("flag_details", pa.list_(FLAG_TYPE), "each finding with the value and the limit that raised it"),
        field("sha256", pa.string(), "SHA-256 of the file's bytes"),
        field("bytes", pa.int64(), "size of the file", "byte"),
    ]
)

PLACE = pa.schema(
    [
        field("object_id", pa.string(), "the object"),
        field("tier", pa.string(), "tier that the policy, or a person against it, chose"),
        field("why", pa.string(), "rule of the policy that chose it, in words; or who corrected it, when and why"),
        field("policy_tier", pa.string(), "tier that the policy alone chose"),
        field("corrected_by", pa.string(), "who decided against the policy by `tierflow relabel`; null: nobody"),
        field("corrected_at", pa.string(), "when; UTC, such as 2026-11-21T08:15:30.123Z", "ISO 8601"),
        field("correction", pa.string(), "why, in that person's words"),
        field("driver", pa.string(), "how the tier stores files"),
        field("placement", pa.string(), "placed, kept (driver none) or failed; in the catalogue also undone"),
        field("destination", pa.string(), "where the file is now; null when it stayed at its source"),
        field("problem", pa.string(), "why it could not be placed; null when all is well"),
    ]
)


def extract_schema(features: Mapping[str, str]) -> pa.Schema:
    """Return the extract table's schema with the given feature columns.

    Args:
        features: Unit by feature name, in the order of the columns; "" where a feature has no unit.
    """
    return pa.schema([*EXTRACT_BASE, *(field(name, pa.float64(), "feature", unit) for name, unit in features.items())])


def history_schema(columns: Iterable[str]) -> pa.Schema:
    """Return the history table's schema.

    Args:
        columns: What the interestingness function finds in earlier planes; none for a function that doesn't look back.
    """
    return pa.schema([*HISTORY_BASE, *(field(name, pa.float64(), "found in earlier planes") for name in columns)])


def feature_columns(schema: pa.Schema) -> list[str]:
    """Return the names of the feature columns of an extract (or catalogue) table."""
    return [f.name for f in schema if (f.metadata or {}).get(b"about") == b"feature"]


def write(path: Path, table: pa.Table, **metadata: str) -> None:
    """Write a table whole or not at all, stamped with the schema version and `metadata`."""
    _write(path, table, metadata, durable=True)


def write_passing(path: Path, table: pa.Table, **metadata: str) -> None:
    """Write a table as `write` does, without waiting for the disk: for what can be made again after a power cut."""
    _write(path, table, metadata, durable=False)


def stamped(table: pa.Table, **metadata: str) -> pa.Table:
    """Return a table with the schema version and `metadata` as its stamps, in place of those it had."""
    stamp = {"tierflow.schema_version": SCHEMA_VERSION, **{f"tierflow.{k}": v for k, v in metadata.items()}}
    kept = {k: v for k, v in (table.schema.metadata or {}).items() if not k.startswith(b"tierflow.")}
    return table.replace_schema_metadata(kept | {k.encode(): v.encode() for k, v in stamp.items()})


def stamps_of(table: pa.Table) -> dict[str, str]:
    """Return the stamps of a table without the schema version: what `write` needs to write it again."""
    return {name: value for name, value in metadata_of(table).items() if name != "schema_version"}


def _write(path: Path, table: pa.Table, metadata: Mapping[str, str], *, durable: bool) -> None:
    # A dictionary of values that are all different costs a third of the writing time and saves nothing.
    repeated = [name for name in table.column_names if name not in UNIQUE_COLUMNS]
    write_parquet(path, stamped(table, **metadata), durable=durable, use_dictionary=repeated)


def read(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table of a run.

    Raises:
        InputMissingError: if it isn't there.
        TableError: if it is damaged or of another schema version.
    """
    if not path.exists():
        raise InputMissingError(f"{path} is missing: run the step that makes it, or `tierflow run` again")
    try:
        # One thread: a job is one core, and these tables are small.
        table = pq.read_table(
            path, columns=None if columns is None else list(columns), use_threads=False, memory_map=True
        )
    except (pa.ArrowInvalid, OSError) as error:
        raise TableError(f"{path} can't be read as a table ({error}): delete it and run again") from error
    version = metadata_of(table).get("schema_version", "none")
    if version != SCHEMA_VERSION:
        raise TableError(f"{path} has schema version {version}, expected {SCHEMA_VERSION}: run again in a new output")
    return table


def metadata_of(table: pa.Table) -> dict[str, str]:
    """Return the values that `write` stamped on a table, by name."""
    raw = table.schema.metadata or {}
    return {k.decode().removeprefix("tierflow."): v.decode() for k, v in raw.items() if k.startswith(b"tierflow.")}


def from_rows(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Build a table from dictionaries; keys that a row lacks become null."""
    return pa.Table.from_pylist(list(rows), schema=schema)

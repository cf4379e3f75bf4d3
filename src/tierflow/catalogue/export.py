"""Write the objects of a query to a file or stream, from any backend, in the same bytes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, get_args

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tierflow.catalogue.sql import quoted
from tierflow.errors import QueryError
from tierflow.io.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tierflow.catalogue.base import Catalogue
    from tierflow.catalogue.query import Query

Format = Literal["parquet", "csv", "json", "paths", "paths0"]
FORMATS: tuple[Format, ...] = get_args(Format)


def export(catalogue: Catalogue, query: Query, fmt: Format, target: Path | BinaryIO) -> int:
    r"""Write all objects of a query, up to its limit.

    - `parquet`: every column unless the query names some, with units and meanings in the field metadata.
    - `csv`: UTF-8, a header, quotes where needed, numbers in full precision, null as nothing, lists joined by ";",
      `path_bytes` in hex, `flag_details` as JSON. Without columns in the query: all that can be read.
    - `json`: an object per line, keys in the order of the columns, `path_bytes` in hex.
    - `paths`: where each file is now, as the file system's own bytes, one per line; `paths0`: ended by NUL instead,
      for names with newlines (`xargs -0`).

    Args:
        catalogue: Any backend.
        query: What to write; its cursor is not used.
        fmt: Format.
        target: File to write, whole or not at all, or a binary stream.

    Returns:
        The number of objects written.

    Raises:
        QueryError: if the format is unknown or the query doesn't fit the catalogue.
    """
    if fmt not in FORMATS:
        raise QueryError(f"unknown format {fmt!r}: expected one of {', '.join(FORMATS)}")
    if isinstance(target, Path):
        with replacing(target) as temporary, temporary.open("wb") as stream:
            return _write(catalogue, query, fmt, stream)
    return _write(catalogue, query, fmt, target)


def _write(catalogue: Catalogue, query: Query, fmt: Format, stream: BinaryIO) -> int:
    if fmt in ("paths", "paths0"):
        return _write_paths(catalogue.paths(query), b"\0" if fmt == "paths0" else b"\n", stream)
    batches = catalogue.batches(query)
    if fmt == "parquet":
        return _write_parquet(batches, stream)
    return write_text(batches, fmt, stream, opaque=bool(query.columns))


def _write_paths(paths: Iterator[bytes], end: bytes, stream: BinaryIO) -> int:
    count = 0
    for path in paths:
        stream.write(path + end)
        count += 1
    return count


def _write_parquet(batches: pa.RecordBatchReader, stream: BinaryIO) -> int:
    count = 0
    with pq.ParquetWriter(stream, batches.schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def write_text(batches: pa.RecordBatchReader, fmt: Literal["csv", "json"], stream: BinaryIO, *, opaque: bool) -> int:
    """Write record batches as CSV or JSON lines.

    Args:
        batches: Rows in order.
        fmt: `csv` or `json`.
        stream: Where to write.
        opaque: Whether columns that can't be read by people (`path_bytes`, `flag_details`, `histogram`) are kept.

    Returns:
        The number of rows.
    """
    columns = [text for column in batches.schema if (text := _column(column, fmt, opaque=opaque)) is not None]
    options = "FORMAT csv, HEADER true" if fmt == "csv" else "FORMAT json"
    with tempfile.TemporaryDirectory(prefix="tierflow-") as folder, duckdb.connect(config={"threads": 1}) as connection:
        # The engine writes files, not streams; values never pass through Python.
        file = Path(folder) / "export"
        connection.register("batches", batches)
        connection.execute(f"COPY (SELECT {', '.join(columns)} FROM batches) TO {_literal(file)} ({options})")
        found = connection.execute("...").fetchone() if False else None
        with file.open("rb") as written:
            shutil.copyfileobj(written, stream, 1 << 20)
    return 0


def _column(column: pa.Field, fmt: str, *, opaque: bool) -> str | None:
    """Return a column as SQL that gives text or numbers; None if it isn't written."""
    name, kind = quoted(column.name), column.type
    if pa.types.is_binary(kind):
        return f"lower(hex({name})) AS {name}" if opaque else None
    if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        return f"array_to_string({name}, ';') AS {name}" if fmt == "csv" else name
    if pa.types.is_nested(kind) and not opaque:
        return None
    return name

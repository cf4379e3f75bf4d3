"""Write the objects of a query to a file or stream, from any backend, in the same bytes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, get_args

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tierflow.catalogue.engine import connect
from tierflow.catalogue.sql import quoted
from tierflow.errors import QueryError, TryAgainError
from tierflow.io.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tierflow.catalogue.base import Catalogue
    from tierflow.catalogue.query import Query

Format = Literal["parquet", "csv", "json", "paths", "paths0"]
FORMATS: tuple[Format, ...] = get_args(Format)
COPY_BYTES = 1 << 20


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
        with replacing(target) as temporary:
            return _write(catalogue, query, fmt, temporary)
    with tempfile.TemporaryDirectory(prefix="tierflow-") as folder:
        # The engine writes files, not streams.
        file = Path(folder) / "export"
        count = _write(catalogue, query, fmt, file)
        with file.open("rb") as written:
            shutil.copyfileobj(written, target, COPY_BYTES)
        return count


def _write(catalogue: Catalogue, query: Query, fmt: Format, file: Path) -> int:
    if fmt == "paths" or fmt == "paths0":
        return _write_paths(catalogue.paths(query), b"\0" if fmt == "paths0" else b"\n", file)
    batches = catalogue.batches(query)
    if fmt == "parquet":
        return _write_parquet(batches, file)
    return write_text(batches, fmt, file, opaque=bool(query.columns))


def _write_paths(paths: Iterator[bytes], end: bytes, file: Path) -> int:
    count = 0
    with file.open("wb") as stream:
        for path in paths:
            stream.write(path + end)
            count += 1
    return count


def _write_parquet(batches: pa.RecordBatchReader, file: Path) -> int:
    count = 0
    with pq.ParquetWriter(file, batches.schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def write_text(
    batches: pa.RecordBatchReader,
    fmt: Literal["csv", "json"],
    file: Path,
    *,
    opaque: bool = False,
    sort: Sequence[str] = (),
) -> int:
    """Write record batches as CSV or JSON lines; memory stays bounded however many there are.

    Args:
        batches: Rows.
        fmt: `csv` or `json`.
        file: File to write.
        opaque: Whether columns that people can't read (`path_bytes`, `flag_details`, `histogram`) are kept.
        sort: Columns to sort by; without any, the rows keep their order.

    Returns:
        The number of rows.

    Raises:
        TryAgainError: if the file can't be written, on a full disk for example.
    """
    columns = [text for column in batches.schema if (text := _column(column, fmt, opaque=opaque))]
    options = "FORMAT csv, HEADER true" if fmt == "csv" else "FORMAT json"
    order = f"ORDER BY {', '.join(quoted(name) for name in sort)}" if sort else ""
    name = str(file).replace("'", "''")
    errors: list[Exception] = []
    with connect() as connection:
        relayed = pa.RecordBatchReader.from_batches(batches.schema, _remembering(batches, errors))
        connection.register("batches", relayed)
        try:
            [(count,)] = connection.execute(
                f"COPY (SELECT {', '.join(columns)} FROM batches {order}) TO '{name}' ({options})"
            ).fetchall()
        except duckdb.Error as error:
            # The engine reports what went wrong in reading the rows as its own error: the true one says what to do.
            if errors:
                raise errors[0] from None
            if isinstance(error, duckdb.IOException):
                raise TryAgainError(f"{file} can't be written ({error}): free space or check the folder") from error
            raise
    return int(count)


def _remembering(batches: Iterable[pa.RecordBatch], errors: list[Exception]) -> Iterator[pa.RecordBatch]:
    try:
        yield from batches
    except Exception as error:
        errors.append(error)
        raise


def _column(column: pa.Field[Any], fmt: str, *, opaque: bool) -> str:
    """Return a column as SQL that gives text, numbers or, in JSON, lists; "" if it isn't written."""
    name, kind = quoted(column.name), column.type
    texts = pa.types.is_list(kind) and pa.types.is_string(kind.value_type)
    if not (opaque or texts) and (pa.types.is_nested(kind) or pa.types.is_binary(kind)):
        return ""
    if pa.types.is_binary(kind):
        return f"lower(hex({name})) AS {name}"
    if fmt == "json" or not pa.types.is_nested(kind):
        return name
    if column.name == "flag_details":
        return f"to_json({name}) AS {name}"
    return f"nullif(array_to_string({name}::VARCHAR[], ';'), '') AS {name}"

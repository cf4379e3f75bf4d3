"""The embedded engine: DuckDB over the Parquet files of one catalogue folder. Its errors are mapped here."""

from __future__ import annotations

import base64
import glob
import os
import tempfile
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from tierflow.catalogue.fields import METADATA_PREFIX, Fields
from tierflow.catalogue.schema import BASE, BASE_COLUMNS, CATALOGUE_VERSION, HISTOGRAM
from tierflow.errors import InputMissingError, TableError, TryAgainError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tierflow.catalogue.sql import Sql

BATCH_ROWS = 10_000
_OUR_MISTAKES = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException, duckdb.InternalException)
_STAMPS = """
SELECT file_name, decode(key), decode(value) FROM parquet_kv_metadata(?)
WHERE decode(key) IN ('ARROW:schema', 'tierflow.catalogue_version', 'tierflow.input')
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of a catalogue at one moment, and what they have in common.

    Attributes:
        files: Paths, sorted.
        schema: Union of their columns: the base ones, then the histogram where one has it, then the features.
        fields: The same, as fields of queries.
        uniform: Whether all files have the same columns.
        source: Input folder stamped on the newest file, "" where it says none.
    """

    files: tuple[str, ...]
    schema: pa.Schema
    fields: Fields
    uniform: bool
    source: str


class Engine:
    """Reads the whole files of one output's catalogue. Writes nothing to it; sorts that don't fit spill elsewhere.

    Args:
        output: Output folder of a run.
        threads: Cores that a query may use.
        memory_mb: Memory that it may use before it spills to the system's temporary folder.
    """

    def __init__(self, output: Path, *, threads: int, memory_mb: int) -> None:
        self._output = output
        self._lock = threading.Lock()
        self._snapshot: tuple[tuple[Any, ...], Snapshot] | None = None
        self._threads, self._memory_mb = threads, memory_mb
        self._connection = self._connect()

    def snapshot(self) -> Snapshot:
        """Return the catalogue's files as they are now.

        Raises:
            InputMissingError: if there is none yet.
            TableError: if one is damaged or of another version.
        """
        files = self._files()
        key = tuple((path, stat.st_ino, stat.st_mtime_ns, stat.st_size) for path, stat in files)
        with self._lock:
            if self._snapshot is None or self._snapshot[0] != key:
                # DuckDB's cache of footers knows a file by size and second only: begin with an empty one.
                self._connection = self._connect()
                self._snapshot = (key, self._look([path for path, _ in files], newest=max(files, key=_age)[0]))
            return self._snapshot[1]

    def rows(self, sql: Sql) -> list[tuple[Any, ...]]:
        """Run a query on the table `objects` and return all of its rows."""
        snapshot = self.snapshot()
        with self._mapped(), self._connection.cursor() as cursor:
            found: list[tuple[Any, ...]] = _relation(cursor, sql, snapshot).fetchall()
            return found

    def batches(self, sql: Sql) -> Iterator[pa.RecordBatch]:
        """Run a query on the table `objects` and stream its rows."""
        snapshot = self.snapshot()
        with self._mapped(), self._connection.cursor() as cursor:
            relation = _relation(cursor, sql, snapshot)
            # DuckDB renamed the method in 1.5 and deprecated the old name.
            read = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
            yield from read(BATCH_ROWS)

    def _connect(self) -> duckdb.DuckDBPyConnection:
        connection = connect(threads=self._threads, memory_mb=self._memory_mb)
        connection.execute("SET parquet_metadata_cache = true")
        return connection

    def _files(self) -> list[tuple[str, os.stat_result]]:
        files = _tables_in(self._output / "catalogue")
        # After a new scan with fewer shards, tables of the old scan may remain: they aren't part of the run.
        shards = _tables_in(self._output / "scan" / "shards")
        found = [entry for name, entry in files.items() if not shards or name in shards]
        if not found:
            where = "holds no catalogue yet" if self._output.is_dir() else "is no folder"
            raise InputMissingError(
                f"{self._output} {where}: give the output folder of a run, or make one by "
                f"`tierflow run INPUT --output {self._output}`"
            )
        return [(entry.path, entry.stat()) for entry in found]

    def _look(self, files: list[str], *, newest: str) -> Snapshot:
        with self._mapped(), self._connection.cursor() as cursor:
            stamps = cursor.sql(_STAMPS, params=[_escaped(files)]).fetchall()
        versions = {name: value for name, key, value in stamps if key == "tierflow.catalogue_version"}
        for name in files:
            _check_version(name, versions.get(name, "none"))
        schemas = list(dict.fromkeys(value for _, key, value in sorted(stamps) if key == "ARROW:schema"))
        decoded = [pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text))).remove_metadata() for text in schemas]
        schema = _union(decoded)
        sources = [value for name, key, value in stamps if key == "tierflow.input" and name == newest]
        return Snapshot(
            files=tuple(files),
            schema=schema,
            fields=Fields.of_schema(schema),
            uniform=all(each.names == schema.names for each in decoded),
            source="".join(sources),
        )

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        folder = self._output / "catalogue"
        try:
            yield
        except (duckdb.IOException, FileNotFoundError) as error:
            raise TryAgainError(f"{folder} changed while it was read, or can't be read ({error}): try again") from error
        except duckdb.OutOfMemoryException as error:
            raise TryAgainError(f"not enough memory for this query ({error}): ask for fewer columns or rows") from error
        except _OUR_MISTAKES:
            raise
        except duckdb.Error as error:
            raise TableError(
                f"a table of {folder} is damaged ({error}): delete that file and run `tierflow run` again"
            ) from error


def connect(*, threads: int = 1, memory_mb: int = 500) -> duckdb.DuckDBPyConnection:
    """Open an engine in memory; what doesn't fit spills to the system's temporary folder and is removed at the end."""
    return duckdb.connect(
        config={
            "threads": threads,
            "memory_limit": f"{memory_mb}MB",
            # The default is a folder in the current directory, which may be the user's data.
            "temp_directory": str(Path(tempfile.gettempdir()) / f"tierflow-{uuid.uuid4().hex}"),
            "autoinstall_known_extensions": False,
            "python_enable_replacements": False,
        }
    )


def _tables_in(folder: Path) -> dict[str, os.DirEntry[str]]:
    """Return the whole tables of a folder by name, sorted; unfinished ones start with a dot."""
    try:
        with os.scandir(folder) as entries:
            found = {e.name: e for e in entries if e.name.endswith(".parquet") and not e.name.startswith(".")}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return dict(sorted(found.items()))


def _age(file: tuple[str, os.stat_result]) -> tuple[int, str]:
    return file[1].st_mtime_ns, file[0]


def _relation(cursor: duckdb.DuckDBPyConnection, sql: Sql, snapshot: Snapshot) -> Any:
    union = "false" if snapshot.uniform else "true"
    options = f"union_by_name = {union}, filename = true, hive_partitioning = false"
    source = f"SELECT * FROM read_parquet(?, {options})"
    return cursor.sql(
        f"WITH objects AS NOT MATERIALIZED ({source}) {sql.text}", params=[_escaped(snapshot.files), *sql.values]
    )


def _escaped(files: Iterable[str]) -> list[str]:
    # DuckDB takes every name for a pattern.
    return [glob.escape(name) for name in files]


def _check_version(name: str, version: str) -> None:
    if version != CATALOGUE_VERSION:
        raise TableError(
            f"{name} has catalogue version {version}, expected {CATALOGUE_VERSION}: "
            "delete it and run `tierflow run` again"
        )


def _union(schemas: Iterable[pa.Schema]) -> pa.Schema:
    columns: dict[str, pa.Field[Any]] = {}
    for schema in schemas:
        for column in schema:
            columns.setdefault(column.name, column)
    kept = [HISTOGRAM] if HISTOGRAM.name in columns else []
    known = {*BASE_COLUMNS, HISTOGRAM.name}
    others = [column for name, column in columns.items() if name not in known]
    metadata = [column for column in others if column.name.startswith(METADATA_PREFIX)]
    return pa.schema([*BASE, *kept, *metadata, *(column for column in others if column not in metadata)])

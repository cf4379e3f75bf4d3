"""Step `extract`: read every object of a shard once, hash it and measure its planes."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tierflow import config_io, tables
from tierflow.clock import utc_now
from tierflow.errors import InputMissingError, MissingFileError, ObjectError, TableError, TryAgainError
from tierflow.io.readers import Loaded, load
from tierflow.io.readers.ahead import read_ahead
from tierflow.io.readers.load import MB
from tierflow.measure import Row, make_extractors, measure_object, units_of
from tierflow.progress import PROGRESS_FOLDER, Heartbeat
from tierflow.steps._ports import In, Out, Param

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tierflow.config import Extract

# Rows become columns in pieces: as Python objects they take several times the memory.
ROWS_PER_PIECE = 500


def run(*, shard: In, config: Param, table: Out) -> None:
    """Measure the objects of a shard.

    Args:
        shard: Scan table of the shard; its stamp `input` names the folder that its paths are relative to.
        config: Configuration of the run.
        table: Extract table to write: a row per plane in the order of the shard, then of the file.

    Raises:
        InputMissingError: if the input folder isn't there.
        TryAgainError: if the storage goes away.
        TableError: if the shard isn't a scan table of a run.
    """
    objects = tables.read(shard)
    settings = config_io.load(config).extract
    # The table lies in <output>/extract.
    measured = extract_shard(objects, settings, shard=shard.stem, output=table.absolute().parent.parent)
    tables.write(table, measured, at=utc_now())


def extract_shard(objects: pa.Table, settings: Extract, *, shard: str, output: Path) -> pa.Table:
    """Return the extract table of a shard.

    Args:
        objects: Scan table, stamped with `input`.
        settings: Section `extract` of the configuration.
        shard: Name of the shard.
        output: Output folder of the run: progress is told there, and files that a former run moved away are found by
            its journal.

    Raises:
        InputMissingError: if the input folder isn't there.
        TryAgainError: if the storage goes away.
        TableError: if `objects` isn't stamped.
    """
    read = _reader(_input_of(objects), output, shard, settings.read_ahead_mb)
    extractors = make_extractors(settings)
    schema = tables.extract_schema(units_of(extractors))
    columns: list[Sequence[Any]] = [objects[name].to_pylist() for name in ("object_id", "path_bytes", "bytes")]
    jobs = [((name, os.fsdecode(path)), size) for name, path, size in zip(*columns, strict=True)]
    pieces: list[pa.Table] = []
    rows: list[Row] = []
    with (
        Heartbeat(output / PROGRESS_FOLDER, "extract", shard, len(jobs)) as heartbeat,
        closing(read_ahead(jobs, read, ahead_bytes=settings.read_ahead_mb * MB)) as sources,
    ):
        for ((object_id, _), _), source in zip(jobs, sources, strict=True):
            found = measure_object(
                source,
                object_id=object_id,
                extractors=extractors,
                max_plane_mb=settings.max_plane_mb,
                pixel_size_um=settings.pixel_size_um,
            )
            heartbeat.advance(failed=any(row["status"] == "failed" for row in found))
            rows += found
            if len(rows) >= ROWS_PER_PIECE:
                pieces.append(tables.from_rows(rows, schema))
                rows = []
    return pa.concat_tables([*pieces, tables.from_rows(rows, schema)])


def _input_of(objects: pa.Table) -> Path:
    stamp = tables.metadata_of(objects)
    if "input" not in stamp:
        raise TableError("the shard doesn't say where its input folder is: run the step scan again")
    root = Path(stamp["input"])
    # Without this check every object would be missing by itself, and all would go to quarantine.
    if not root.is_dir():
        raise InputMissingError(
            f"input folder {root} isn't there: mount it, or scan the folder where the images are now"
        )
    return root


def _reader(root: Path, output: Path, shard: str, hold_mb: int) -> Callable[[tuple[str, str]], Loaded | ObjectError]:
    """Return the function that reads one object, given its (object_id, relative path)."""

    def read(job: tuple[str, str]) -> Loaded | ObjectError:
        object_id, relative = job
        path = root / relative
        try:
            try:
                return load(path, hold_mb=hold_mb)
            except MissingFileError:
                moved = _moved_to(output, shard, object_id)
                if moved is None:
                    raise
                return load(moved, hold_mb=hold_mb)
        except MissingFileError as error:
            if not root.is_dir():
                raise TryAgainError(f"input folder {root} went away: run again when it is back") from error
            return error
        except ObjectError as error:
            return error

    return read


def _moved_to(output: Path, shard: str, object_id: str) -> Path | None:
    # Only a run that is repeated after its files were moved needs the journal.
    from tierflow.tiers.journal import current_path

    return current_path(output, shard, object_id)

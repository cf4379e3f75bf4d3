"""Step `extract`: read every object of a shard once, hash it and measure its planes."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import pyarrow as pa

from tierflow import config_io, tables
from tierflow.clock import utc_now
from tierflow.errors import InputMissingError, MissingFileError, ObjectError, TableError, TryAgainError
from tierflow.io.readers import Loaded, load
from tierflow.io.readers.ahead import read_ahead
from tierflow.io.readers.load import MB
from tierflow.io.remote import STORE_READERS, discard, input_root, key_below, load_remote, require_root
from tierflow.measure import Row, make_extractors, measure_object, units_of
from tierflow.objectstore.connect import StorePath
from tierflow.progress import PROGRESS_FOLDER, Heartbeat
from tierflow.steps._ports import In, Out, Param

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tierflow.config import Extract
    from tierflow.objectstore.connect import Place

# Rows become columns in pieces: as Python objects they take several times the memory.
ROWS_PER_PIECE = 500


class Job(NamedTuple):
    """One object to read.

    Attributes:
        object_id: The object.
        path: Path relative to the input root, as `os.fsdecode` gives.
        bytes: Its size at the time of the scan.
    """

    object_id: str
    path: str
    bytes: int


Read: TypeAlias = "Callable[[Job], Loaded | ObjectError]"
Discard: TypeAlias = "Callable[[Loaded | ObjectError], None]"


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


def extract_shard(
    objects: pa.Table, settings: Extract, *, shard: str, output: Path, beat: Callable[[], None] | None = None
) -> pa.Table:
    """Return the extract table of a shard.

    Args:
        objects: Scan table, stamped with `input`.
        settings: Section `extract` of the configuration.
        shard: Name of the shard.
        output: Output folder of the run: progress is told there, and files that a former run moved away are found by
            its journal.
        beat: Called after every plane and every object, for whoever wants to know that measuring goes on.

    Raises:
        InputMissingError: if the input folder isn't there.
        TryAgainError: if the storage goes away.
        TableError: if `objects` isn't stamped.
    """
    extractors = make_extractors(settings)
    schema = tables.extract_schema(units_of(extractors))
    columns: list[Sequence[Any]] = [objects[name].to_pylist() for name in ("object_id", "path_bytes", "bytes")]
    jobs = [(Job(name, os.fsdecode(path), size), size) for name, path, size in zip(*columns, strict=True)]
    pieces: list[pa.Table] = []
    rows: list[Row] = []
    with (
        _reader(_input_of(objects), output, shard, settings.read_ahead_mb) as (read, readers, discard),
        Heartbeat(output / PROGRESS_FOLDER, "extract", shard, len(jobs)) as heartbeat,
        closing(read_ahead(jobs, read, ahead_bytes=settings.read_ahead_mb * MB, readers=readers)) as sources,
    ):
        for (job, _), source in zip(jobs, sources, strict=True):
            found = measure_object(
                source,
                object_id=job.object_id,
                extractors=extractors,
                max_plane_mb=settings.max_plane_mb,
                pixel_size_um=settings.pixel_size_um,
                beat=beat,
            )
            discard(source)
            heartbeat.advance(failed=any(row["status"] == "failed" for row in found))
            rows += found
            if len(rows) >= ROWS_PER_PIECE:
                pieces.append(tables.from_rows(rows, schema))
                rows = []
    return pa.concat_tables([*pieces, tables.from_rows(rows, schema)])


def _input_of(objects: pa.Table) -> Place:
    stamp = tables.metadata_of(objects)
    if "input" not in stamp:
        raise TableError("the shard doesn't say where its input folder is: run the step scan again")
    root = input_root(stamp["input"])
    # Without this check every object would be missing by itself, and all would go to quarantine.
    if isinstance(root, StorePath):
        require_root(root)
    elif not root.is_dir():
        raise InputMissingError(
            f"input folder {root} isn't there: mount it, or scan the folder where the images are now"
        )
    return root


@contextmanager
def _reader(root: Place, output: Path, shard: str, hold_mb: int) -> Iterator[tuple[Read, int, Discard]]:
    """Give what reads one object, how many of them are to be read at once, and what forgets one that was measured."""
    with TemporaryDirectory(prefix="tierflow-read-") as scratch:
        folder = Path(scratch)
        if isinstance(root, Path):
            yield _file_reader(root, output, shard, hold_mb, folder), 1, partial(discard, scratch=folder)
            return
        yield _store_reader(root, hold_mb, folder), STORE_READERS, partial(discard, scratch=folder)


def _store_reader(root: StorePath, hold_mb: int, scratch: Path) -> Read:
    def read(job: Job) -> Loaded | ObjectError:
        place = key_below(root, job.path)
        try:
            return load_remote(place, hold_mb=hold_mb, expected=job.bytes, scratch=scratch)
        except ObjectError as error:
            return error

    return read


def _file_reader(root: Path, output: Path, shard: str, hold_mb: int, scratch: Path) -> Read:
    def read(job: Job) -> Loaded | ObjectError:
        path = root / job.path
        try:
            try:
                return load(path, hold_mb=hold_mb)
            except MissingFileError:
                moved = _moved_to(output, shard, job.object_id)
                if moved is None:
                    raise
                if isinstance(moved, StorePath):
                    return load_remote(moved, hold_mb=hold_mb, expected=job.bytes, scratch=scratch)
                return load(moved, hold_mb=hold_mb)
        except MissingFileError as error:
            if not root.is_dir():
                raise TryAgainError(f"input folder {root} went away: run again when it is back") from error
            return error
        except ObjectError as error:
            return error

    return read


def _moved_to(output: Path, shard: str, object_id: str) -> Place | None:
    # Only a run that is repeated after its files were moved needs the journal.
    from tierflow.tiers.whereabouts import current_path

    return current_path(output, shard, object_id)

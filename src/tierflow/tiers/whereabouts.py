"""Where files are now that runs have moved away from their sources, from the journals of an output."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from tierflow.tiers.entries import fold
from tierflow.tiers.files import look
from tierflow.tiers.journal import (
    FOLDER,
    each_journal,
    entries_in,
    journal_path,
    path_in,
    read_lines,
    read_records,
    shards,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from tierflow.objectstore.connect import Place
    from tierflow.tiers.entries import Record


def current_path(output: Path, shard: str, object_id: str) -> Place | None:
    """Return where an object's bytes are now if a former run moved them away from their source, else None.

    For many objects `current_paths` is faster.

    Args:
        output: Output folder.
        shard: Shard of the object.
        object_id: The object.
    """
    states = _states(output)
    for state in states:
        if state[0] == shard and object_id in (own := _cached_own(output, *state)):
            return own[object_id]
    return _cached_all(output, states).get(object_id) if states else None


def current_paths(output: Path, object_ids: Collection[str]) -> dict[str, Place]:
    """Return where the bytes of those objects are now that a former run moved away from their source.

    Args:
        output: Output folder.
        object_ids: Objects to look up; those that stayed are not in the result.
    """
    records = read_records(output, ids=object_ids).values() if (output / FOLDER).is_dir() else ()
    return {record.id: path for record in records if (path := _moved_to(output.absolute(), record))}


def relocated(output: Path) -> dict[str, Place]:
    """Return the current path of every object whose source was removed by `move` or `trash`.

    A file that now lies at the source is another one: callers that find one there should prefer it.
    """
    moved: dict[str, Place] = {}
    for journal, records in each_journal(output):
        moved |= {record.id: path for record in records if (path := _moved_to(journal.output, record))}
    return moved


def _moved_to(output: Path, record: Record) -> Place | None:
    """Only an act that was begun and not closed needs a look at the disk."""
    if record.pending is None:
        return path_in(output, record.placed.destination) if record.placed and record.placed.consumes else None
    if look(path_in(output, record.pending.source)) is not None:
        return None
    for entry in (record.placed, record.pending):
        if entry is not None and look(path := path_in(output, entry.destination)) is not None:
            return path
    return None


def _states(output: Path) -> tuple[tuple[str, int, int], ...]:
    states = []
    for shard in shards(output):
        with suppress(FileNotFoundError):
            info = journal_path(output, shard).stat()
            states.append((shard, info.st_mtime_ns, info.st_size))
    return tuple(states)


@lru_cache(maxsize=4)
def _cached_own(output: Path, shard: str, _mtime_ns: int, _size: int) -> dict[str, Place | None]:
    """Look into one journal only; it can't answer when the data set was cut anew since it was begun."""
    data = read_lines(journal_path(output, shard))
    if data.count(b'{"cut":') > 1:
        return {}
    records = fold((entry, shard) for entry in entries_in(data, None))
    return {record.id: _moved_to(output.absolute(), record) for record in records.values()}


@lru_cache(maxsize=1)
def _cached_all(output: Path, _states: tuple[tuple[str, int, int], ...]) -> dict[str, Place]:
    return relocated(output)

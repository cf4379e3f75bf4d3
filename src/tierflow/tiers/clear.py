"""The second half of a placement: the old names go, once the new one stands durably and the journal says so."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tierflow.errors import TryAgainError
from tierflow.objectstore.connect import StorePath
from tierflow.tiers.acts import closing, each, is_remote, own_folders
from tierflow.tiers.checks import is_link_with
from tierflow.tiers.files import look, remove, remove_empty_folders
from tierflow.tiers.removal import origin_problem, retire
from tierflow.tiers.words import cannot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tierflow.tiers.entries import Entry, Record
    from tierflow.tiers.journal import Journal


def clear(journal: Journal, object_ids: Iterable[str]) -> dict[str, str]:
    """Remove origins of drivers that consume, and destinations that were replaced.

    Args:
        journal: Open journal in which the objects' last lines are of state `done`, synced.
        object_ids: The objects; those with nothing to remove are passed over.

    Returns:
        What is left to be told, in words, by object. Where an origin could not be removed the placement is given up:
        the record then says that the object stands where it stood before.
    """
    problems: dict[str, str] = {}
    lines: list[Entry] = []
    folders: list[str] = []
    records = [record for object_id in object_ids if (record := journal.record(object_id)).pending is not None]
    remote = any(is_remote(record.pending) or is_remote(record.previous) for record in records)

    def go(record: Record) -> tuple[str | None, str | None]:
        done, previous = record.pending, record.previous
        if done is None:
            return None, None
        if done.consumes and done.origin != done.destination and (problem := _remove_origin(journal, done)):
            return problem, None
        if done.consumes:
            _remove_source_link(journal, done)
        return None, None if previous is None else retire(journal, previous, new=done)

    for record, (problem, left) in zip(records, each(go, records, remote=remote), strict=True):
        object_id, done, previous = record.id, record.pending, record.previous
        if done is None:
            continue
        if problem is not None:
            problems[object_id] = problem
            lines.append(closing(done, state="withdrawn", problem=problem))
            folders += own_folders(journal, done)
            continue
        if previous is not None:
            problems |= {object_id: left} if left else {}
            folders += own_folders(journal, previous)
        lines.append(closing(done, state="cleared"))
    # Folders go before the lines: whoever finds the lines missing comes here again.
    remove_empty_folders(journal.path_of(text) for text in folders)
    journal.write(lines, sync=False)
    return problems


def drop(journal: Journal, intent: Entry, problem: str) -> Entry:
    """Tidy up after an act that made nothing and return the line that closes it."""
    remove_empty_folders(journal.path_of(text) for text in intent.folders)
    return closing(intent, state="failed", problem=problem)


def _remove_origin(journal: Journal, done: Entry) -> str | None:
    origin = journal.path_of(done.origin)
    # What was just judged is what goes: a key that is written anew in between stays.
    seen = look(origin) if isinstance(origin, StorePath) else None
    problem = origin_problem(journal, done)
    if problem is not None:
        return problem
    try:
        remove(origin, seen=seen)
    except TryAgainError:
        raise
    except FileExistsError:
        return f"{origin} was written anew after it was copied to {journal.path_of(done.destination)}: both are kept"
    except OSError as error:
        # The bytes were just proven to be at both places, so that taking back ours loses nothing.
        with suppress(OSError):
            remove(journal.path_of(done.destination))
        return cannot("take away", origin, error)
    return None


def _remove_source_link(journal: Journal, done: Entry) -> None:
    """Take away a link at the source whose content was placed from a former destination, because its target is gone."""
    source = journal.path_of(done.source)
    if isinstance(source, Path) and done.origin != done.source and is_link_with(source, done.link_text):
        with suppress(OSError):
            remove(source)

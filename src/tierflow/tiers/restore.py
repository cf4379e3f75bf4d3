"""Bring placed objects back to their source, in groups that share the syncs of the journal."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tierflow.errors import ConfigError, ObjectError
from tierflow.objectstore.connect import StorePath
from tierflow.tiers.acts import (
    batches,
    closing,
    each,
    is_remote,
    is_whole,
    make_folders,
    own_folders,
    sync_folders,
    try_again,
    why,
)
from tierflow.tiers.base import Order
from tierflow.tiers.checks import is_link_with
from tierflow.tiers.files import NO_HARD_LINK, copy_verified, look, make_link, remove, remove_empty_folders
from tierflow.tiers.removal import is_ours, redundant
from tierflow.tiers.transfer import transfer
from tierflow.tiers.words import cannot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tierflow.errors import TierflowError
    from tierflow.objectstore.connect import Place
    from tierflow.tiers.entries import Entry
    from tierflow.tiers.journal import Journal


@dataclass(frozen=True, slots=True)
class Restored:
    """How bringing back one object ended.

    Attributes:
        object_id: The object.
        problem: Why it could not be brought back whole, in words; None when it is back.
    """

    object_id: str
    problem: str | None = None


def restore(
    journal: Journal,
    object_ids: Sequence[str],
    *,
    durable: bool = True,
    on_batch: Callable[[int], None] | None = None,
) -> list[Restored]:
    """Bring objects back to their source and remove their destinations. Never overwrites anything.

    Args:
        journal: Open journal that knows the objects; nothing of theirs may be half placed (see `settle`).
        object_ids: Placed objects.
        durable: Sync files and folders before a destination is removed.
        on_batch: Called with the number of objects just finished.

    Raises:
        TryAgainError: when the source's file system is full or away, or an object store is; what was done is kept.
        ConfigError: when an object store refuses the credentials; what was done is kept.
    """
    results: list[Restored] = []
    for group in batches(object_ids):
        results += _restore_group(journal, group, durable=durable)
        if on_batch is not None:
            on_batch(len(group))
    journal.append(b"", sync=True)
    return results


def why_not(journal: Journal, placed: Entry) -> str | None:
    """Say why an object can't be brought back whole; None when it can. Changes nothing."""
    source, destination = journal.path_of(placed.source), journal.path_of(placed.destination)
    here, there = look(source), look(destination)
    if there is None:
        return None if here is not None else f"neither {source} nor {destination} is there: look for a backup"
    if here is None:
        if is_ours(journal, placed):
            return None
        return f"{destination} was changed since it was placed: it was left there, move it back by hand if it is right"
    # Whether the destination may go then depends on what the link leads to; that may come back at the same time.
    if redundant(journal, placed) or is_link_with(source, placed.link_text):
        return None
    return f"another file is at {source} now: it and {destination} were left as they are, decide by hand which is right"


def _restore_group(journal: Journal, object_ids: Sequence[str], *, durable: bool) -> list[Restored]:
    placed = {object_id: entry for object_id in object_ids if (entry := journal.record(object_id).placed)}
    remote = any(is_remote(entry) for entry in placed.values())
    entries = list(placed.values())
    found = each(lambda entry: (why_not(journal, entry), look(journal.path_of(entry.source))), entries, remote=remote)
    problems = {entry.id: problem for entry, (problem, _) in zip(entries, found, strict=True)}
    missing = [entry for entry, (problem, here) in zip(entries, found, strict=True) if problem is None and here is None]
    journal.write([_intent(entry) for entry in missing], sync=bool(missing))
    failure = _publish_all(journal, missing, problems, durable=durable, remote=remote)
    sync_folders((journal.path_of(entry.source).parent for entry in missing), durable=durable)
    journal.write(
        [replace(_intent(entry), state="done") for entry in missing if problems[entry.id] is None], sync=bool(missing)
    )
    _remove_all(journal, entries, problems, remote=remote)
    if failure is not None:
        raise failure
    return [Restored(object_id, problems.get(object_id)) for object_id in object_ids]


def _intent(placed: Entry) -> Entry:
    return replace(placed, n=0, act="restore", state="intent", origin=placed.destination, destination=placed.source)


def _publish_all(
    journal: Journal, missing: Sequence[Entry], problems: dict[str, str | None], *, durable: bool, remote: bool
) -> TierflowError | None:
    """Give the objects their sources back, until the file system as a whole refuses."""
    broken: list[tuple[Place, Exception]] = []

    def one(entry: Entry) -> str | None:
        source = journal.path_of(entry.source)
        if broken:
            return _words("bring back", source, broken[0][1])
        try:
            make_folders(source.parent)
            _publish(journal, entry, durable=durable)
        except FileExistsError:
            return f"a file appeared at {source}: it was left there, run again to see what it is"
        except ObjectError as error:
            return str(error)
        except (ConfigError, OSError) as error:
            if isinstance(error, ConfigError) or is_whole(error):
                broken.append((source, error))
            return _words("bring back", source, error)
        return None

    for entry, problem in zip(missing, each(one, missing, remote=remote), strict=True):
        problems[entry.id] = problem
    if not broken:
        return None
    source, error = broken[0]
    return try_again(source, error) if isinstance(error, OSError) else cast("ConfigError", error)


def _words(verb: str, path: Place, error: Exception) -> str:
    return why(verb, path, error) if isinstance(error, OSError) else str(error)


def _publish(journal: Journal, placed: Entry, *, durable: bool) -> None:
    source, destination = journal.path_of(placed.source), journal.path_of(placed.destination)
    order = Order(placed.id, destination, source, placed.sha256, durable)
    if placed.link_text is not None and isinstance(source, Path):
        changed = placed.mtime_ns or 0
        make_link(placed.link_text, source, object_id=placed.id, times_ns=(changed, changed))
        return
    if isinstance(source, StorePath) or isinstance(destination, StorePath):
        transfer(replace(order, mode=placed.mode, mtime_ns=placed.mtime_ns))
        return
    if stat.S_ISLNK(os.lstat(destination).st_mode):
        return  # Our own link to a source that someone else removed: it has no bytes to give back.
    try:
        os.link(destination, source, follow_symlinks=False)
        return
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in NO_HARD_LINK:
            raise
    # The tier's file system may not have been able to keep exact times and permission bits; the journal has.
    copy_verified(order, mode=placed.mode, mtime_ns=placed.mtime_ns)


def _remove_all(journal: Journal, placed: Sequence[Entry], problems: dict[str, str | None], *, remote: bool) -> None:
    """Remove the destinations whose bytes are proven to be at the source again."""
    closed, folders = [], []
    back = [entry for entry in placed if problems[entry.id] is None]
    left = each(lambda entry: _remove_one(journal, entry), back, remote=remote)
    problems |= {entry.id: problem for entry, problem in zip(back, left, strict=True)}
    for entry in placed:
        problem = problems[entry.id]
        if problem is None:
            closed.append(closing(_intent(entry), state="undone"))
            folders += own_folders(journal, entry)
        elif journal.record(entry.id).pending is not None:
            closed.append(closing(_intent(entry), state="failed", problem=problem))
    # Folders go before the lines: whoever finds the lines missing comes here again.
    remove_empty_folders(journal.path_of(text) for text in folders)
    journal.write(closed, sync=False)


def _remove_one(journal: Journal, entry: Entry) -> str | None:
    source, destination = journal.path_of(entry.source), journal.path_of(entry.destination)
    there = look(destination)
    if there is None:
        return None
    if (
        isinstance(destination, Path)
        and look(source) is None
        and stat.S_ISLNK(there.st_mode)
        and is_ours(journal, entry)
    ):
        remove(destination)
        return None
    if not redundant(journal, entry):
        return _not_redundant(journal, entry)
    try:
        remove(destination, seen=there)
    except FileExistsError:
        return f"{destination} was written anew while {source} was brought back: it was left there"
    except OSError as error:
        return cannot("remove", destination, error)
    return None


def _not_redundant(journal: Journal, entry: Entry) -> str:
    source, destination = journal.path_of(entry.source), journal.path_of(entry.destination)
    if entry.link_text is not None:
        return (
            f"the link {source} is in its place, but what it leads to ({entry.link_text}) is gone or was changed: "
            f"the content that was placed stays at {destination}"
        )
    return f"{source} changed while it was brought back: it and {destination} were left as they are, compare them"

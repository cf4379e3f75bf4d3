"""The only rules by which a name is ever removed: its bytes must be proven to stand under another name."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from tierflow.objectstore.connect import StorePath
from tierflow.tiers.base import Stamp
from tierflow.tiers.checks import has_content, is_link_with, same_target
from tierflow.tiers.files import link_text_of, look, lstat, remove, target_of
from tierflow.tiers.words import cannot

if TYPE_CHECKING:
    from tierflow.objectstore.connect import Place
    from tierflow.tiers.entries import Entry
    from tierflow.tiers.journal import Journal


def stands_apart(keeper: Place, going: Place) -> bool:
    """Tell whether a real file is behind `keeper` that stays when the name `going` is removed.

    False when `keeper` is a link that leads to `going` (people put such links where a file was moved away), and when
    both are one folder entry seen through two mounts. Two keys of an object store are never one object.
    """
    if isinstance(keeper, StorePath):
        return keeper != going and look(keeper) is not None
    if isinstance(going, StorePath):
        real = target_of(keeper)
        return real is not None and stat.S_ISREG(os.lstat(real).st_mode)
    real, there = target_of(keeper), look(going)
    if real is None or there is None:
        return False
    if real == Path(os.path.realpath(going.parent), going.name):
        return False
    info = os.lstat(real)
    return stat.S_ISREG(info.st_mode) and (not os.path.samestat(info, there) or info.st_nlink > 1)


def origin_problem(journal: Journal, entry: Entry) -> str | None:
    """Say why the origin of a `done` placement must not be removed; None when its bytes stand at the destination.

    Args:
        journal: Where the entry is from.
        entry: Line of state `done` of a driver that consumes.
    """
    origin, destination = journal.path_of(entry.origin), journal.path_of(entry.destination)
    here, there = look(origin), look(destination)
    if there is None:
        return f"{destination} vanished while {origin} was placed, which stays: run again"
    if here is None:
        return None
    if isinstance(origin, Path) and stat.S_ISLNK(here.st_mode):
        may_go = _link_may_go(origin, destination, entry)
    else:
        may_go = stands_apart(destination, origin) and _same_bytes(origin, here, destination, there, entry)
    if may_go:
        return None
    return f"{origin} changed after it was copied to {destination}: both are kept, compare them and remove one by hand"


def retire(journal: Journal, old: Entry, *, new: Entry) -> str | None:
    """Remove the destination of a placement that was replaced, if it is still ours and its bytes stand elsewhere.

    Args:
        journal: Where the entry is from.
        old: The placement that was replaced.
        new: The placement that holds now.

    Returns:
        Why it was left, in words, or None when it is gone.
    """
    path, keeper = journal.path_of(old.destination), journal.path_of(new.destination)
    there = look(path)
    if there is None:
        return None
    if isinstance(path, Path) and stat.S_ISLNK(there.st_mode):
        may_go = _is_own_link(journal, old, path)
    else:
        may_go = stands_apart(keeper, path) and (
            same_target(path, keeper) or (_is_recorded(path, old) and _replaces(keeper, new, old))
        )
    if not may_go:
        return f"{path}, the former place, was changed since: it was left there, compare it and remove it by hand"
    try:
        remove(path, seen=there)
    except FileExistsError:
        return f"{path}, the former place, was written anew: it was left there, compare it and remove it by hand"
    except OSError as error:
        return cannot("remove the former place", path, error)
    return None


def redundant(journal: Journal, placed: Entry) -> bool:
    """Tell whether a destination can go because the source is the same file or has the same bytes or text."""
    source, destination = journal.path_of(placed.source), journal.path_of(placed.destination)
    here, there = look(source), look(destination)
    if here is None or there is None:
        return False
    if isinstance(destination, Path) and stat.S_ISLNK(there.st_mode):
        return _is_own_link(journal, placed, destination) or is_link_with(source, link_text_of(destination))
    if not stands_apart(source, destination):
        return False
    return same_target(source, destination) or (_is_recorded(destination, placed) and _source_holds(journal, placed))


def is_ours(journal: Journal, placed: Entry) -> bool:
    """Tell whether what stands at a destination is what was placed there, unchanged."""
    path = journal.path_of(placed.destination)
    there = look(path)
    if there is None:
        return False
    if isinstance(path, Path) and stat.S_ISLNK(there.st_mode):
        return _is_own_link(journal, placed, path)
    return placed.how != "symbolic_link" and _is_recorded(path, placed)


def _link_may_go(origin: Path, destination: Place, entry: Entry) -> bool:
    """A link itself holds no bytes: it may go when it is the one on record and what it led to was placed."""
    if not is_link_with(origin, entry.link_text):
        return False
    if is_link_with(destination, entry.link_text):
        return True
    return stat.S_ISREG(lstat(destination).st_mode) and _is_recorded(destination, entry)


def _same_bytes(origin: Place, here: os.stat_result, destination: Place, there: os.stat_result, entry: Entry) -> bool:
    if os.path.samestat(here, there):
        return True
    if Stamp.of(here).same_as(entry.origin_stamp) and Stamp.of(there).same_content_as(entry.stamp):
        return True
    by_hash = entry.sha256
    return has_content(destination, sha256=by_hash, stamp=None) and has_content(origin, sha256=by_hash, stamp=None)


def _is_recorded(path: Place, entry: Entry) -> bool:
    return has_content(path, sha256=entry.sha256, stamp=entry.stamp)


def _replaces(keeper: Place, new: Entry, old: Entry) -> bool:
    """Tell whether the new destination holds the bytes that the old one was recorded with."""
    if old.sha256 is not None and new.sha256 == old.sha256 and new.how == "copy":
        return _is_recorded(keeper, new)
    return has_content(keeper, sha256=old.sha256, stamp=None)


def _source_holds(journal: Journal, entry: Entry) -> bool:
    """Tell whether the source has the bytes on record; one that was never removed nor touched needs no reading."""
    source = journal.path_of(entry.source)
    info = look(source)
    if info is None:
        return False
    stayed = not entry.consumes and entry.origin == entry.source and not stat.S_ISLNK(info.st_mode)
    if stayed and Stamp.of(info).same_content_as(entry.origin_stamp):
        return True
    return has_content(source, sha256=entry.sha256, stamp=None)


def _is_own_link(journal: Journal, entry: Entry, path: Path) -> bool:
    """Recognise a symbolic link that was placed, also when its source has vanished or moved since."""
    if entry.how != "symbolic_link":
        return False
    if entry.stamp is not None and Stamp.of(os.lstat(path)).same_content_as(entry.stamp):
        return True
    source = journal.path_of(entry.source)
    if is_link_with(path, entry.link_text):
        return True
    return isinstance(source, Path) and is_link_with(path, str(target_of(source) or source.absolute()))

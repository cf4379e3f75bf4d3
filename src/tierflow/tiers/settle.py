"""Finish or take back what a killed process had begun."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tierflow.errors import ObjectError
from tierflow.objectstore.connect import StorePath, stat_of
from tierflow.objectstore.uploads import FOLDER as UPLOADS
from tierflow.tiers.acts import done_of, each, is_remote, sync_folders
from tierflow.tiers.base import Made, Stamp
from tierflow.tiers.clear import clear, drop
from tierflow.tiers.files import link_text_of, look, remove_parts, sha256_of, target_of
from tierflow.tiers.restore import restore
from tierflow.tiers.transfer import is_own_upload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierflow.objectstore.connect import Place
    from tierflow.tiers.entries import Entry
    from tierflow.tiers.journal import Journal


def settle(journal: Journal, object_ids: Sequence[str], *, durable: bool) -> None:
    """Bring every object to a state in which nothing is half done.

    An intended name that stands is finished like any other; one that does not is forgotten, with its unfinished copy.

    Args:
        journal: Open journal.
        object_ids: Objects to look at.
        durable: Sync folders before an origin is removed.
    """
    pending = [entry for object_id in object_ids if (entry := journal.record(object_id).pending)]
    intents = [entry for entry in pending if entry.act == "place" and entry.state == "intent"]
    _remove_unfinished(journal, pending)
    lines: list[Entry] = []
    remote = any(is_remote(intent) for intent in intents)
    for intent, made in zip(intents, each(lambda line: _made(journal, line), intents, remote=remote), strict=True):
        if made is None:
            lines.append(drop(journal, intent, "interrupted before it was made"))
        else:
            lines.append(done_of(intent, made, old=journal.record(intent.id).placed))
    sync_folders((journal.path_of(line.destination).parent for line in lines if line.destination), durable=durable)
    if lines:
        journal.write(lines, sync=True)
    clear(journal, [entry.id for entry in pending if entry.act == "place"])
    back = [entry.id for entry in pending if entry.act == "restore"]
    if back:
        restore(journal, back, durable=durable)


def _remove_unfinished(journal: Journal, pending: Sequence[Entry]) -> None:
    where: dict[Place, list[str]] = {}
    for entry in pending:
        where.setdefault(journal.path_of(entry.destination).parent, []).append(entry.id)
    remove_parts(where)


def _made(journal: Journal, intent: Entry) -> Made | None:
    """Tell what of an intent was made: a name that is the origin's file, or has its bytes, or its text."""
    origin, destination = journal.path_of(intent.origin), journal.path_of(intent.destination)
    there = look(destination)
    if there is None:
        return None
    if isinstance(destination, StorePath):
        return _made_in_store(journal, intent, destination)
    here = look(origin)
    text = intent.link_text
    own = Stamp.of(here) if here is not None else (intent.origin_stamp or Stamp.of(there))
    stamp, mode = Stamp.of(there), stat.S_IMODE(there.st_mode)
    if stat.S_ISLNK(there.st_mode) and isinstance(origin, Path):
        ours = link_text_of(destination) in {text, str(target_of(origin) or origin)}
        return Made("symbolic_link", intent.sha256, own, stamp, mode, text) if ours else None
    if isinstance(origin, Path) and _same_inode(origin, here, intent, there):
        return Made("hard_link", intent.sha256, own, stamp, mode, text)
    try:
        sha256 = sha256_of(destination)
        expected = intent.sha256 or sha256_of(origin)
    except (OSError, ObjectError):
        return None
    return Made("copy", sha256, own, stamp, mode, text) if sha256 == expected else None


def _made_in_store(journal: Journal, intent: Entry, destination: StorePath) -> Made | None:
    """Tell whether a key is what this intent was to make: by the mark that this run leaves on its own work."""
    head = destination.store.head(destination.key)
    origin = journal.path_of(intent.origin)
    here = look(origin)
    if head is None:
        return None
    try:
        sha256 = intent.sha256 or (None if here is None else sha256_of(origin))
    except ObjectError:
        return None
    ours = is_own_upload(destination, head, ledger=journal.output / UPLOADS, object_id=intent.id, sha256=sha256)
    if not ours:
        return None
    stamp = Stamp.of(stat_of(head, destination.root))
    own = Stamp.of(here) if here is not None else (intent.origin_stamp or stamp)
    mode = _mode_of(origin, here)
    return Made("copy", sha256, own, stamp, mode, intent.link_text)


def _mode_of(origin: Place, here: os.stat_result | None) -> int:
    """Return permission bits for undo; those of a link's target, as when it was placed undisturbed."""
    if here is None:
        return 0o644
    if isinstance(origin, Path) and stat.S_ISLNK(here.st_mode):
        with suppress(OSError):
            return stat.S_IMODE(origin.stat().st_mode)
    return stat.S_IMODE(here.st_mode)


def _same_inode(origin: Path, here: os.stat_result | None, intent: Entry, there: os.stat_result) -> bool:
    if here is None:
        return intent.origin_stamp is not None and intent.origin_stamp[:4] == Stamp.of(there)[:4]
    real = target_of(origin)
    return real is not None and os.path.samestat(os.lstat(real), there)

"""What placing and undoing share: objects in hand, groups of them, trouble in words, durable folders."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from tierflow.errors import TryAgainError
from tierflow.io.atomic import fsync_dir
from tierflow.objectstore.base import NO_LABELS, Labels
from tierflow.objectstore.connect import StorePath, is_url
from tierflow.tiers.base import Placed, Stamp
from tierflow.tiers.entries import Entry
from tierflow.tiers.files import missing_folders
from tierflow.tiers.words import cannot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tierflow.objectstore.connect import Place
    from tierflow.tiers.base import Made
    from tierflow.tiers.journal import Journal

# Objects per sync of the journal: one sync costs some milliseconds, whatever is in it.
BATCH = 256
# Objects on their way to or from an object store at a time; each holds at most one part of an upload in memory.
TRANSFERS = 8

Placement = Literal["placed", "kept", "failed"]
T = TypeVar("T")
R = TypeVar("R")

# Trouble of the whole tier: every next object would meet it as well.
_WHOLE = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.ESTALE,
        errno.EIO,
        errno.ENOTCONN,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ETIMEDOUT,
        errno.EMFILE,
        errno.ENFILE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """What the policy wants for one object.

    Attributes:
        object_id: The object.
        source: Its own place in the input.
        tier: Tier that was chosen.
        driver: Name of the tier's driver.
        wanted: Destination without regard to collisions.
        sha256: Hash of the bytes that were measured, None when they could not be read.
        size: Size at the time of the scan, in bytes.
        mtime_ns: Time of last change at the time of the scan, ns since 1970.
        labels: What an object store is told besides the bytes.
    """

    object_id: str
    source: Place
    tier: str
    driver: str
    wanted: Place
    sha256: str | None
    size: int | None
    mtime_ns: int | None
    labels: Labels = NO_LABELS


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where one object ended.

    Attributes:
        placement: As in the place table.
        destination: Where the tier holds it; None when it stayed at its source.
        problem: What is wrong and what to do, in words; None when all is well.
    """

    placement: Placement
    destination: Place | None = None
    problem: str | None = None


def is_whole(error: OSError) -> bool:
    """Tell whether an error is the tier's own, so that every next object would meet it as well."""
    return isinstance(error, TryAgainError) or error.errno in _WHOLE


def why(verb: str, path: Place, error: OSError) -> str:
    """Say what could not be done, also where the words are those of a store that is away."""
    return str(error) if isinstance(error, TryAgainError) else cannot(verb, path, error)


def each(function: Callable[[T], R], items: Sequence[T], *, remote: bool) -> list[R]:
    """Call a function with every item, several at a time where they wait for an object store.

    Args:
        function: What to do; must be safe in threads.
        items: With what.
        remote: Whether any of it lies in an object store.

    Returns:
        Results in the order of the items. The first error is raised once those under way have ended.
    """
    if not remote or TRANSFERS == 1 or len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(TRANSFERS, len(items)), "tierflow-store") as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def is_remote(entry: Entry | None) -> bool:
    """Tell whether a line speaks of an object store."""
    return entry is not None and (is_url(entry.destination) or is_url(entry.origin) or is_url(entry.source))


def try_again(path: Place, error: OSError) -> TryAgainError:
    """Make the error that ends the step but lets the same command go on later."""
    if isinstance(error, TryAgainError):
        return error
    room = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up"}.get(error.errno or 0)
    text = f"can't write {path}: {room}, make room there" if room else cannot("write", path, error)
    return TryAgainError(f"{text}; then run again: what was done so far is kept and the rest follows")


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield groups that share one sync of the journal."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def sync_folders(folders: Iterable[Place], *, durable: bool) -> None:
    """Make new names in these folders outlive a power cut; what a store has answered for does so."""
    for folder in sorted({path for path in folders if isinstance(path, Path)}) if durable else ():
        fsync_dir(folder)


def make_folders(folder: Place) -> None:
    """Make a folder and those above it; another shard may remove an empty one at the same time, hence the repeat."""
    if isinstance(folder, StorePath):
        return
    for _ in range(3):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:
            continue
        return
    folder.mkdir(parents=True, exist_ok=True)


def new_folders(journal: Journal, folder: Place) -> tuple[str, ...]:
    """Return, as the journal holds them, the folders that placing into `folder` will make."""
    return tuple(journal.text_of(path) for path in missing_folders(folder))


def own_folders(journal: Journal, entry: Entry) -> list[str]:
    """Return the folders that were made for a destination, as the journal holds them; all of those in the output."""
    folders = list(entry.folders)
    destination = journal.path_of(entry.destination)
    if isinstance(destination, Path) and not entry.destination.startswith(os.sep):
        path = destination.parent
        while path != journal.output and path.is_relative_to(journal.output):
            folders.append(journal.text_of(path))
            path = path.parent
    return folders


def done_of(intent: Entry, made: Made, *, old: Entry | None) -> Entry:
    """Return the line that says a destination stands.

    Args:
        intent: Line that announced it.
        made: What the driver made.
        old: The placement that held before. Where the bytes came from there, what is known of the source comes from it.
    """
    carried = old is not None and intent.origin == old.destination
    return replace(
        intent,
        n=0,
        state="done",
        how=made.how,
        sha256=made.sha256 or intent.sha256,
        size=made.stamp.size,
        mtime_ns=old.mtime_ns if carried and old else made.origin_stamp.mtime_ns,
        mode=old.mode if carried and old else made.mode,
        link_text=old.link_text if carried and old else made.link_text,
        origin_stamp=made.origin_stamp,
        stamp=made.stamp,
    )


def closing(
    entry: Entry, *, state: Literal["cleared", "undone", "failed", "withdrawn"], problem: str | None = None
) -> Entry:
    """Return the short line that closes an act; the journal numbers it."""
    return Entry(id=entry.id, n=0, act=entry.act, state=state, problem=problem)


def placed_of(journal: Journal, entry: Entry) -> Placed:
    """Return the placement of a `done` line as drivers check it."""
    return Placed(
        source=journal.path_of(entry.source),
        destination=journal.path_of(entry.destination),
        how=entry.how or "copy",
        sha256=entry.sha256,
        stamp=entry.stamp or Stamp(0, 0, entry.size or 0, 0, 0),
        link_text=entry.link_text,
    )

"""Bring objects to where the policy wants them: names, journal, removal of sources, recovery, for every driver.

The order of writing and syncing is what makes every crash harmless; `design/placement.md` goes through it.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tierflow.errors import ConfigError, ObjectError
from tierflow.objectstore.connect import StorePath, is_url
from tierflow.objectstore.uploads import FOLDER as UPLOADS
from tierflow.objectstore.uploads import drop_uploads
from tierflow.tiers.acts import (
    Outcome,
    batches,
    done_of,
    each,
    is_remote,
    is_whole,
    make_folders,
    new_folders,
    sync_folders,
    try_again,
    why,
)
from tierflow.tiers.base import Made, Order, Stamp
from tierflow.tiers.clear import clear, drop
from tierflow.tiers.decide import decide
from tierflow.tiers.entries import Entry
from tierflow.tiers.files import link_text_of, lstat
from tierflow.tiers.names import free_name
from tierflow.tiers.restore import restore
from tierflow.tiers.settle import settle
from tierflow.tiers.words import cannot

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tierflow.errors import TierflowError
    from tierflow.objectstore.connect import Place
    from tierflow.tiers.acts import Want
    from tierflow.tiers.base import TierDriver
    from tierflow.tiers.journal import Journal

# A name can be taken between choosing and making it; more often than this is no accident.
_NAME_TRIES = 5


@dataclass(frozen=True, slots=True)
class _Job:
    """An object to place, and what there is to tell about it if that goes well."""

    want: Want
    driver: TierDriver
    origin: Place
    problem: str | None
    tries: int = 0


@dataclass(slots=True)
class _Group:
    """What became of the jobs of one group so far."""

    lines: list[Entry] = field(default_factory=list)
    made: list[tuple[_Job, Entry]] = field(default_factory=list)
    failed: list[tuple[_Job, str]] = field(default_factory=list)
    again: list[_Job] = field(default_factory=list)
    broken: list[TierflowError] = field(default_factory=list)


def carry(
    journal: Journal,
    wants: Sequence[Want],
    drivers: Mapping[str, TierDriver],
    *,
    durable: bool = True,
    on_batch: Callable[[int], None] | None = None,
) -> list[Outcome]:
    """Bring objects to their tiers; one object's own trouble ends as its outcome.

    Args:
        journal: Open journal of the shard.
        wants: What is wanted, in the order of the shard.
        drivers: Drivers by name.
        durable: Sync files and folders before an origin is removed.
        on_batch: Called with the number of objects just finished.

    Returns:
        Outcomes in the order of `wants`.

    Raises:
        TryAgainError: when a tier's file system is full, read-only or away; what was done is kept.
        ConfigError: when an object store refuses credentials, bucket or storage class; what was done is kept.
    """
    settle(journal, [want.object_id for want in wants], durable=durable)
    outcomes: dict[str, Outcome] = {}
    known = [want for want in wants if journal.record(want.object_id).placed]
    kinds = each(
        lambda want: decide(journal, want, drivers[want.driver]).kind, known, remote=_any_remote(journal, known)
    )
    back = [want for want, kind in zip(known, kinds, strict=True) if kind == "restore"]
    for result in restore(journal, [want.object_id for want in back], durable=durable) if back else ():
        if result.problem is not None:
            placed = journal.record(result.object_id).placed
            where = journal.path_of(placed.destination) if placed else None
            outcomes[result.object_id] = Outcome("failed", where, result.problem)
    # Links go first: what they lead to may be another object, which a driver takes away from there.
    todo = sorted((want for want in wants if want.object_id not in outcomes), key=lambda w: not w.source.is_symlink())
    for group in batches(todo):
        outcomes |= _carry_group(journal, group, drivers, durable=durable)
        if on_batch is not None:
            on_batch(len(group))
    journal.append(b"", sync=True)
    # Of objects that were to go to an object store and now go elsewhere. Those that failed may still go on.
    drop_uploads(journal.output, [name for name, outcome in outcomes.items() if outcome.placement != "failed"])
    return [outcomes[want.object_id] for want in wants]


def _any_remote(journal: Journal, wants: Iterable[Want]) -> bool:
    return any(
        is_url(want.wanted) or is_url(want.source) or is_remote(journal.record(want.object_id).placed) for want in wants
    )


def _carry_group(
    journal: Journal, wants: Sequence[Want], drivers: Mapping[str, TierDriver], *, durable: bool
) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    jobs: list[_Job] = []
    notes: list[Entry] = []
    decisions = each(
        lambda want: decide(journal, want, drivers[want.driver]), wants, remote=_any_remote(journal, wants)
    )
    for want, decision in zip(wants, decisions, strict=True):
        driver = drivers[want.driver]
        if decision.origin is not None:
            jobs.append(_Job(want, driver, decision.origin, decision.problem))
            continue
        if decision.entry is not None:
            notes.append(decision.entry)
        outcomes[want.object_id] = decision.outcome or Outcome("failed", None, "it changes all the time: run again")
    if notes:
        journal.write(notes, sync=True)
    while jobs:
        done, jobs = _place_group(journal, jobs, durable=durable)
        outcomes |= done
    return outcomes


def _place_group(journal: Journal, jobs: Sequence[_Job], *, durable: bool) -> tuple[dict[str, Outcome], list[_Job]]:
    """Place a group; return how each ended, and the jobs whose name was taken meanwhile."""
    group = _Group()
    remote = _any_remote(journal, [job.want for job in jobs])
    intents = _announce(journal, jobs, group, remote=remote)
    results = each(lambda pair: _make(journal, *pair, group, durable=durable), intents, remote=remote)
    for (job, intent), result in zip(intents, results, strict=True):
        _note(journal, job, intent, result, group)
    sync_folders(_touched(journal, group), durable=durable)
    if group.lines:
        journal.write(group.lines, sync=True)
    left = clear(journal, [entry.id for _, entry in group.made])
    if group.broken:
        raise group.broken[0]
    outcomes = {job.want.object_id: _failure(journal, job, problem) for job, problem in group.failed}
    for job, entry in group.made:
        placed = journal.record(entry.id).placed
        stands = placed is not None and placed.destination == entry.destination
        outcomes[entry.id] = (
            Outcome("placed", journal.path_of(entry.destination), job.problem or left.get(entry.id))
            if stands
            else _failure(journal, job, left.get(entry.id, "its source could not be removed"))
        )
    return outcomes, group.again


def _announce(journal: Journal, jobs: Sequence[_Job], group: _Group, *, remote: bool) -> list[tuple[_Job, Entry]]:
    """Choose names and write the intents, durably."""

    def intent(job: _Job) -> Entry | str:
        try:
            return _intent(journal, job)
        except OSError as error:
            return cannot("place", job.origin, error)

    intents = []
    for job, found in zip(jobs, each(intent, jobs, remote=remote), strict=True):
        if isinstance(found, str):
            group.failed.append((job, found))
        else:
            intents.append((job, found))
    if intents:
        journal.write([intent for _, intent in intents], sync=True)
    return intents


def _intent(journal: Journal, job: _Job) -> Entry:
    want = job.want
    destination = free_name(want.wanted, want.object_id)
    own = lstat(job.origin)
    return Entry(
        id=want.object_id,
        n=0,
        act="place",
        state="intent",
        tier=want.tier,
        driver=want.driver,
        consumes=job.driver.consumes,
        source=journal.text_of(want.source),
        origin=journal.text_of(job.origin),
        wanted=journal.text_of(want.wanted),
        destination=journal.text_of(destination),
        sha256=want.sha256,
        link_text=_link_text(job.origin, own),
        origin_stamp=Stamp.of(own),
        folders=new_folders(journal, destination.parent),
    )


def _link_text(origin: Place, own: os.stat_result) -> str | None:
    return link_text_of(origin) if isinstance(origin, Path) and stat.S_ISLNK(own.st_mode) else None


def _make(journal: Journal, job: _Job, intent: Entry, group: _Group, *, durable: bool) -> Made | Exception:
    """Let the driver make one destination; return what it made or why it didn't."""
    destination = journal.path_of(intent.destination)
    if group.broken:
        return _NotBegunError()
    try:
        make_folders(destination.parent)
        order = Order(
            intent.id, job.origin, destination, intent.sha256, durable, job.want.labels, journal.output / UPLOADS
        )
        former = journal.record(intent.id).placed
        if former is not None and isinstance(job.origin, StorePath):
            order = replace(order, mode=former.mode, mtime_ns=former.mtime_ns)
        return job.driver.publish(order)
    except (FileExistsError, ObjectError) as error:
        return error
    except ConfigError as error:
        group.broken.append(error)
        return error
    except OSError as error:
        if is_whole(error):
            group.broken.append(try_again(destination, error))
        return error


def _note(journal: Journal, job: _Job, intent: Entry, result: Made | Exception, group: _Group) -> None:
    """Note the line that says how making one destination ended."""
    destination = journal.path_of(intent.destination)
    if isinstance(result, Made):
        entry = done_of(intent, result, old=journal.record(intent.id).placed)
        group.lines.append(entry)
        group.made.append((job, entry))
        return
    if isinstance(result, _NotBegunError):
        problem = "not begun"
    elif isinstance(result, FileExistsError):
        problem = f"{destination} was taken by another program at the same moment: run again"
        if job.tries < _NAME_TRIES:
            group.again.append(replace(job, tries=job.tries + 1))
        else:
            group.failed.append((job, problem))
    else:
        problem = why("make", destination, result) if isinstance(result, OSError) else str(result)
        group.failed.append((job, problem))
    group.lines.append(drop(journal, intent, problem))


class _NotBegunError(Exception):
    """The tier as a whole had refused before the turn came to this object."""


def _touched(journal: Journal, group: _Group) -> Iterator[Place]:
    """Yield the folders whose entries changed: those of the new names, and those in which folders were made."""
    for _, entry in group.made:
        yield journal.path_of(entry.destination).parent
        for folder in entry.folders:
            yield journal.path_of(folder).parent


def _failure(journal: Journal, job: _Job, problem: str) -> Outcome:
    """Say that placing failed; the object stands where it stood before."""
    placed = journal.record(job.want.object_id).placed
    return Outcome("failed", journal.path_of(placed.destination) if placed else None, problem)

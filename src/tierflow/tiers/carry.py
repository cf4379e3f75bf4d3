"""Bring objects to where the policy wants them: names, journal, removal of sources, recovery, for every driver.

The order of writing and syncing is what makes every crash harmless; `design/placement.md` goes through it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tierflow.errors import ObjectError
from tierflow.tiers.acts import (
    Outcome,
    batches,
    done_of,
    is_whole,
    make_folders,
    new_folders,
    sync_folders,
    try_again,
)
from tierflow.tiers.base import Order, Stamp
from tierflow.tiers.clear import clear, drop
from tierflow.tiers.decide import decide
from tierflow.tiers.entries import Entry
from tierflow.tiers.files import cannot, link_text_of
from tierflow.tiers.names import free_name
from tierflow.tiers.restore import restore
from tierflow.tiers.settle import settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tierflow.errors import TryAgainError
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
    origin: Path
    problem: str | None
    tries: int = 0


@dataclass(slots=True)
class _Group:
    """What became of the jobs of one group so far."""

    lines: list[Entry] = field(default_factory=list)
    made: list[tuple[_Job, Entry]] = field(default_factory=list)
    failed: list[tuple[_Job, str]] = field(default_factory=list)
    again: list[_Job] = field(default_factory=list)
    broken: TryAgainError | None = None


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
    """
    settle(journal, [want.object_id for want in wants], durable=durable)
    outcomes: dict[str, Outcome] = {}
    back = [
        want
        for want in wants
        if journal.record(want.object_id).placed and decide(journal, want, drivers[want.driver]).kind == "restore"
    ]
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
    return [outcomes[want.object_id] for want in wants]


def _carry_group(
    journal: Journal, wants: Sequence[Want], drivers: Mapping[str, TierDriver], *, durable: bool
) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    jobs: list[_Job] = []
    notes: list[Entry] = []
    for want in wants:
        driver = drivers[want.driver]
        decision = decide(journal, want, driver)
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
    intents = _announce(journal, jobs, group)
    for job, intent in intents:
        _make(journal, job, intent, group, durable=durable)
    sync_folders(_touched(journal, group), durable=durable)
    if group.lines:
        journal.write(group.lines, sync=True)
    left = clear(journal, [entry.id for _, entry in group.made])
    if group.broken is not None:
        raise group.broken
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


def _announce(journal: Journal, jobs: Sequence[_Job], group: _Group) -> list[tuple[_Job, Entry]]:
    """Choose names and write the intents, durably."""
    intents = []
    for job in jobs:
        try:
            intents.append((job, _intent(journal, job)))
        except OSError as error:
            group.failed.append((job, cannot("place", job.origin, error)))
    if intents:
        journal.write([intent for _, intent in intents], sync=True)
    return intents


def _intent(journal: Journal, job: _Job) -> Entry:
    want = job.want
    destination = free_name(want.wanted, want.object_id)
    own = os.lstat(job.origin)
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
        link_text=link_text_of(job.origin) if stat.S_ISLNK(own.st_mode) else None,
        origin_stamp=Stamp.of(own),
        folders=new_folders(journal, destination.parent),
    )


def _make(journal: Journal, job: _Job, intent: Entry, group: _Group, *, durable: bool) -> None:
    """Let the driver make one destination, and note the line that says how it ended."""
    destination = journal.path_of(intent.destination)
    if group.broken is not None:
        group.lines.append(drop(journal, intent, "not begun"))
        return
    try:
        make_folders(destination.parent)
        made = job.driver.publish(Order(intent.id, job.origin, destination, intent.sha256, durable))
    except FileExistsError:
        problem = f"{destination} was taken by another program at the same moment: run again"
        if job.tries < _NAME_TRIES:
            group.again.append(replace(job, tries=job.tries + 1))
        else:
            group.failed.append((job, problem))
    except ObjectError as error:
        problem = str(error)
        group.failed.append((job, problem))
    except OSError as error:
        problem = cannot("make", destination, error)
        group.failed.append((job, problem))
        group.broken = try_again(destination, error) if is_whole(error) else None
    else:
        entry = done_of(intent, made, old=journal.record(intent.id).placed)
        group.lines.append(entry)
        group.made.append((job, entry))
        return
    group.lines.append(drop(journal, intent, problem))


def _touched(journal: Journal, group: _Group) -> Iterator[Path]:
    """Yield the folders whose entries changed: those of the new names, and those in which folders were made."""
    for _, entry in group.made:
        yield journal.path_of(entry.destination).parent
        for folder in entry.folders:
            yield journal.path_of(folder).parent


def _failure(journal: Journal, job: _Job, problem: str) -> Outcome:
    """Say that placing failed; the object stands where it stood before."""
    placed = journal.record(job.want.object_id).placed
    return Outcome("failed", journal.path_of(placed.destination) if placed else None, problem)

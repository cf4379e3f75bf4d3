"""Prove that every object is in exactly one right place with the bytes on record."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tierflow import plugins, tables
from tierflow.io.remote import input_root, key_below
from tierflow.objectstore.connect import StorePath, place_at
from tierflow.objectstore.uploads import notes
from tierflow.tiers.acts import each, is_remote, placed_of
from tierflow.tiers.checks import has_content, same_target
from tierflow.tiers.files import PART_SUFFIX, look
from tierflow.tiers.journal import damaged_lines, each_journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tierflow.objectstore.connect import Place
    from tierflow.tiers.entries import Entry, Record
    from tierflow.tiers.journal import Journal


_UNFINISHED = "an unfinished upload that a killed process left: run `tierflow place` again, which ends or removes it"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        path: The file.
        problem: What is wrong and what to do, in words.
        object_id: The object, None for a file that belongs to none.
    """

    path: Place
    problem: str
    object_id: str | None = None


@dataclass(slots=True)
class VerifyReport:
    """What was found.

    Attributes:
        hashed: Whether files were read and their SHA-256 compared; otherwise only kinds and sizes were.
        checked: Objects that were looked at.
        by_tier: Objects in their right place by tier; those that stayed at their source under the name "".
        missing: Objects that are neither where they were placed nor, where they should be, at their source.
        changed: Objects whose content isn't the one on record.
        doubled: Objects that should be at one place and are at two.
        interrupted: Objects whose placing or undoing was begun and not finished; running again finishes it.
        foreign: Files in tier folders that belong to no object.
        leftovers: Unfinished copies that a killed process left.
        damaged: Damaged lines by journal.
    """

    hashed: bool
    checked: int = 0
    by_tier: dict[str, int] = field(default_factory=dict)
    missing: list[Finding] = field(default_factory=list)
    changed: list[Finding] = field(default_factory=list)
    doubled: list[Finding] = field(default_factory=list)
    interrupted: list[Finding] = field(default_factory=list)
    foreign: list[Finding] = field(default_factory=list)
    leftovers: list[Finding] = field(default_factory=list)
    damaged: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every object is in exactly one right place; files that belong to no object don't count."""
        return not (self.missing or self.changed or self.doubled or self.interrupted or self.damaged)


def verify(output: Path, *, hash_files: bool = True, on_progress: Callable[[int], None] | None = None) -> VerifyReport:
    """Check every object of a run: those that were placed against the journal, the others at their source.

    Args:
        output: Output folder.
        hash_files: Read every file and compare its SHA-256; otherwise compare kinds and sizes only.
        on_progress: Called with the number of objects just checked.
    """
    output = output.absolute()
    report = VerifyReport(hash_files, damaged=damaged_lines(output))
    known: set[str] = set()
    placed_ids: set[str] = set()
    roots: set[Place] = {output / "tiers", output / "trash"}
    for journal, records in each_journal(output):
        remote = any(is_remote(record.placed) for record in records)
        problems = each(partial(_problem, journal, hash_files=hash_files), records, remote=remote)
        for record, problem in zip(records, problems, strict=True):
            entry = record.placed
            if record.pending is not None:
                _interrupted(journal, record.pending, report)
                placed_ids.add(record.id)
                known |= {str(journal.path_of(line.destination)) for line in _lines(record)}
            elif entry is not None:
                placed_ids.add(record.id)
                known.add(str(journal.path_of(entry.destination)))
                _check_placed(journal, entry, report, problem)
            if entry is not None:
                roots.add(_root_of(journal, entry))
            if on_progress is not None:
                on_progress(1)
    _check_unplaced(output, placed_ids, report, on_progress)
    _look_for_others((root for root in roots if isinstance(root, Path)), known, report)
    for root in sorted(root for root in roots if isinstance(root, StorePath)):
        _look_for_others_in_store(root, known, report)
    for note in notes(output):
        report.leftovers.append(Finding(place_at(note.url), _UNFINISHED, note.object_id))
    return report


def _lines(record: Record) -> Iterator[Entry]:
    for entry in (record.placed, record.pending, record.previous):
        if entry is not None:
            yield entry


def _interrupted(journal: Journal, entry: Entry, report: VerifyReport) -> None:
    verb = "undoing" if entry.act == "restore" else "placing"
    problem = f"{verb} it was interrupted: run `tierflow {'undo' if entry.act == 'restore' else 'place'}` again"
    report.checked += 1
    report.interrupted.append(Finding(journal.path_of(entry.source), problem, entry.id))


def _problem(journal: Journal, record: Record, *, hash_files: bool) -> str | None:
    """Let the driver judge a placement; what was begun and not finished is for the next run to judge."""
    if record.pending is not None or record.placed is None:
        return None
    driver = plugins.load("tiers", record.placed.driver)()
    problem: str | None = driver.verify(placed_of(journal, record.placed), hash_files=hash_files)
    return problem


def _check_placed(journal: Journal, entry: Entry, report: VerifyReport, problem: str | None) -> None:
    report.checked += 1
    source, destination = journal.path_of(entry.source), journal.path_of(entry.destination)
    if problem is not None:
        kind = report.missing if look(destination) is None else report.changed
        kind.append(Finding(destination, problem, entry.id))
    elif entry.consumes and look(source) is not None and not _leads_to(source, destination):
        text = f"a file is at the source again while {destination} holds the one that was placed: compare them"
        report.doubled.append(Finding(source, text, entry.id))
    elif not entry.consumes and look(source) is None:
        report.missing.append(Finding(source, f"the source is missing; {destination} still has it", entry.id))
    else:
        report.by_tier[entry.tier] = report.by_tier.get(entry.tier, 0) + 1


def _leads_to(source: Place, destination: Place) -> bool:
    """Accept a symbolic link that someone put at the source so that old paths go on working."""
    return source.is_symlink() and same_target(source, destination)


def _check_unplaced(
    output: Path, placed: set[str], report: VerifyReport, on_progress: Callable[[int], None] | None
) -> None:
    """Check at their source the objects that were never placed, failed to be, or whose tier makes no destination."""
    for shard in sorted((output / "scan" / "shards").glob("*.parquet")):
        score = output / "score" / shard.name
        objects = tables.read(shard, ["object_id", "path_bytes"])
        root = input_root(tables.metadata_of(objects).get("input", ""))
        scores = tables.read(score, ["object_id", "sha256"]).to_pylist() if score.exists() else []
        hashes = {row["object_id"]: row["sha256"] for row in scores}
        for row in objects.to_pylist():
            object_id = row["object_id"]
            if object_id in placed:
                continue
            relative = os.fsdecode(row["path_bytes"])
            source = key_below(root, relative) if isinstance(root, StorePath) else root / relative
            _check_source(source, object_id, hashes.get(object_id), report)
            if on_progress is not None:
                on_progress(1)


def _check_source(source: Place, object_id: str, sha256: str | None, report: VerifyReport) -> None:
    report.checked += 1
    if look(source) is None:
        report.missing.append(Finding(source, "it isn't at its source and was never placed elsewhere", object_id))
    elif report.hashed and sha256 is not None and not has_content(source, sha256=sha256, stamp=None):
        text = "its content isn't the one that was measured: run again, so that it is measured anew"
        report.changed.append(Finding(source, text, object_id))
    else:
        report.by_tier[""] = report.by_tier.get("", 0) + 1


def _root_of(journal: Journal, entry: Entry) -> Place:
    """Return the tier's folder: what is left of the destination without the part that it shares with the source."""
    wanted, source = journal.path_of(entry.wanted), journal.path_of(entry.source)
    parts, own = list(wanted.parts), list(source.parts)
    while len(parts) > 1 and own and parts[-1] == own[-1]:
        parts.pop()
        own.pop()
    return StorePath(wanted.root, "/".join(parts[1:])) if isinstance(wanted, StorePath) else Path(*parts)


def _look_for_others_in_store(root: StorePath, known: set[str], report: VerifyReport) -> None:
    prefix = f"{root.key}/" if root.key else ""
    for head in root.store.scan(prefix):
        path = StorePath(root.root, head.key)
        if str(path) in known:
            continue
        if path.name.startswith(".") and path.name.endswith(PART_SUFFIX):
            report.leftovers.append(Finding(path, _UNFINISHED))
        elif not head.key.endswith("/"):
            report.foreign.append(Finding(path, "it belongs to no object of this run"))


def _look_for_others(roots: Iterable[Path], known: set[str], report: VerifyReport) -> None:
    seen: set[str] = set()
    for root in roots:
        for folder, _, names in os.walk(root):
            for name in names:
                path = Path(folder, name)
                if str(path) in known or str(path) in seen:
                    continue
                seen.add(str(path))
                if name.startswith(".") and name.endswith(PART_SUFFIX):
                    text = "an unfinished copy that a killed process left: run again, or remove it"
                    report.leftovers.append(Finding(path, text))
                else:
                    report.foreign.append(Finding(path, "it belongs to no object of this run"))

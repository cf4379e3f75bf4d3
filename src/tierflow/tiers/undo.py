"""Take placements back: every file to its source, byte for byte, from the journal alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierflow.objectstore.uploads import drop_uploads
from tierflow.tiers.files import remove_empty_folders
from tierflow.tiers.journal import each_journal, made_folders, open_journal, own_records, shared_records
from tierflow.tiers.restore import restore, why_not
from tierflow.tiers.settle import settle

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from tierflow.objectstore.connect import Place
    from tierflow.tiers.entries import Entry, Record
    from tierflow.tiers.journal import Journal


@dataclass(frozen=True, slots=True)
class Conflict:
    """An object that could not be brought back whole; nothing of it was lost or overwritten.

    Attributes:
        object_id: The object.
        source: Its own place in the input.
        destination: Where it is in the tier.
        problem: Why, and what to do, in words.
    """

    object_id: str
    source: Place
    destination: Place
    problem: str


@dataclass(slots=True)
class UndoReport:
    """What undo did, or with a dry run would do.

    Attributes:
        dry_run: Nothing was changed.
        moved_back: Files that were away from their source and are back.
        removed: Links and copies that were removed; their sources had stayed.
        bytes: Size of the files that were moved back.
        by_tier: Objects taken back by tier.
        conflicts: Objects that could not be brought back whole.
        tables_removed: Tables of the step `place` that no longer hold and were removed: `tierflow run` and
            `tierflow place` would place again.
    """

    dry_run: bool
    moved_back: int = 0
    removed: int = 0
    bytes: int = 0
    by_tier: dict[str, int] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    tables_removed: int = 0


def undo(
    output: Path,
    *,
    dry_run: bool,
    tier: str | None = None,
    object_ids: Collection[str] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> UndoReport:
    """Bring placed objects back to their source. May be killed at any moment and run again.

    A file that sits at a source is never overwritten, and a destination is removed only when its bytes are proven to be
    at the source.

    Args:
        output: Output folder.
        dry_run: Only say what would be done.
        tier: Only objects of this tier.
        object_ids: Only these objects.
        on_progress: Called with the number of objects just finished.

    Raises:
        TryAgainError: when a shard is being placed, or the source's disk is full or away; what was done is kept.
    """
    output = output.absolute()
    report = UndoReport(dry_run)

    def chosen(records: Iterable[Record]) -> list[str]:
        return [record.id for record in records if _is_chosen(record, tier=tier, object_ids=object_ids)]

    if dry_run:
        for journal, records in each_journal(output):
            placed_now = [entry for object_id in chosen(records) if (entry := journal.record(object_id).placed)]
            problems = {entry.id: why_not(journal, entry) for entry in placed_now}
            _count(journal, placed_now, report, problems=problems)
        return report
    # Files that were moved come first: what a link at a source leads to may be one of them, in any shard.
    for wanted in (_is_moved_file, _is_other):
        shared = shared_records(output)
        for shard in _shards_with(output, chosen):
            with open_journal(output, shard) as journal:
                ids = chosen(own_records(journal, shared))
                # The tables go first: a killed undo must not leave tables that tell of files which are no longer there.
                report.tables_removed += _remove_tables(output)
                settle(journal, ids, durable=True)
                placed = {i: entry for i in ids if (entry := journal.record(i).placed) and wanted(entry)}
                results = restore(journal, list(placed), on_batch=on_progress)
                problems = {result.object_id: result.problem for result in results}
                _count(journal, placed.values(), report, problems=problems)
                drop_uploads(output, [i for i in ids if journal.record(i).placed is None])
    remove_empty_folders(made_folders(output))
    return report


def _is_moved_file(entry: Entry) -> bool:
    return entry.consumes and entry.link_text is None


def _is_other(entry: Entry) -> bool:
    return not _is_moved_file(entry)


def _is_chosen(record: Record, *, tier: str | None, object_ids: Collection[str] | None) -> bool:
    entry = record.placed or record.pending
    if entry is None or (object_ids is not None and record.id not in object_ids):
        return False
    return tier is None or entry.tier == tier


def _shards_with(output: Path, chosen: Callable[[Iterable[Record]], list[str]]) -> list[str]:
    return [journal.shard for journal, records in each_journal(output) if chosen(records)]


def _count(
    journal: Journal, placed: Iterable[Entry], report: UndoReport, *, problems: Mapping[str, str | None]
) -> None:
    """Enter placements that were, or would be, taken back into the report."""
    for entry in placed:
        problem = problems[entry.id]
        if problem is not None:
            source, destination = journal.path_of(entry.source), journal.path_of(entry.destination)
            report.conflicts.append(Conflict(entry.id, source, destination, problem))
            continue
        report.by_tier[entry.tier] = report.by_tier.get(entry.tier, 0) + 1
        if entry.consumes:
            report.moved_back += 1
            report.bytes += entry.size or 0
        else:
            report.removed += 1


def _remove_tables(output: Path) -> int:
    tables = list((output / "place").glob("*.parquet"))
    for table in tables:
        table.unlink(missing_ok=True)
    return len(tables)

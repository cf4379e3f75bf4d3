"""What becomes of the objects of a batch that failed: halves, pauses, dead letters, or simply another turn."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

from tierflow import tables
from tierflow.clock import utc_now
from tierflow.errors import PoisonError
from tierflow.measure import NO_PLANE, make_extractors, units_of
from tierflow.steps.places import arguments
from tierflow.stream.batches import halves, in_units
from tierflow.stream.ledger import insert_news
from tierflow.stream.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierflow.config import Extract
    from tierflow.config_stream import Retry
    from tierflow.stream.batch import Batch
    from tierflow.stream.ledger import Ledger, Row


def pause_s(retry: Retry, attempts: int) -> float:
    """Return the seconds to wait after so many failed attempts."""
    # A large exponent would overflow long before the longest pause matters.
    return min(retry.backoff_s * 2.0 ** min(attempts - 1, 60), retry.backoff_most_s)


def is_dead(rows: Sequence[Row], retry: Retry, *, again: bool) -> bool:
    """Tell whether objects that failed once more are given up.

    Only a unit that was alone in its batch may be; and only the second time, where more than one attempt is allowed: a
    worker may have died of something else.

    Args:
        rows: Objects of the batch, as they were when it began.
        retry: How many attempts there are.
        again: They had failed before; otherwise their cohort is a former version's.
    """
    alone_before = again and all(row.cohort is not None and row.cohort < 0 for row in rows)
    attempts = max(row.attempts for row in rows) + 1
    return len(in_units(rows)) == 1 and attempts >= retry.attempts and (alone_before or retry.attempts == 1)


def give_back(ledger: Ledger, batch: Batch, *, problem: str) -> None:
    """Give up a batch for a reason that isn't its objects': no attempt is counted, and they get another turn.

    Those that had failed before stay apart from the others, as they were.
    """
    with ledger.transaction() as db:
        _look_again(db, batch)
        db.execute(
            "UPDATE objects SET state = CASE WHEN attempts > 0 THEN ? ELSE ? END, not_before = 0 "
            "WHERE batch = ? AND state = ?",
            (State.FAILED, State.READY, batch.number, State.RUNNING),
        )
        _end(db, batch, problem)
    shutil.rmtree(batch.folder, ignore_errors=True)


def give_up(ledger: Ledger, batch: Batch, rows: Sequence[Row], retry: Retry, *, problem: str, count: bool) -> None:
    """Give up a batch whose objects, or some of them, may be at fault: they failed, and are tried again in halves.

    Args:
        ledger: The ledger.
        batch: The batch.
        rows: Its objects, as they were when it began.
        retry: How often, after which pauses.
        problem: What happened, in words.
        count: The attempt counts. Otherwise objects that were alone wait as long as they have waited since they became
            ready, which doubles as well.
    """
    now = time.time()
    first, second = halves(rows)
    alone = not second
    with ledger.transaction() as db:
        changed = _look_again(db, batch)
        for cohort, part in ((2 * batch.number, first), (2 * batch.number + 1, second)):
            for row in part:
                attempts = row.attempts + count
                waited = now - (row.ready_at if row.ready_at is not None else now)
                pause = pause_s(retry, attempts) if count else min(max(waited, retry.backoff_s), retry.backoff_most_s)
                db.execute(
                    "UPDATE objects SET state = ?, attempts = ?, not_before = ?, cohort = ?, reason = ? "
                    "WHERE id = ? AND batch = ? AND state = ?",
                    (
                        State.FAILED,
                        attempts,
                        # Halving is itself the way out; neighbours of a culprit needn't wait for it.
                        now + pause if alone else now,
                        # Only a negative number says that it failed alone.
                        -batch.number if alone else cohort,
                        problem,
                        row.id,
                        batch.number,
                        State.RUNNING,
                    ),
                )
        if alone:
            told: list[tuple[int, dict[str, Any]]] = [
                (
                    row.id,
                    {
                        "object_id": row.object_id,
                        "path": row.path.decode("utf-8", "backslashreplace"),
                        "reason": problem,
                        "attempts": row.attempts + count,
                    },
                )
                for row in rows
                if row.id not in changed
            ]
            insert_news(db, "failed", told)
        else:
            insert_news(db, "batch", [(None, {"objects": len(rows), "problem": problem})])
        _end(db, batch, problem)
    shutil.rmtree(batch.folder, ignore_errors=True)


def bury(ledger: Ledger, batch: Batch, rows: Sequence[Row], settings: Extract, *, problem: str) -> None:
    """Write the extract table of objects that are given up; committed like any other, it puts them in quarantine.

    Raises:
        TryAgainError: if the disk is full.
    """
    attempts = max(row.attempts for row in rows) + 1
    reason = f"given up after {attempts} failed attempts, the last one: {problem}"
    # What a former attempt to commit left would be taken for the result of this one.
    for part in batch.folder.iterdir():
        if part.is_dir() and part.name != "scan":
            shutil.rmtree(part)
    found = [
        {
            "object_id": row.object_id,
            "plane": NO_PLANE,
            "status": "failed",
            "flag": PoisonError.flag,
            "reason": reason,
            "bytes": row.size,
        }
        for row in sorted(rows, key=lambda row: row.path)
    ]
    schema = tables.extract_schema(units_of(make_extractors(settings)))
    table = arguments("extract", batch.folder, shard=batch.shard)["table"]
    tables.write(table, tables.from_rows(found, schema), at=utc_now())
    with ledger.transaction() as db:
        db.executemany(
            "UPDATE objects SET attempts = attempts + 1, reason = ? WHERE id = ? AND state = ?",
            [(reason, row.id, State.RUNNING) for row in rows],
        )


def _look_again(db: Any, batch: Batch) -> set[int]:
    """Have those files looked at anew that were written again while they were running: they may be half written."""
    found = db.execute(
        "SELECT id FROM objects WHERE batch = ? AND state = ? AND ready_at IS NULL", (batch.number, State.RUNNING)
    )
    numbers = {number for (number,) in found.fetchall()}
    db.executemany(
        "UPDATE objects SET state = ?, attempts = 0, not_before = 0, cohort = NULL, incomplete = 0, reason = ? "
        "WHERE id = ?",
        [(State.WAITING, "it was written again while it was measured", number) for number in numbers],
    )
    return numbers


def _end(db: Any, batch: Batch, problem: str) -> None:
    db.execute(
        "UPDATE batches SET stage = 'given_up', problem = ?, ended_at = ? WHERE id = ?",
        (problem, time.time(), batch.number),
    )

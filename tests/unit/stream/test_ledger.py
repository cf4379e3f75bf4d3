"""The ledger: states are counted exactly, transactions hold together, other processes may leave requests."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

import pytest

from tierflow.errors import ConfigError, InputMissingError
from tierflow.stream.batch import LEDGER
from tierflow.stream.ledger import Ledger
from tierflow.stream.states import ENDED, OPEN, State

if TYPE_CHECKING:
    from pathlib import Path


def insert(ledger: Ledger, *names: str, state: State = State.READY) -> list[int]:
    """Add objects; return their numbers."""
    with ledger.transaction() as db:
        return [
            int(
                db.execute(
                    "INSERT INTO objects (path, folder, object_id, state, size, mtime_ns, inode, seen_at, changed_at) "
                    "VALUES (?, '', ?, ?, 1, 2, 3, 4, 5)",
                    (name.encode(), name, state),
                ).lastrowid
                or 0
            )
            for name in names
        ]


def test_every_state_is_open_or_ended() -> None:
    """No state is forgotten by those that count what is left."""
    assert set(State) == OPEN | ENDED
    assert not OPEN & ENDED


def test_counts_follow_every_change(ledger: Ledger) -> None:
    """Counts are exact after inserts, changes, and a transaction that failed."""
    ids = insert(ledger, "a", "b", "c")
    ledger.begin_batch(ids[:2], shard=7)
    assert ledger.counts() == dict.fromkeys(State, 0) | {State.READY: 1, State.RUNNING: 2}
    with pytest.raises(sqlite3.IntegrityError), ledger.transaction() as db:
        db.execute("UPDATE objects SET state = CASE id WHEN 1 THEN 'done' END")
    assert ledger.counts() == dict.fromkeys(State, 0) | {State.READY: 1, State.RUNNING: 2}


def test_a_batch_takes_only_what_is_ready(ledger: Ledger) -> None:
    """An object can't be in two batches, and a refused batch leaves nothing behind."""
    first, second = insert(ledger, "a", "b")
    batch = ledger.begin_batch([first], shard=0)
    with pytest.raises(ValueError, match="1 of 2 objects"):
        ledger.begin_batch([first, second], shard=0)
    assert [b.number for b in ledger.batches("measuring")] == [batch.number]
    assert ledger.rows("id = ?", (second,))[0].state == State.READY
    assert batch.folder == ledger.output / ".tierflow/stream/batches/00000001"
    assert ledger.batches("measuring")[0] == batch


def test_requests_of_another_process_are_answered(ledger: Ledger) -> None:
    """A request waits until it is answered, and its answer can be read by who asked."""
    other = Ledger(ledger.output)
    number = other.ask("retry", by="anna", arguments={"ids": [1]})
    assert ledger.requests() == [(number, "anna", "retry", {"ids": [1]})]
    assert other.answered(number) is None
    ledger.answer(number, {"objects": 1})
    assert ledger.requests() == []
    assert other.answered(number) == {"objects": 1}
    other.close()


def test_readers_see_what_is_written_and_write_nothing(ledger: Ledger) -> None:
    """A reader sees committed rows at once and is refused to write."""
    reader = Ledger(ledger.output, read_only=True)
    insert(ledger, "a")
    ledger.note(service={"state": "running"})
    ledger.tell("state", {"paused": True})
    assert reader.counts()[State.READY] == 1
    assert reader.fact("service") == {"state": "running"}
    assert [(kind, detail) for _, _, kind, _, detail in reader.news(after=0)] == [("state", {"paused": True})]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.note(service={})
    reader.close()


def test_news_are_trimmed_from_the_oldest(ledger: Ledger) -> None:
    """The latest stay, with their numbers."""
    for number in range(10):
        ledger.tell("seen", {"objects": number})
    ledger.trim_news(keep=3)
    assert [(number, detail["objects"]) for number, _, _, _, detail in ledger.news(after=0)] == [
        (8, 7),
        (9, 8),
        (10, 9),
    ]


def test_what_can_not_be_opened_says_why(tmp_path: Path) -> None:
    """No ledger, and one of another version, are told apart."""
    with pytest.raises(InputMissingError, match="tierflow watch"):
        Ledger(tmp_path / "none", read_only=True)
    Ledger(tmp_path).close()
    with sqlite3.connect(tmp_path / LEDGER) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ConfigError, match="version 99, expected 1"):
        Ledger(tmp_path)


def test_times_are_of_the_wall_clock(ledger: Ledger) -> None:
    """The end of a batch is noted when it happens."""
    batch = ledger.begin_batch(insert(ledger, "a"), shard=0)
    before = time.time()
    ledger.set_stage(batch.number, "recording")
    ledger.set_stage(batch.number, "done")
    [(measured, ended)] = ledger.query("SELECT measured_at, ended_at FROM batches")
    assert before <= measured <= ended <= time.time()

"""Cutting ready objects into micro-batches: whole units, one home, fair, neither too long nor too large."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.errors import ConfigError
from tierflow.io.atomic import write_parquet, write_text
from tierflow.stream.batches import MB, Limits, Shards, Speed, cut, halves, in_units, next_again, next_ready
from tierflow.stream.ledger import Ledger, Row
from tierflow.stream.states import State

BIG = Limits(objects=1000, size=10**12, seconds=1e9)


def row(number: int, *, unit: str | None = None, size: int = MB, shard: int | None = None) -> Row:
    return Row(
        *(number, b"%d" % number, str(number), State.READY, 1, size, 0, 0, False, True, 0.0, 0.0, 0.0, 0.0, 0, None),
        *(unit, False, 0, None, None, shard, None),
    )


def add(ledger: Ledger, *names: str, state: State = State.READY, **columns) -> list[int]:
    """Insert objects with some columns set."""
    fixed = {"folder": b"", "size": MB, "mtime_ns": 1, "inode": 1, "seen_at": 1.0, "changed_at": 1.0, "ready_at": 1.0}
    ids = []
    with ledger.transaction() as db:
        for name in names:
            values = {"path": name.encode(), "object_id": name, "state": state, **fixed, **columns}
            statement = f"INSERT INTO objects ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})"
            ids.append(int(db.execute(statement, tuple(values.values())).lastrowid or 0))
    return ids


units_of_rows = st.lists(st.tuples(st.sampled_from([None, "a", "b", "c"]), st.integers(0, 50 * MB)), min_size=1).map(
    lambda items: [row(n, unit=unit, size=size) for n, (unit, size) in enumerate(items, start=1)]
)


@given(rows=units_of_rows, objects=st.integers(1, 8), size=st.integers(0, 100 * MB))
def test_batches_hold_whole_units_in_order_and_keep_their_limits(rows, objects, size):
    units, speed = in_units(rows), Speed()
    taken = cut(units, Limits(objects, size, 1.0), speed)
    assert taken == units[: len(taken)]
    assert taken
    if len(taken) > 1:
        flat = [one for unit in taken for one in unit]
        total = sum(one.size for one in flat)
        assert len(flat) <= objects
        assert total <= size
        assert speed.expected_s(objects=len(flat), size=total) <= 1.0


def test_a_large_file_is_not_batched_with_a_hundred_others():
    rows = [row(n) for n in range(10)] + [row(99, size=5000 * MB)] + [row(n) for n in range(100, 110)]
    first = cut(in_units(rows), Limits(200, 10**12), Speed())
    assert [unit[0].id for unit in first] == list(range(10))
    assert [unit[0].id for unit in cut(in_units(rows[10:]), Limits(200, 10**12), Speed())] == [99]


@given(rows=units_of_rows)
def test_halves_are_the_whole_and_end_with_single_units(rows):
    first, second = halves(rows)
    assert sorted(first + second) == sorted(rows)
    assert bool(second) == (len(in_units(rows)) > 1)
    assert not {one.unit for one in first if one.unit} & {one.unit for one in second if one.unit}


def test_speed_follows_what_was_measured():
    speed = Speed()
    for _ in range(60):
        speed.learn(objects=10, size=20 * MB, seconds=4.0)
    assert speed.expected_s(objects=10, size=20 * MB) == pytest.approx(4.0, rel=0.01)


def test_turns_go_by_priority_then_time_and_take_the_whole_unit(ledger):
    late = add(ledger, "late", ready_at=9.0)
    early = add(ledger, "early", ready_at=2.0)
    urgent = add(ledger, "urgent", ready_at=8.0, priority=5, unit="site")
    same_unit = add(ledger, "its channel", ready_at=99.0, unit="site")
    due = next_ready(ledger, BIG, Speed())
    assert due is not None
    assert [one.id for one in due.rows] == [*urgent, *same_unit, *early, *late]
    # The limit of the look must not cut a unit in two.
    due = next_ready(ledger, Limits(1, 10**12, 1e9), Speed())
    assert due is not None
    assert [one.id for one in due.rows] == [*urgent, *same_unit]


def test_a_batch_has_one_home(ledger):
    add(ledger, "other channel, done", state=State.DONE, unit="site", shard=3)
    new_version = add(ledger, "again", shard=3, ready_at=1.0)
    new = add(ledger, "new", ready_at=2.0)
    joins = add(ledger, "late channel", unit="site", ready_at=3.0)
    due = next_ready(ledger, BIG, Speed())
    assert due is not None
    assert ([one.id for one in due.rows], due.shard) == ([*new_version, *joins], 3)
    ledger.begin_batch([one.id for one in due.rows], shard=3)
    due = next_ready(ledger, BIG, Speed())
    assert due is not None
    assert ([one.id for one in due.rows], due.shard) == (new, None)


def test_what_failed_together_is_tried_together_when_due(ledger):
    now = time.time()
    add(ledger, "later", state=State.FAILED, not_before=now + 60)
    half = add(ledger, "x", "y", state=State.FAILED, cohort=14, not_before=now - 2)
    add(ledger, "z", state=State.FAILED, cohort=15, not_before=now - 1)
    due = next_again(ledger, now, longest_s=300)
    assert due is not None
    assert [one.id for one in due.rows] == half
    assert due.again


def test_a_pause_written_before_the_clock_went_back_ends(ledger):
    now = time.time()
    (number,) = add(ledger, "x", state=State.FAILED, not_before=now + 86_400)
    due = next_again(ledger, now, longest_s=300)
    assert due is not None
    assert [one.id for one in due.rows] == [number]


def test_shards_fill_and_never_take_a_number_that_was_used(ledger, tmp_path: Path):
    folder = tmp_path / "scan" / "shards"
    for name in ("00000", "00004"):
        write_parquet(folder / f"{name}.parquet", pa.table({"a": [1]}))
    shards = Shards.of(ledger, folder, max_objects=10, max_size=100)
    assert [shards.take(objects=6, size=6), shards.take(objects=4, size=4)] == [5, 5]
    assert shards.take(objects=1, size=1) == 6
    assert shards.take(objects=1, size=100) == 7
    # Larger than a shard, but never split.
    assert shards.take(objects=30, size=1) == 8
    write_text(folder / ".next", "20\n")
    assert shards.take(objects=1, size=1) == 20


def test_the_open_shard_is_continued_after_a_restart(ledger, tmp_path: Path):
    add(ledger, "a", "b", state=State.DONE, shard=2)
    shards = Shards.of(ledger, tmp_path, max_objects=3, max_size=10**12)
    assert [shards.take(objects=1, size=1), shards.take(objects=1, size=1)] == [2, 3]


def test_five_digits_are_the_end(ledger, tmp_path: Path):
    shards = Shards(tmp_path, max_objects=1, max_size=10**12, used=99_999)
    with pytest.raises(ConfigError, match=r"stream\.batches\.shard_objects \(now 1\)"):
        shards.take(objects=1, size=1)

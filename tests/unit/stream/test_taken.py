"""A file that a tier took before its record was written isn't lost: it is measured where it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stream_world import StreamWorld
from tierflow import tables
from tierflow.scan.rows import to_table
from tierflow.steps.extract import extract_shard
from tierflow.stream.fold import table_paths
from tierflow.stream.readiness import Readiness
from tierflow.stream.sightings import Sightings
from tierflow.stream.states import State

if TYPE_CHECKING:
    from pathlib import Path

MOVE = {"tiers": {"A": {"driver": "move"}}, "score": {"function": "constant"}}


@pytest.fixture
def world(tmp_path: Path) -> StreamWorld:
    """Give a stream with one file that a tier took, and whose commit was cut off before anything was recorded."""
    made = StreamWorld(tmp_path, MOVE)
    made.write("a.tif")
    batch = made.measured("a.tif")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made.committer.shards, "fold", full)
        with pytest.raises(OSError, match="No space"):
            made.committer.commit(batch)
    assert not (made.input / "a.tif").exists()
    made.ledger.set_stage(batch.number, "given_up", problem="disk full")
    with made.ledger.transaction() as db:
        db.execute("UPDATE objects SET state = ?, changed_at = 0", (State.FAILED,))
    return made


def test_neither_the_watcher_nor_a_look_counts_it_as_lost(world: StreamWorld) -> None:
    """Both ask the journal; a file that nobody took is lost as before."""
    world.write("b.tif")
    world.see("b.tif", state=State.WAITING)
    (world.input / "b.tif").unlink()
    sightings = Sightings(world.ledger, dataset="in")
    known = sightings.known([b"a.tif", b"b.tif"])
    assert sightings.lose(known.values(), still=lambda: True).lost == 1
    assert world.states() == {"a.tif": "failed", "b.tif": "lost_source"}
    with world.ledger.transaction() as db:
        db.execute("UPDATE objects SET state = ?, not_before = 0", (State.SEEN,))
    Readiness(world.ledger, world.config, world.input).step(1e12)
    assert world.states() == {"a.tif": "ready", "b.tif": "lost_source"}


def test_it_is_measured_and_recorded_where_it_is(world: StreamWorld) -> None:
    """With one record, in its tier, with its bytes."""
    with world.ledger.transaction() as db:
        db.execute("UPDATE objects SET state = ?", (State.SEEN,))
    readiness = Readiness(world.ledger, world.config, world.input)
    readiness.step(1e12)
    rows = world.ledger.rows("state = 'ready'")
    batch = world.ledger.begin_batch([row.id for row in rows], shard=0)
    paths = table_paths(batch.folder, batch.shard)
    tables.write(paths["scan"], to_table(readiness.names.scan_rows(rows)), input=str(world.input), dataset="in")
    scan = tables.read(paths["scan"])
    # As a worker does it: by the journal of the run.
    planes = extract_shard(scan, world.config.extract, shard=batch.shard, output=world.output)
    tables.write(paths["extract"], planes, at="2026-11-21T08:15:30.123Z")
    world.ledger.set_stage(batch.number, "recording")
    world.committer.commit(batch)
    assert world.states() == {"a.tif": "done"}
    record = world.table("catalogue")
    assert (record["path"], record["destination"], record["problem"]) == (["a.tif"], ["tiers/A/a.tif"], [None])
    assert (world.output / "tiers" / "A" / "a.tif").stat().st_size == rows[0].size

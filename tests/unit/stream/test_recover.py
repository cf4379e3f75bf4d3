"""After a kill at any moment, or the loss of the ledger, every object is there once and nothing is handled twice."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

from killing import Killer, armed, moments
from placing_world import files
from stream_world import StreamWorld
from tierflow import tables
from tierflow.errors import ConfigError
from tierflow.stream.batch import LEDGER, batch_folder
from tierflow.stream.fold import TABLES, table_paths
from tierflow.stream.imports import import_tables
from tierflow.stream.ledger import Ledger
from tierflow.stream.recover import recover, recover_output
from tierflow.stream.states import State

DRIVERS = {
    "link": {},
    "move": {"tiers": {name: {"driver": "move"} for name in "ABCD"}, "quarantine": {"driver": "move"}},
}
EVERY = 9


@pytest.fixture
def world(tmp_path: Path) -> StreamWorld:
    """Give an empty stream."""
    return StreamWorld(tmp_path)


def start_again(world: StreamWorld) -> None:
    """Do what a new watcher does first."""
    world.ledger.close()
    world.open()
    recover(world.ledger, world.committer)


def forget_ledger(world: StreamWorld) -> None:
    world.ledger.close()
    for path in (world.output / LEDGER).parent.glob("ledger.sqlite*"):
        path.unlink()


def check_all_there_once(world: StreamWorld, contents: set[bytes]) -> None:
    """Each object is done, in every table once, and its bytes are in a tier."""
    assert set(world.states().values()) == {"done"}
    paths = world.table("scan")["path"]
    assert paths == sorted(paths)
    assert len(paths) == len(set(paths)) == len(contents)
    order = world.table("scan")["object_id"]
    assert [world.table(name)["object_id"] for name in TABLES] == [order] * len(TABLES)
    placed = [(world.output / text).read_bytes() for text in world.table("catalogue")["destination"]]
    assert set(placed) == contents
    assert len(files(world.output / "tiers")) == len(contents)
    assert not list((world.output / ".tierflow/stream/batches").glob("*"))
    assert world.ledger.batches("recording", "measuring") == []


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(("mode", "first"), [("before", 1), ("power", 5)])
def test_killed_at_any_moment_of_a_commit(tmp_path: Path, monkeypatch, driver: str, mode: str, first: int) -> None:
    """A shard that holds one object gets two more; whatever call was the last, the next start finishes it."""

    def prepared(name: str):
        world = StreamWorld(tmp_path / name, DRIVERS[driver])
        contents = {world.write(one).read_bytes() for one in ("b.tif", "a.tif", "c.tif")}
        world.commit("b.tif")
        return world, contents, world.measured("c.tif", "a.tif")

    world, contents, batch = prepared("count")
    found = moments(lambda: world.committer.commit(batch), mode, monkeypatch, world.output / "journal")
    check_all_there_once(world, contents)
    assert len(found) > 40
    killed = 0
    for at in found[first::EVERY]:
        world, contents, batch = prepared(str(at))
        killer = Killer(at=at, mode=mode)
        with armed(killer, monkeypatch, world.output / "journal"):
            world.committer.commit(batch)
        killed += killer.dead
        start_again(world)
        check_all_there_once(world, contents)
        world.ledger.close()
    # A call that fails by itself, as the removal of a file that isn't there, can't be the last one.
    assert killed >= len(found[first::EVERY]) // 2


def test_what_was_being_measured_is_ready_again_without_an_attempt(world: StreamWorld) -> None:
    """Its folder goes; the shard stays its home."""
    world.write("a.tif")
    batch = world.measured("a.tif")
    world.ledger.set_stage(batch.number, "measuring")
    start_again(world)
    [row] = world.ledger.rows("TRUE")
    assert (row.state, row.attempts, row.shard) == (State.READY, 0, 0)
    assert not batch.folder.exists()
    assert not (world.output / "catalogue").exists()


def test_tables_that_a_power_cut_left_torn_are_measured_again(world: StreamWorld) -> None:
    """The other batches are committed."""
    for name in ("a.tif", "b.tif"):
        world.write(name)
    torn, whole = world.measured("a.tif"), world.measured("b.tif")
    table_paths(torn.folder, torn.shard)["extract"].write_bytes(b"")
    start_again(world)
    assert world.states() == {"a.tif": "ready", "b.tif": "done"}
    assert not torn.folder.exists()
    assert not whole.folder.exists()


def test_a_lost_ledger_is_made_anew_from_the_tables(world: StreamWorld) -> None:
    """Objects are done as they were; the pixels they have shown are known."""
    world.write("a.tif", seed=1)
    world.write("b.tif")
    (world.input / "bad.tif").write_bytes(b"nothing")
    world.commit("a.tif", "bad.tif")
    world.commit("b.tif", shard=1)
    names = "path, object_id, state, shard, tier, interestingness, handled_size, handled_mtime_ns, inode"
    before = world.ledger.query(f"SELECT {names} FROM objects ORDER BY path")
    forget_ledger(world)
    world.open()
    recover(world.ledger, world.committer)
    assert world.ledger.query(f"SELECT {names} FROM objects ORDER BY path") == before
    assert world.ledger.counts()[State.DONE] == 2
    world.write("c.tif", seed=1)
    world.commit("c.tif", shard=1)
    assert "duplicate" in world.table("score", shard=1)["flags"][1]
    assert import_tables(world.ledger) == 0


def test_a_ledger_older_than_the_tables_learns_what_came_since(world: StreamWorld) -> None:
    """A file that is as it was measured is done; one that was written since is left to be handled."""
    for name in ("a.tif", "b.tif", "c.tif"):
        world.write(name)
    world.commit("a.tif")
    world.see("b.tif", "c.tif")
    world.ledger.query("PRAGMA wal_checkpoint(TRUNCATE)")
    backup = (world.output / LEDGER).read_bytes()
    world.commit("b.tif", "c.tif")
    forget_ledger(world)
    (world.output / LEDGER).write_bytes(backup)
    world.write("c.tif", seed=77)
    world.open()
    world.see("c.tif")
    recover(world.ledger, world.committer)
    assert world.states() == {"a.tif": "done", "b.tif": "done", "c.tif": "ready"}
    world.commit("c.tif")
    assert world.table("scan")["path"] == ["a.tif", "b.tif", "c.tif"]


@pytest.mark.parametrize("placed", [True, False])
def test_a_measured_batch_that_the_ledger_does_not_know_is_committed(world: StreamWorld, *, placed: bool) -> None:
    """Its files may have been moved already; one that wasn't measured is simply seen again."""
    contents = {world.write(name).read_bytes() for name in ("a.tif", "b.tif")}
    world.commit("b.tif")
    batch = world.measured("a.tif")
    if placed:
        with contextlib.suppress(RuntimeError), pytest.MonkeyPatch.context() as patch:
            patch.setattr(world.committer.shards, "fold", lambda *_: (_ for _ in ()).throw(RuntimeError))
            world.committer.commit(batch)
    forget_ledger(world)
    world.open()
    recover(world.ledger, world.committer)
    check_all_there_once(world, contents)


def test_a_batch_folder_that_was_not_measured_goes(world: StreamWorld) -> None:
    """Nothing of it was placed."""
    folder = batch_folder(world.output, 7)
    shutil.copytree(world.input, folder)
    recover(world.ledger, world.committer)
    assert not folder.exists()
    assert world.states() == {}


def test_a_run_that_was_left_unfinished_is_named(world: StreamWorld) -> None:
    """A stream must not take its rows for finished, nor leave its scan and score tables apart."""
    world.write("a.tif")
    world.write("b.tif")
    world.commit("a.tif", "b.tif")
    path = table_paths(world.output, "00000")["score"]
    table = tables.read(path)
    tables.write(path, table.slice(0, 1))
    forget_ledger(world)
    world.open()
    with pytest.raises(ConfigError, match="finish it by `tierflow run`"):
        recover(world.ledger, world.committer)


def test_a_plain_run_first_finishes_what_the_stream_left(world: StreamWorld) -> None:
    """And leaves an output alone that never was a stream's."""
    world.write("a.tif")
    world.measured("a.tif")
    world.ledger.close()
    recover_output(world.output)
    ledger = Ledger(world.output, read_only=True)
    assert ledger.counts()[State.DONE] == 1
    ledger.close()
    recover_output(world.base / "other")
    assert not (world.base / "other").exists()

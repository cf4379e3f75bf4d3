"""The dispatcher with real workers and a stand-in for the committer: every object ends once, whatever workers do."""

from __future__ import annotations

import errno
import os
import signal
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import tifffile

from misbehaving import HANGS, KILLS, SLOW, install_misbehaving
from tierflow import config_io, plugins, tables
from tierflow.config import Config
from tierflow.errors import ConfigError, TryAgainError
from tierflow.io.identity import display_path
from tierflow.scan.rows import Row as ScanRow
from tierflow.steps.places import arguments
from tierflow.stream.dispatch import Dispatcher
from tierflow.stream.ledger import Ledger
from tierflow.stream.states import OPEN, State

PATIENCE_S = 90.0


class Names:
    """Rows of the scan table without reading names."""

    def scan_rows(self, rows):
        return [
            ScanRow(
                *(row.object_id, display_path(row.path), row.path, row.size, row.mtime_ns, row.is_link),
                *(row.object_id, "generic", "plate", *(None,) * 8),
            )
            for row in rows
        ]


class Committer:
    """Ends objects in the ledger and remembers what was measured of them."""

    def __init__(self, ledger):
        self.ledger = ledger
        self.seen = []
        self.problems = []
        self.before = lambda batch: None

    def commit(self, batch):
        self.before(batch)
        if self.problems:
            raise self.problems.pop(0)
        table = tables.read(arguments("extract", batch.folder, shard=batch.shard)["table"])
        self.seen.append(table.to_pylist())
        bad = {row["object_id"] for row in table.to_pylist() if row["status"] == "failed"}
        with self.ledger.transaction() as db:
            for number in batch.ids:
                name = db.execute("SELECT object_id FROM objects WHERE id = ?", (number,)).fetchone()[0]
                state = State.QUARANTINED if name in bad else State.DONE
                db.execute("UPDATE objects SET state = ? WHERE id = ?", (state, number))
            db.execute("UPDATE batches SET stage = 'done' WHERE id = ?", (batch.number,))


class World:
    """An input, an output, a ledger and a dispatcher."""

    def __init__(self, folder: Path, settings: dict):
        self.root, self.output = folder / "in", folder / "out"
        self.root.mkdir()
        self.output.mkdir()
        tree = {"input": str(self.root), "stream": {"retry": {"backoff_s": 0.05}, "batches": {"workers": 1}}}
        self.config = Config.model_validate(config_io.merge(tree, settings))
        config_io.write(self.output / "config.yaml", self.config)
        self.ledger = Ledger(self.output)
        self.committer = Committer(self.ledger)
        self.dispatcher = Dispatcher(self.ledger, self.config, self.output, self.committer, Names())
        self._number = count(1)

    def add(self, *values: int, unit: str | None = None, priority: int = 0) -> list[int]:
        """Write images whose first pixel is a value, and say in the ledger that they are ready."""
        ids = []
        with self.ledger.transaction() as db:
            for value in values:
                name = f"{next(self._number):04d}.tif"
                pixels = np.random.default_rng(value).integers(0, 200, (64, 64)).astype(np.uint8)
                pixels[0, 0] = value
                tifffile.imwrite(self.root / name, pixels)
                info = (self.root / name).stat()
                found = db.execute(
                    "INSERT INTO objects (path, folder, object_id, state, size, mtime_ns, inode, seen_at, changed_at, "
                    "ready_at, unit, priority) VALUES (?, '', ?, 'ready', ?, ?, 1, ?, ?, ?, ?, ?)",
                    (name.encode(), name, info.st_size, info.st_mtime_ns, *[time.time()] * 3, unit, priority),
                )
                ids.append(int(found.lastrowid or 0))
        return ids

    def until(self, condition, *, patience_s: float = PATIENCE_S) -> None:
        end = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < end, (self.ledger.counts(), self.ledger.rows("1 ORDER BY id"))
            time.sleep(min(self.dispatcher.step(time.time()), 0.02))

    def ended(self) -> bool:
        counts = self.ledger.counts()
        return not any(counts[state] for state in OPEN) and self.dispatcher.flying() == 0

    def close(self) -> None:
        self.dispatcher.close()
        self.ledger.close()


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", install_misbehaving(tmp_path / "plugin"))
    monkeypatch.syspath_prepend(tmp_path / "plugin")
    for known in (plugins.available, plugins.load):
        known.cache_clear()
    made = []

    def make(**settings) -> World:
        made.append(World(tmp_path, settings))
        return made[-1]

    yield make
    for one in made:
        one.close()
    for known in (plugins.available, plugins.load):
        known.cache_clear()


MISBEHAVING = {"extractors": ("misbehaving",)}


def test_objects_are_measured_and_committed_once(world):
    here = world()
    ids = here.add(*range(1, 13))
    here.until(here.ended)
    assert here.ledger.counts()[State.DONE] == 12
    measured = [row for rows in here.committer.seen for row in rows]
    assert len(measured) == len({row["object_id"] for row in measured}) == 12
    assert all(row["status"] == "ok" and row["sha256"] for row in measured)
    news = [detail["objects"] for _, _, kind, _, detail in here.ledger.news(after=0) if kind == "batch"]
    assert sum(news) == 12
    assert len(ids) == 12


def test_a_poison_object_is_isolated_and_becomes_a_dead_letter(world):
    here = world(extract=MISBEHAVING, stream={"retry": {"attempts": 3, "backoff_s": 0.05}})
    ids = here.add(1, 2, 3, KILLS, 5, 6, 7)
    here.until(here.ended)
    states = {row.id: (row.state, row.attempts) for row in here.ledger.rows("1 ORDER BY id")}
    assert [states[i][0] for i in ids] == [State.DONE] * 3 + [State.QUARANTINED] + [State.DONE] * 3
    failed = [row for rows in here.committer.seen for row in rows if row["status"] == "failed"]
    assert [(row["object_id"], row["plane"], row["flag"]) for row in failed] == [("0004.tif", -1, "poison")]
    assert "SIGKILL" in failed[0]["reason"]
    assert f"after {states[ids[3]][1]} failed attempts" in failed[0]["reason"]
    # Its neighbours were measured once, those that failed with it too.
    good = [row["object_id"] for rows in here.committer.seen for row in rows if row["status"] == "ok"]
    assert sorted(good) == ["0001.tif", "0002.tif", "0003.tif", "0005.tif", "0006.tif", "0007.tif"]


def test_a_worker_that_hangs_is_ended(world):
    here = world(extract=MISBEHAVING, stream={"retry": {"attempts": 2, "backoff_s": 0.05, "hang_s": 1.5}})
    ids = here.add(1, HANGS)
    here.until(here.ended)
    found = {row.id: row for row in here.ledger.rows("1")}
    assert (found[ids[0]].state, found[ids[1]].state) == (State.DONE, State.QUARANTINED)
    assert "silent" in (found[ids[1]].reason or "")


def test_a_killed_worker_is_replaced_and_its_objects_are_measured(world):
    here = world(extract=MISBEHAVING)
    ids = here.add(1, SLOW)
    here.until(lambda: here.ledger.batches("measuring") and next(here.dispatcher._pool.busy(), None))
    (pid,) = here.dispatcher.pids()
    os.kill(pid, signal.SIGKILL)
    here.until(here.ended)
    assert here.ledger.counts()[State.DONE] == len(ids)
    assert pid not in here.dispatcher.pids()
    assert {row.attempts for row in here.ledger.rows("1")} == {1}


def test_a_full_disk_counts_against_nobody(world):
    here = world()
    here.committer.problems = [TryAgainError(28, "No space left on device")] * 3
    here.add(1, 2)
    here.until(here.ended)
    assert {(row.state, row.attempts) for row in here.ledger.rows("1")} == {(State.DONE, 0)}
    assert len(here.ledger.query("SELECT id FROM batches")) == 1


def test_a_full_disk_gives_no_batch_up_whose_files_a_tier_has_taken(world):
    """Others could be committed meanwhile; but measured anew, these would seem lost."""
    here = world(stream={"batches": {"max_objects": 1, "workers": 2}})
    failures = []

    def before(batch):
        first = here.dispatcher._flights.get(1)
        if batch.number != 1:
            # The first one waits for its turn while this is committed, so that it fails after a success of another.
            while first is not None and first.stage != "commit" and here.dispatcher.flying():
                time.sleep(0.01)
        elif not failures or len(here.committer.seen) < 2:
            (here.root / "0001.tif").unlink(missing_ok=True)
            failures.append(batch.number)
            raise TryAgainError(28, "No space left on device")

    here.committer.before = before
    here.add(1, 2, 3)
    here.until(here.ended)
    assert {(row.state, row.attempts) for row in here.ledger.rows("1")} == {(State.DONE, 0)}
    assert len(here.committer.seen) == len(here.ledger.query("SELECT id FROM batches")) == 3
    assert failures


def test_an_input_that_is_away_is_waited_for(world):
    here = world()
    here.add(1, 2)
    away = here.root.with_name("away")
    here.root.rename(away)
    here.until(lambda: here.dispatcher.obstacle)
    assert "isn't there" in str(here.dispatcher.obstacle)
    away.rename(here.root)
    here.until(here.ended)
    assert {(row.state, row.attempts) for row in here.ledger.rows("1")} == {(State.DONE, 0)}


def test_an_output_that_is_away_for_a_moment_is_waited_for(world, monkeypatch):
    """The file server of workers elsewhere, for instance, while it is asked what they have answered."""
    here = world()
    here.add(1)

    def stale():
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(here.dispatcher._pool, "events", stale)
        here.dispatcher.step(time.time())
        assert "Stale file handle" in str(here.dispatcher.obstacle)
    here.until(here.ended)
    assert here.dispatcher.obstacle is None
    assert {(row.state, row.attempts) for row in here.ledger.rows("1")} == {(State.DONE, 0)}


def test_a_wrong_configuration_ends_the_service(world):
    here = world(extract={"extractors": ("misbehaving", "nowhere")})
    here.add(1)
    with pytest.raises(ConfigError, match="nowhere"):
        here.until(here.ended)
    assert here.ledger.counts()[State.READY] == 1


def test_a_fault_in_committing_halves_the_batch(world):
    here = world()
    ids = here.add(1, 2, 3, 4)
    here.committer.problems = [ZeroDivisionError("a fault")]
    here.until(here.ended)
    assert here.ledger.counts()[State.DONE] == len(ids)
    assert [n for (n,) in here.ledger.query("SELECT objects FROM batches ORDER BY id")] == [4, 2, 2]


def test_pause_begins_nothing_and_close_gives_back(world):
    here = world(extract=MISBEHAVING)
    here.dispatcher.paused = True
    here.add(1, 2)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        time.sleep(min(here.dispatcher.step(time.time()), 0.05))
    assert here.ledger.counts()[State.READY] == 2
    here.dispatcher.paused = False
    here.add(HANGS)
    here.until(lambda: here.ledger.counts()[State.RUNNING])
    here.dispatcher.close()
    assert here.ledger.counts()[State.READY] + here.ledger.counts()[State.DONE] == 3
    assert {row.attempts for row in here.ledger.rows("1")} == {0}


def test_units_stay_together_and_homes_too(world):
    here = world(stream={"batches": {"max_objects": 2, "shard_objects": 3}})
    three = here.add(1, 2, 3, unit="a")
    here.add(4, 5)
    here.until(here.ended)
    late = here.add(6, unit="a")
    here.until(here.ended)
    rows = {row.id: row for row in here.ledger.rows("1")}
    assert len({rows[i].batch for i in three}) == 1
    assert rows[late[0]].shard == rows[three[0]].shard
    assert {row.shard for row in rows.values()} == {0, 1}

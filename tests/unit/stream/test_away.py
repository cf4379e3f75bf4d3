"""While the input, or a part of it, is away: nothing is begun in vain, and nothing is decided on a false basis."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time

import pytest
from test_dispatch import World
from watched_folder import START, Folder

from tierflow import config_io
from tierflow.stream.batches import TARGET_S, Limits, Speed, next_again, next_ready
from tierflow.stream.ledger import Ledger
from tierflow.stream.roots import Health
from tierflow.stream.states import State
from tierflow.stream.watcher import Watcher
from tierflow.stream.workers import Event


@pytest.fixture
def here(tmp_path):
    """Give an input, an output and a dispatcher whose root can be taken away."""
    made = World(tmp_path, {})
    yield made
    made.close()


def take_away(here: World, newer_than: int | None) -> None:
    here.dispatcher._newer_than = here.dispatcher._turns._newer_than = lambda: newer_than


def steps(here: World, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(min(here.dispatcher.step(time.time()), 0.05))


def test_nothing_is_begun_while_the_root_is_away(here):
    take_away(here, None)
    here.add(1, 2)
    here.until(here.dispatcher._pool.idle)
    steps(here, 0.3)
    assert here.ledger.query("SELECT count(*) FROM batches") == [(0,)]
    assert here.ledger.counts()[State.READY] == 2
    take_away(here, 0)
    here.until(here.ended)
    assert {(row.state, row.attempts) for row in here.ledger.rows("1")} == {(State.DONE, 0)}


def test_in_another_root_only_what_came_since_is_begun(here):
    """Batches of files that aren't there would be held until the former disk is back, and keep all others waiting."""
    old = here.add(1, 2)
    take_away(here, max(old))
    new = here.add(3)
    here.until(lambda: here.ledger.counts()[State.DONE])
    steps(here, 0.3)
    states = {row.id: row.state for row in here.ledger.rows("1")}
    assert states == {old[0]: State.READY, old[1]: State.READY, new[0]: State.DONE}


def test_what_failed_before_waits_as_well(tmp_path):
    ledger = Ledger(tmp_path)
    with ledger.transaction() as db:
        db.executemany(
            "INSERT INTO objects (path, folder, object_id, state, size, mtime_ns, inode, seen_at, changed_at, "
            "ready_at) VALUES (?, '', ?, ?, 1, 1, 1, 1, 1, 1)",
            [(f"{n}".encode(), str(n), state) for n, state in enumerate(["ready", "failed", "ready", "failed"])],
        )
    limits = Limits(10, 10**9, TARGET_S)
    due = [next_ready(ledger, limits, Speed(), newer_than=2), next_again(ledger, 9.0, longest_s=1.0, newer_than=2)]
    assert [[row.id for row in one.rows] for one in due if one] == [[3], [4]]
    assert next_ready(ledger, limits, Speed(), newer_than=4) is None
    assert next_again(ledger, 9.0, longest_s=1.0, newer_than=4) is None
    ledger.close()


def test_a_worker_that_is_silent_on_a_share_that_hangs_is_no_attempt(here):
    """Otherwise hours of a dead server would make dead letters of sound files."""
    here.add(1)
    here.until(lambda: here.ledger.counts()[State.RUNNING])
    ((number, flight),) = here.dispatcher._flights.items()
    take_away(here, None)
    here.dispatcher._on(Event("died", number, {"message": "silent"}))
    assert flight.batch.number not in here.dispatcher._flights
    assert [(row.state, row.attempts) for row in here.ledger.rows("1")] == [(State.FAILED, 0)]


def test_an_obstacle_is_over_when_nothing_is_held_up_by_it(here):
    """Such as a full disk that kept a batch back whose files were then deleted: no commit follows that could tell."""
    here.dispatcher._hinder("the disk is full")
    here.dispatcher.step(time.time())
    assert here.dispatcher.obstacle is None


@pytest.mark.parametrize(
    ("state", "newer_than"),
    [("ok", 0), ("other", 7), *((state, None) for state in ("missing", "denied", "unmounted", "emptied", "away"))],
)
def test_the_watcher_says_what_may_be_handled(tmp_path, state, newer_than):
    (tmp_path / "in").mkdir()
    config = config_io.validate({"input": str(tmp_path / "in")})
    ledger = Ledger(tmp_path / "out")
    watcher = Watcher(ledger, config, tmp_path / "in", tmp_path / "out", threading.Event())
    assert watcher.newer_than() is None  # nobody has looked yet
    watcher._health, watcher._root._last_id = Health(state), 7
    assert watcher.newer_than() == newer_than
    watcher._troubles.add("hanging", "no answer")
    assert watcher.newer_than() is None
    ledger.close()


def test_files_of_a_disk_inside_the_root_that_is_away_arent_lost(tmp_path):
    f = Folder(tmp_path)
    f.write("plate/a.tif", now=START, closed=False)
    f.ledger.note(inner_mounts=["plate"])
    shutil.move(f.root / "plate", tmp_path / "plate")
    (f.root / "plate").mkdir()
    f.settle(START + 10)
    row = f.row("plate/a.tif")
    assert (row.state, row.reason) == (State.WAITING, "the disk or share that held it isn't mounted")
    assert [kind for _, _, kind, _, _ in f.ledger.news(after=0)] == []
    (f.root / "plate").rmdir()
    shutil.move(tmp_path / "plate", f.root / "plate")
    f.settle(START + 20)
    assert f.row("plate/a.tif").state == State.READY


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
def test_a_series_whose_companions_cant_be_read_waits_and_ends_nothing(tmp_path, monkeypatch, code):
    name = "plate/exp_A01_s1_w1.tif"
    f = Folder(tmp_path, {"series": {"expect": "site", "timeout_s": 60}}, unit="site", layout="imagexpress")
    f.write(name, now=START)
    f.readiness.step(START)
    real = os.scandir

    def scandir(path="."):
        if os.fsencode(path).endswith(b"plate"):
            raise OSError(code, os.strerror(code))
        return real(path)

    f.readiness._companions._folders.clear()
    monkeypatch.setattr(os, "scandir", scandir)
    for seconds in (70, 80):
        assert f.readiness.step(START + seconds) > 0
        assert f.row(name).state == State.WAITING
    monkeypatch.undo()
    f.settle(START + 100)
    assert (f.row(name).state, f.row(name).incomplete) == (State.READY, False)

"""Files that are written again between release and record: never handled by half, nor without their unit."""

from __future__ import annotations

import os

import pytest
from watched_folder import START, Folder, tiff

from stream_world import StreamWorld
from tierflow.io.folder_reader import FolderReader
from tierflow.io.walk import own_folders
from tierflow.stream.ended import Returned, end_batch, members_of
from tierflow.stream.failures import give_back, give_up
from tierflow.stream.look import look
from tierflow.stream.recover import recover
from tierflow.stream.sightings import Sightings
from tierflow.stream.states import State

SITE = {"series": {"expect": "site", "channels": ["w1", "w2"], "timeout_s": 1800}}
NAMES = ("P7_A01_s1_w1.tif", "P7_A01_s1_w2.tif")


def notice(ledger, root, config, name, **options) -> None:
    """Have the watcher notice what a file is now."""
    reader = FolderReader(root, config.scan, skip_folders=own_folders(config, ledger.output))
    found = reader.one(os.fsencode(name))
    assert found is not None
    Sightings(ledger, dataset=config.dataset_name, **options).see([(found, False)])


@pytest.fixture
def world(tmp_path):
    """Give a stream with a batch of two files, one of which is written again while it runs."""
    made = StreamWorld(tmp_path)
    for name in ("a.tif", "b.tif"):
        made.write(name)
    made.running = made.ledger.begin_batch(made.see("a.tif", "b.tif"), shard=0)
    made.rows = made.ledger.rows("1 ORDER BY id")
    (made.input / "a.tif").write_bytes(b"II*\0 half of it")
    notice(made.ledger, made.input, made.config, "a.tif")
    yield made
    made.ledger.close()


def test_given_back_it_must_be_complete_once_more(world):
    give_back(world.ledger, world.running, problem="the watcher was stopped")
    assert world.states() == {"a.tif": "waiting", "b.tif": "ready"}


def test_given_up_it_must_be_complete_once_more(world):
    give_up(world.ledger, world.running, world.rows, world.config.stream.retry, problem="died", count=True)
    assert world.states() == {"a.tif": "waiting", "b.tif": "failed"}
    assert {row.path: row.attempts for row in world.ledger.rows("1")} == {b"a.tif": 0, b"b.tif": 1}


def test_after_a_kill_it_must_be_complete_once_more(world):
    recover(world.ledger, world.committer)
    assert world.states() == {"a.tif": "waiting", "b.tif": "ready"}


def test_a_fault_in_a_batch_keeps_no_stream_from_starting(tmp_path):
    """It is measured again; when it fails again, it is halved as any other."""

    class Faulty:
        def commit(self, batch):
            raise ZeroDivisionError("a fault")

    world = StreamWorld(tmp_path)
    world.write("a.tif")
    batch = world.measured("a.tif")
    recover(world.ledger, Faulty())
    assert world.states() == {"a.tif": "ready"}
    assert not batch.folder.exists()


@pytest.fixture
def site(tmp_path):
    """Give a site of two files that was released."""
    f = Folder(tmp_path, SITE, unit="site")
    f.write(*NAMES, now=START)
    f.settle(START)
    assert f.ledger.counts()[State.READY] == 2
    return f


def require_whole(f: Folder) -> None:
    rows = f.ledger.rows("1")
    assert [(row.state, row.incomplete, row.reason) for row in rows] == [(State.READY, False, None)] * 2
    assert len({(row.unit, row.ready_at) for row in rows}) == 1


def test_a_unit_that_was_taken_out_of_its_batch_is_gathered_anew(site):
    """One file changed while it was measured; the other one is nothing without it, and neither came late."""
    first, second = site.ledger.rows("1 ORDER BY id")
    batch = site.ledger.begin_batch([first.id, second.id], shard=0)
    path = tiff(site.root / NAMES[0], 2)
    out = [
        Returned(first.object_id, State.WAITING, "changed", look(os.fsencode(path))),
        Returned(second.object_id, State.WAITING, "another one changed"),
    ]
    end_batch(site.ledger, batch, members_of(site.ledger, batch), recorded=(), returned=out)
    with site.ledger.transaction() as db:
        db.execute("UPDATE objects SET not_before = 0")
        db.execute("UPDATE objects SET changed_at = ? WHERE id = ?", (START + 1, first.id))
    site.settle(START + 1.5)
    assert site.ledger.counts()[State.READY] == 0
    site.settle(START + 10)
    require_whole(site)


def test_a_file_that_is_written_again_in_the_queue_takes_its_unit_back(site):
    tiff(site.root / NAMES[0], 2)
    notice(site.ledger, site.root, site.config, NAMES[0], by_unit=True, clock=lambda: START + 1)
    assert site.ledger.counts()[State.READY] == 0
    site.settle(START + 1.5)
    assert site.ledger.counts()[State.READY] == 0
    site.settle(START + 10)
    require_whole(site)


def test_a_missing_file_that_comes_before_its_unit_is_begun_completes_it(tmp_path):
    f = Folder(tmp_path, SITE, unit="site")
    f.write(NAMES[0], now=START)
    f.settle(START)
    f.settle(START + 1800)
    assert f.row(NAMES[0]).incomplete
    f.write(NAMES[1], now=START + 1810)
    f.settle(START + 1810)
    require_whole(f)

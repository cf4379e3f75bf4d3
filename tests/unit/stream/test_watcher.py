"""The watcher's threads on a real folder: news at once, every trouble a state, nothing ends the watching."""

import errno
import json
import os
import threading
import time

import pytest

from tierflow import config_io
from tierflow.errors import TryAgainError
from tierflow.stream import watcher as module
from tierflow.stream.clock import Tick
from tierflow.stream.events import LimitError
from tierflow.stream.ledger import Ledger
from tierflow.stream.states import State
from tierflow.stream.watcher import Watcher
from waiting import until


class World:
    def __init__(self, tmp_path):
        self.root, self.output = tmp_path / "in", tmp_path / "out"
        self.root.mkdir()
        self.ledger = Ledger(self.output)
        self.wake = threading.Event()
        self.watcher = None

    def start(self, **stream):
        config = config_io.validate({"input": str(self.root), "stream": stream})
        self.watcher = Watcher(self.ledger, config, self.root, self.output, self.wake)
        self.watcher.start()
        self.until(lambda: self.watcher.health()["looks"])
        return self.watcher

    def until(self, condition, seconds=10.0):
        until(condition, seconds=seconds, picture=self.watcher.health)

    def put(self, name, content=b"1"):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def state(self, name):
        found = self.ledger.query("SELECT state FROM objects WHERE path = ?", (os.fsencode(name),))
        return found[0][0] if found else None

    def told(self):
        return [detail["state"] for _, _, kind, _, detail in self.ledger.news(after=0) if kind == "watcher"]

    def is_in(self, state):
        return lambda: state in self.watcher.health()["states"]


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    if made.watcher:
        made.watcher.stop()
    made.ledger.close()


def threads():
    return [
        thread for thread in threading.enumerate() if "watcher" in thread.name or "Inotify" in type(thread).__name__
    ]


@pytest.mark.parametrize("hints", ["events", "polling"])
def test_files_are_seen_as_they_come(world, hints):
    world.put("before.tif")
    # No second look at all files in this test: what is seen was hinted at.
    world.start(hints=hints, poll_s=0.05, rescan_s=3600)
    assert world.state("before.tif") == State.SEEN
    world.wake.clear()
    world.put("a.tif")
    world.put("x/y/z/b.tif")
    (world.root / ".c.part").write_bytes(b"1")
    (world.root / ".c.part").rename(world.root / "c.tif")
    world.until(lambda: world.ledger.counts()[State.SEEN] == 4)
    world.until(world.wake.is_set)
    (world.root / "a.tif").unlink()
    world.until(lambda: world.state("a.tif") == State.LOST_SOURCE)
    assert world.watcher.health()["mode"] == hints
    if hints == "events":
        assert world.ledger.rows("path = ?", (b"c.tif",))[0].closed


def test_the_fact_says_how_it_goes(world):
    world.put("a.tif")
    world.start()
    world.until(lambda: (world.ledger.fact("watcher") or {}).get("looks"))
    fact = world.ledger.fact("watcher")
    assert (fact["state"], fact["root_ok"], fact["files"], fact["folders"]) == ("ok", True, 1, 1)
    assert fact["mode"] == "events"
    assert "local file system" in fact["why"]
    assert fact["last_full_at"] <= fact["beat_at"] <= time.time()
    assert json.dumps(fact)
    # The count of files comes as news, too.
    world.until(lambda: any(kind == "seen" for _, _, kind, _, _ in world.ledger.news(after=0)), 5)


def test_files_of_other_formats_are_told_of(world, caplog):
    for name in ("a.czi", "x/b.czi", "a.tif"):
        world.put(name)
    world.start(rescan_s=3600)
    world.until(lambda: (world.ledger.fact("watcher") or {}).get("looks"))
    fact = world.ledger.fact("watcher")
    words = (
        "2 .czi files were left out: tierflow doesn't read this format; export them as OME-TIFF to have them measured"
    )
    assert (fact["left_out"], fact["left_out_message"], fact["state"]) == ({".czi": 2}, words, "ok")
    for name in ("c.czi", "d.foo"):
        world.put(name)
        world.watcher.rescan_now()
        world.until(lambda name=name: name[1:] != ".foo" or ".foo" in world.watcher.health()["left_out"])
    world.until(lambda: world.watcher.health()["left_out"] == {".czi": 3, ".foo": 1})
    assert [text.partition(" files were")[0] for text in caplog.messages if "left out" in text] == ["2 .czi", "3 .czi"]


def test_new_folders_full_of_files_are_raced_safely(world):
    world.start(rescan_s=3600)

    def writer(number):
        for folder in range(20):
            place = world.root / f"p{number}" / f"{folder}" / "deep"
            place.mkdir(parents=True)
            for name in range(5):
                (place / f"{name}.tif").write_bytes(b"1")

    writers = [threading.Thread(target=writer, args=(number,)) for number in range(4)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    world.until(lambda: world.ledger.counts()[State.SEEN] == 400)


def test_a_folder_that_is_moved_is_followed(world):
    world.put("a/x.tif")
    world.start(rescan_s=3600)
    (world.root / "a").rename(world.root / "b")
    world.until(lambda: world.state("a/x.tif") == State.LOST_SOURCE and world.state("b/x.tif") == State.SEEN)
    world.put("b/y.tif")
    world.until(lambda: world.state("b/y.tif") == State.SEEN)
    assert world.state("a/y.tif") is None


def test_an_overflow_is_told_and_healed(world):
    world.start(rescan_s=3600)
    world.until(lambda: world.told() == [])
    world.watcher._feed.end()
    world.put("missed/a.tif")
    world.watcher._hints.everything("the queue overflowed")
    world.until(lambda: world.state("missed/a.tif") == State.SEEN)
    world.until(lambda: world.told() == ["overflow", "ok"])
    assert world.watcher.health()["overflows"] == 1


def test_a_root_that_goes_away_and_comes_back_is_told_and_healed(world, monkeypatch):
    monkeypatch.setattr(module, "ROOT_S", 0.1)
    world.put("a.tif")
    world.put("p/b.tif")
    world.start(rescan_s=3600)
    world.root.rename(world.root.with_name("away"))
    world.until(world.is_in("root_lost"))
    assert not world.watcher.health()["root_ok"]
    world.watcher.rescan_now()
    time.sleep(0.3)
    assert world.ledger.counts()[State.LOST_SOURCE] == 0
    (world.root.with_name("away") / "p" / "new.tif").write_bytes(b"1")
    world.root.with_name("away").rename(world.root)
    world.until(lambda: world.state("p/new.tif") == State.SEEN)
    world.until(lambda: world.told() == ["root_lost", "ok"])
    # Watches were made anew.
    world.put("p/c.tif")
    world.until(lambda: world.state("p/c.tif") == State.SEEN)


@pytest.mark.parametrize(
    ("code", "state"), [(errno.EACCES, "denied"), (errno.ESTALE, "root_lost"), (errno.EIO, "away")]
)
def test_a_root_that_cant_be_listed_is_told_and_healed(world, monkeypatch, code, state):
    monkeypatch.setattr(module, "ROOT_S", 0.05)
    world.put("a.tif")
    world.start(rescan_s=3600)
    scandir = os.scandir

    def fails(path):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "scandir", fails)
    world.until(world.is_in(state))
    (world.root / "a.tif").unlink()
    time.sleep(0.2)
    assert world.state("a.tif") == State.SEEN
    monkeypatch.setattr(os, "scandir", scandir)
    world.until(lambda: world.state("a.tif") == State.LOST_SOURCE)
    world.until(lambda: world.watcher.health()["state"] == "ok")
    world.until(lambda: world.told() == [state, "ok"])


def test_a_folder_without_permission_is_named(world, monkeypatch):
    world.put("secret/a.tif")
    world.put("open/b.tif")
    world.start(rescan_s=3600)
    scandir = os.scandir

    def fails(path):
        if os.fsencode(path).endswith(b"secret"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", fails)
    world.watcher.rescan_now()
    world.until(world.is_in("folder_denied"))
    assert "such as secret: give the account" in world.watcher.health()["message"]
    assert world.state("secret/a.tif") == State.SEEN
    monkeypatch.undo()
    world.watcher.rescan_now()
    world.until(lambda: world.watcher.health()["state"] == "ok")


@pytest.mark.parametrize("error", [RuntimeError("a bug"), TryAgainError("the disk is full"), MemoryError()])
def test_a_failure_never_ends_the_watching(world, monkeypatch, error):
    monkeypatch.setattr(module, "ROOT_S", 0.05)
    world.start(rescan_s=3600)
    full, failing = world.watcher._rescan.full, [True]

    def fails():
        if failing:
            raise error
        return full()

    monkeypatch.setattr(world.watcher._rescan, "full", fails)
    world.put("a.tif")
    world.watcher.rescan_now()
    world.until(world.is_in("broken"))
    assert str(error) in world.watcher.health()["message"]
    failing.clear()
    world.until(lambda: world.watcher.health()["state"] == "ok")
    world.put("b.tif")
    world.until(lambda: world.state("b.tif") == State.SEEN)


def test_a_ledger_that_cant_be_written_never_ends_the_watching(world, monkeypatch):
    monkeypatch.setattr(module, "ROOT_S", 0.05)
    world.start(rescan_s=3600)
    transaction = world.ledger.transaction

    def fails():
        raise TryAgainError("database or disk is full")

    monkeypatch.setattr(world.ledger, "transaction", fails)
    world.put("a.tif")
    world.until(world.is_in("broken"))
    monkeypatch.setattr(world.ledger, "transaction", transaction)
    world.until(lambda: world.state("a.tif") == State.SEEN)
    world.until(lambda: world.watcher.health()["state"] == "ok")
    # What couldn't be told then is told now.
    world.until(lambda: world.told() == ["broken", "ok"])


def test_a_reading_thread_that_died_is_begun_again(world, monkeypatch):
    monkeypatch.setattr(module, "ROOT_S", 0.05)
    world.start(rescan_s=3600)
    world.watcher._feed._source._reader.stop()
    world.put("a.tif")
    world.until(lambda: world.state("a.tif") == State.SEEN)
    world.until(lambda: world.watcher.health()["looks"] == 2)
    world.put("b.tif")
    world.until(lambda: world.state("b.tif") == State.SEEN)


def test_a_limit_of_watches_is_told_and_folders_are_polled(world):
    world.put("a/x.tif")
    world.put("b/x.tif")
    config = config_io.validate({"input": str(world.root), "stream": {"poll_s": 0.05, "rescan_s": 3600}})
    world.watcher = Watcher(world.ledger, config, world.root, world.output, world.wake)

    class Limited:
        def start(self):
            pass

        def stop(self):
            pass

        def alive(self):
            return True

        def watch(self, folder):
            if folder:
                raise LimitError("the limit of watched folders is reached: raise fs.inotify.max_user_watches")

    world.watcher._feed._make = lambda *_: Limited()
    world.watcher.start()
    world.until(world.is_in("limited"))
    health = world.watcher.health()
    assert (health["mode"], health["root_ok"]) == ("polling", True)
    assert "max_user_watches" in health["message"]
    world.put("b/y.tif")
    world.until(lambda: world.state("b/y.tif") == State.SEEN)


def test_a_file_system_without_events_is_polled_as_soon_as_that_shows(world):
    world.start(rescan_s=3600, poll_s=0.05)
    # As on a share whose type says nothing: watches are made, and never tell anything.
    for path in list(world.watcher._feed._source._folders):
        world.watcher._feed._source.forget([path])
    world.put("a.tif")
    world.watcher.rescan_now()
    world.until(world.is_in("limited"))
    assert "without events" in world.watcher.health()["why"]
    world.put("b.tif")
    world.until(lambda: world.state("b.tif") == State.SEEN)


def test_a_clock_that_is_set_back_is_told_and_nothing_waits_for_it(world, monkeypatch):
    world.put("a.tif")
    world.start(rescan_s=3600)
    wall = time.time
    ahead = wall() + 60
    with world.ledger.transaction() as db:
        db.execute("UPDATE objects SET state = 'waiting', changed_at = ?, not_before = ?", (wall(), ahead))
    ticks = iter([Tick(-7200.0, 0.5)])
    monkeypatch.setattr(module.Clock, "tick", lambda self: next(ticks, Tick(0.0, 0.5)))
    world.until(lambda: "clock_jump" in world.told())
    (row,) = world.ledger.rows("1")
    assert row.not_before == pytest.approx(ahead - 7200)
    world.until(lambda: world.told() == ["clock_jump", "ok"])


def test_stopping_ends_every_thread_also_amid_a_look(world, monkeypatch):
    for number in range(1500):
        world.put(f"{number}.tif")
    world.start()
    monkeypatch.setattr(module, "YIELD_S", 0.2)
    world.watcher.rescan_now()
    time.sleep(0.1)
    started = time.monotonic()
    world.watcher.stop()
    assert time.monotonic() - started < 9
    assert threads() == []
    world.watcher.start()
    world.put("later.tif")
    world.until(lambda: world.state("later.tif") == State.SEEN)


def test_looks_take_their_share_of_the_time_and_no_more(world, monkeypatch):
    world.start(rescan_s=0.001)
    assert world.watcher._full_due >= 0
    full = world.watcher._rescan.full

    def slow():
        look = full()
        look.seconds = 5.0
        return look

    monkeypatch.setattr(world.watcher._rescan, "full", slow)
    before = world.watcher.health()["looks"]
    world.watcher.rescan_now()
    world.until(lambda: world.watcher.health()["seconds"] == 5.0)
    assert world.watcher.health()["looks"] > before
    assert world.watcher._full_due - time.monotonic() > 40

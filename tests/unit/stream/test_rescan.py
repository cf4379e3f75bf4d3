"""Looks at the folder tree: what batch scan takes, nothing else; every change of a file, in every state."""

import errno
import os
import socket
import time
from dataclasses import replace

import pytest

from tierflow import config_io
from tierflow.io.folder_reader import FolderReader
from tierflow.io.walk import Found, own_folders, walk
from tierflow.stream.clock import Clock, pull_back, shift_times
from tierflow.stream.hints import Hints
from tierflow.stream.inner_mounts import InnerMounts
from tierflow.stream.ledger import Ledger
from tierflow.stream.rescan import Rescan
from tierflow.stream.sightings import Known, Sightings, differs
from tierflow.stream.states import State


class World:
    def __init__(self, tmp_path, **scan):
        self.root = tmp_path / "in"
        self.root.mkdir(exist_ok=True)
        self.output = self.root / "results"
        self.ledger = Ledger(self.output)
        self.config = config_io.validate({"input": str(self.root), "scan": scan})
        self.healthy = True
        self.watched, self.forgotten = [], []
        self.sightings = Sightings(self.ledger, dataset=self.config.dataset_name)
        self.rescan = self.new_rescan()

    def new_rescan(self):
        return Rescan(
            self.root,
            self.config,
            self.output,
            sightings=self.sightings,
            healthy=lambda: self.healthy,
            watch=self.watched.append,
            forget=self.forgotten.extend,
        )

    def put(self, name, content=b"1", mtime_ns=None):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if mtime_ns is not None:
            os.utime(path, ns=(mtime_ns, mtime_ns))
        return path

    def row(self, name):
        (row,) = self.ledger.rows("path = ?", (os.fsencode(name),))
        return row

    def paths(self):
        return sorted(path for (path,) in self.ledger.query("SELECT path FROM objects"))

    def set(self, name, **values):
        columns = ", ".join(f"{column} = ?" for column in values)
        with self.ledger.transaction() as db:
            db.execute(f"UPDATE objects SET {columns} WHERE path = ?", (*values.values(), os.fsencode(name)))

    def handled(self, name, state=State.DONE):
        row = self.row(name)
        self.set(name, state=state, handled_size=row.size, handled_mtime_ns=row.mtime_ns, ended_at=time.time())

    def hint(self, *files, folders=(), gone=(), closed=True):
        hints = Hints()
        for name in files:
            hints.file(os.fsencode(name), closed=closed)
        for name in folders:
            hints.folder(os.fsencode(name))
        for name in gone:
            hints.folder_gone(os.fsencode(name))
        return self.rescan.hinted(hints.take())

    def age(self, name=""):
        """Make a folder look as if it had been changed long ago, as most are."""
        os.utime(self.root / name, ns=(10**18, 10**18))

    def taken(self):
        found = walk(self.root, self.config.scan, skip_folders=own_folders(self.config, self.output))
        return [file.path for file in found.files]


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.ledger.close()


def zoo(world):
    """Everything that batch scan has rules for."""
    for name in (
        "a.tif",
        "p1/b.tif",
        "p1/x/c.png",
        "p1/notes.txt",
        ".hidden.tif",
        ".h/d.tif",
        "p1/a_thumb.tif",
        "q.czi",
    ):
        world.put(name)
    world.put("weird \udcff.tif")
    world.put("other run/.tierflow/lock")
    world.put("other run/tiers/A/e.tif")
    world.put("results/tiers/A/f.tif")
    world.put("img.zarr/0/0.tif")
    os.mkfifo(world.root / "pipe.tif")
    (world.root / "dangling.tif").symlink_to("nowhere.tif")
    (world.root / "loop.tif").symlink_to("loop.tif")
    (world.root / "link.tif").symlink_to("a.tif")
    (world.root / "folder_link").symlink_to("p1")
    (world.root / "p1" / "up").symlink_to("..")
    server = socket.socket(socket.AF_UNIX)
    server.bind(os.path.relpath(world.root / "s.tif"))
    server.close()


@pytest.mark.parametrize(
    "scan",
    [{}, {"follow_links": True}, {"include": ["*.txt", "p1/**"]}, {"exclude": ["x", "a*"]}, {"include": ["**/x/*"]}],
)
def test_a_look_takes_what_batch_scan_takes(tmp_path, scan):
    world = World(tmp_path, **scan)
    zoo(world)
    look = world.rescan.full()
    assert world.paths() == world.taken()
    assert look.files == len(world.taken())
    assert not world.rescan.full().counted


@pytest.mark.parametrize("scan", [{}, {"follow_links": True}, {"exclude": ["x", "a*"]}])
def test_hints_take_what_batch_scan_takes(tmp_path, scan):
    world = World(tmp_path, **scan)
    world.rescan.full()
    zoo(world)
    entries = os.listdir(world.root)  # noqa: PTH208 - names that aren't valid text
    folders = [name for name in entries if (world.root / name).is_dir() and not (world.root / name).is_symlink()]
    world.hint(*[name for name in entries if name not in folders], folders=folders)
    if scan.get("follow_links"):
        # A link to a folder is announced like a file; the next look at all files enters it.
        world.rescan.full()
    assert world.paths() == world.taken()


def test_rows_say_what_a_scan_says(world):
    world.put("p/a.tif", b"12345")
    world.rescan.full()
    row = world.row("p/a.tif")
    state = (world.root / "p" / "a.tif").stat()
    assert (row.size, row.mtime_ns, row.inode) == (5, state.st_mtime_ns, state.st_ino)
    assert (row.state, row.version, row.closed, row.is_link) == (State.SEEN, 1, False, False)
    assert world.ledger.query("SELECT folder FROM objects") == [(b"p",)]


def test_folders_are_watched_before_they_are_listed_and_own_ones_never(world):
    world.put("a/b/c.tif")
    world.put("results/tiers/A/f.tif")
    world.rescan.full()
    assert sorted(world.watched) == [b"", b"a", b"a/b"]


@pytest.mark.parametrize("state", [State.SEEN, State.WAITING, State.READY, State.FAILED])
def test_an_open_file_that_was_written_again_waits_again(world, state):
    world.put("a.tif")
    world.rescan.full()
    world.set("a.tif", state=state, attempts=2, ready_at=1.0, not_before=9e9, closed=1, changed_at=1.0)
    world.put("a.tif", b"12")
    assert world.rescan.full().counted.changed == 1
    row = world.row("a.tif")
    assert (row.size, row.version, row.closed) == (2, 1, False)
    assert row.changed_at > 1.0
    if state != State.SEEN:
        assert (row.state, row.attempts, row.ready_at, row.not_before) == (State.WAITING, 0, None, 0)


def test_a_running_file_that_was_written_again_runs_on_and_is_a_new_version_later(world):
    world.put("a.tif")
    world.rescan.full()
    first = world.row("a.tif")
    world.set("a.tif", state=State.RUNNING, batch=7)
    world.put("a.tif", b"12")
    world.rescan.full()
    row = world.row("a.tif")
    assert (row.state, row.size, row.batch) == (State.RUNNING, 2, 7)
    world.set("a.tif", state=State.DONE, handled_size=first.size, handled_mtime_ns=first.mtime_ns)
    assert world.rescan.full().counted.versions == 1
    assert (world.row("a.tif").state, world.row("a.tif").version) == (State.SEEN, 2)
    assert not world.rescan.full().counted


@pytest.mark.parametrize("state", [State.DONE, State.QUARANTINED])
@pytest.mark.parametrize("by", ["look", "hint"])
def test_a_handled_file_that_was_written_again_is_a_new_version(world, state, by):
    world.put("a.tif")
    world.rescan.full()
    world.handled("a.tif", state)
    world.set("a.tif", attempts=3)
    assert not world.rescan.full().counted
    world.put("a.tif", b"12")
    look = world.rescan.full() if by == "look" else world.hint("a.tif")
    assert look.counted.versions == 1
    row = world.row("a.tif")
    assert (row.state, row.version, row.attempts, row.size) == (State.SEEN, 2, 0, 2)
    assert row.closed == (by == "hint")


def test_a_time_that_was_set_back_is_a_change_as_well(world):
    world.put("a.tif", mtime_ns=2 * 10**18 + 5)
    world.rescan.full()
    world.handled("a.tif")
    os.utime(world.root / "a.tif", ns=(10**18 + 5, 10**18 + 5))
    assert world.rescan.full().counted.versions == 1


def known(**values):
    row = Known(1, b"a.tif", State.DONE, 10, 10**18 + 5, 7, 0, 1, 10, 10**18 + 5, "id")
    return row._replace(**values)


def test_another_inode_alone_is_no_change():
    found = Found(b"a.tif", 10, 10**18 + 5, False, 8)
    assert not differs(known(), found, inodes=True)


def test_another_inode_is_one_where_the_file_system_writes_whole_seconds():
    found = Found(b"a.tif", 10, 10**18, False, 8)
    row = known(mtime_ns=10**18, handled_mtime_ns=10**18)
    assert differs(row, found, inodes=True)
    assert not differs(row, found, inodes=False)
    assert not differs(row, found._replace(inode=7), inodes=True)


def test_a_replaced_file_with_the_same_size_and_time_only_gets_its_inode_noted(world):
    world.put("a.tif", mtime_ns=10**18 + 5)
    world.rescan.full()
    world.handled("a.tif")
    world.put("new.part", mtime_ns=10**18 + 5).rename(world.root / "a.tif")
    assert not world.rescan.full().counted
    row = world.row("a.tif")
    assert (row.state, row.version, row.inode) == (State.DONE, 1, (world.root / "a.tif").stat().st_ino)


@pytest.mark.parametrize("state", [State.SEEN, State.WAITING, State.READY, State.FAILED])
def test_a_file_that_vanished_before_it_was_handled_is_lost_and_found(world, state):
    world.put("a.tif")
    world.rescan.full()
    world.set("a.tif", state=state)
    (world.root / "a.tif").rename(world.root / "kept")
    assert world.rescan.full().counted.lost == 1
    assert world.row("a.tif").state == State.LOST_SOURCE
    ((_, _, kind, number, detail),) = world.ledger.news(after=0)
    assert (kind, number, detail["path"]) == ("lost_source", world.row("a.tif").id, "a.tif")
    assert not world.rescan.full().counted
    (world.root / "kept").rename(world.root / "a.tif")
    assert world.rescan.full().counted.back == 1
    assert (world.row("a.tif").state, world.row("a.tif").version) == (State.SEEN, 1)


@pytest.mark.parametrize("state", [State.DONE, State.QUARANTINED, State.RUNNING])
def test_a_handled_or_running_file_that_vanished_is_left_alone(world, state):
    world.put("a.tif")
    world.rescan.full()
    world.set("a.tif", state=state)
    (world.root / "a.tif").unlink()
    assert not world.rescan.full().counted
    assert not world.hint("a.tif").counted
    assert world.row("a.tif").state == state


def test_nothing_is_lost_while_the_root_isnt_healthy(world):
    world.put("p/a.tif")
    world.put("b.tif")
    world.rescan.full()
    world.healthy = False
    (world.root / "p" / "a.tif").unlink()
    (world.root / "p").rmdir()
    (world.root / "b.tif").unlink()
    assert not world.rescan.full().counted
    assert not world.rescan.quick().counted
    assert not world.hint("b.tif", gone=["p"]).counted
    world.healthy = True
    assert world.rescan.full().counted.lost == 2


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_nothing_is_lost_in_a_folder_that_cant_be_listed(world, monkeypatch, code):
    world.put("p/a.tif")
    world.put("q/b.tif")
    world.rescan.full()
    (world.root / "p" / "a.tif").unlink()
    read = FolderReader.read

    def fails(self, folder):
        if folder == b"p":
            raise OSError(code, os.strerror(code))
        return read(self, folder)

    monkeypatch.setattr(FolderReader, "read", fails)
    look = world.rescan.full()
    assert not look.counted
    assert (look.denied, look.away is None) == ((["p"], True) if code == errno.EACCES else ([], False))
    monkeypatch.undo()
    assert world.rescan.full().counted.lost == 1


def test_a_folder_that_vanished_loses_all_below_it(world):
    world.put("p/x/a.tif")
    world.put("p/b.tif")
    world.put("p-2/c.tif")
    world.rescan.full()
    (world.root / "p").rename(world.root.parent / "elsewhere")
    assert world.hint(gone=["p"]).counted.lost == 2
    assert set(world.forgotten) == {b"p"}
    assert world.row("p-2/c.tif").state == State.SEEN
    (world.root.parent / "elsewhere").rename(world.root / "p")
    assert world.hint(folders=["p"]).counted.back == 2


def test_a_folder_that_vanished_while_nobody_watched_loses_all_below_it(world):
    world.put("p/x/a.tif")
    world.rescan.full()
    (world.root / "p").rename(world.root.parent / "elsewhere")
    assert world.new_rescan().full().counted.lost == 1


def test_a_file_that_is_left_out_from_now_on_is_not_handled(tmp_path):
    world = World(tmp_path)
    world.put("a.tif")
    world.rescan.full()
    world.config = config_io.validate({"input": str(world.root), "scan": {"exclude": ["a*"]}})
    assert world.new_rescan().full().counted.lost == 1


def test_a_quick_look_finds_new_names_in_folders_that_changed(world):
    world.put("p/x/a.tif")
    world.put("q/b.tif")
    for name in ("p/x", "p", "q", ""):
        world.age(name)
    world.rescan.full()
    assert world.rescan.quick().folders == 0
    world.put("p/x/new/c.tif")
    (world.root / "q" / "b.tif").unlink()
    look = world.rescan.quick()
    assert (look.counted.new, look.counted.lost) == (1, 1)
    # Two that changed, and the new one.
    assert look.folders == 3


def test_a_folder_that_just_changed_is_looked_at_again(world):
    """Two changes within one tick of the clock give the same time of change."""
    world.put("a.tif")
    world.rescan.full()
    state = world.root.stat().st_mtime_ns
    world.put("b.tif")
    os.utime(world.root, ns=(state, state))
    assert world.rescan.quick().counted.new == 1


def test_a_hint_in_a_folder_that_is_being_listed_isnt_dropped(world):
    """Closing is told once: the row must know of it although the listing has found the file first."""
    done = []

    def between():
        if not done and b"n" in world.watched:
            done.append(True)
            world.hint("n/0005.tif")

    for number in range(1200):
        world.put(f"n/{number:04}.tif")
    world.rescan = Rescan(
        world.root,
        world.config,
        world.output,
        sightings=world.sightings,
        healthy=lambda: True,
        watch=world.watched.append,
        between=between,
    )
    world.rescan.full()
    assert done
    assert world.row("n/0005.tif").closed
    assert not world.row("n/0006.tif").closed
    assert len(world.paths()) == 1200


def test_a_closed_sign_holds_only_for_the_size_it_was_given_with(world):
    world.put("a.tif")
    world.rescan.full()
    world.set("a.tif", state=State.WAITING, not_before=9e9)
    assert world.hint("a.tif").counted.changed == 1
    assert (world.row("a.tif").closed, world.row("a.tif").not_before) == (True, 0)
    assert not world.rescan.full().counted
    assert world.row("a.tif").closed
    world.put("a.tif", b"12")
    world.rescan.full()
    assert not world.row("a.tif").closed


def test_a_hint_of_what_is_known_writes_nothing(world):
    world.put("a.tif")
    world.hint("a.tif")
    world.rescan.full()
    world.handled("a.tif")
    before = world.ledger.query("SELECT * FROM objects")
    assert not world.hint("a.tif").counted
    assert world.ledger.query("SELECT * FROM objects") == before


def test_hints_of_files_in_folders_that_are_left_out_are_ignored(world):
    world.rescan.full()
    world.put("results/tiers/A/a.tif")
    world.put(".h/b.tif")
    world.hint("results/tiers/A/a.tif", ".h/b.tif", "nowhere/c.tif", folders=["results", ".h", "results/tiers"])
    assert world.paths() == []


def test_a_loop_of_folder_links_ends(tmp_path):
    world = World(tmp_path, follow_links=True)
    world.put("p/a.tif")
    (world.root / "p" / "up").symlink_to("..")
    (world.root / "p" / "self").symlink_to(".")
    (world.root / "again").symlink_to("p")
    world.rescan.full()
    world.put("p/b.tif")
    world.rescan.quick()
    world.hint(folders=["p"])
    assert world.paths() == [b"p/a.tif", b"p/b.tif"]


def test_a_mount_inside_the_root_that_is_gone_loses_nothing(world, monkeypatch):
    world.put("m/x/a.tif")
    world.rescan.full()
    inner = world.rescan._inner
    inner.note(b"m", device=2, root_device=1)
    assert InnerMounts(world.root, world.ledger).missing() == ["m"]
    (world.root / "m" / "x" / "a.tif").unlink()
    (world.root / "m" / "x").rmdir()
    look = world.rescan.full()
    assert not look.counted
    assert look.unmounted == ["m"]
    monkeypatch.setattr(inner, "_is_mounted", lambda top: True)
    assert world.rescan.full().counted.lost == 1


def test_a_disk_that_was_taken_away_when_all_was_done_is_no_trouble(world):
    for name in ("m/x/a.tif", "m0/b.tif", "m.tif"):
        world.put(name)
    world.rescan.full()
    inner = world.rescan._inner
    inner.note(b"m", device=2, root_device=1)
    assert inner.missing() == ["m"]
    with world.ledger.transaction() as db:
        db.execute("UPDATE objects SET state = 'done' WHERE path = ?", (b"m/x/a.tif",))
    assert inner.missing() == []
    assert inner.is_missing(b"m/x")


@pytest.mark.parametrize("look", ["full", "hint"])
def test_a_root_that_is_on_another_device_after_a_mount_is_no_mount_inside_itself(world, look):
    world.put("p/x/a.tif")
    world.rescan.full()
    tree = world.rescan._tree
    tree.update({folder: replace(state, device=state.device + 1) for folder, state in tree.items()})
    world.put("p/x/b.tif")
    if look == "hint":
        world.hint(folders=["p/x"])
    assert world.rescan.full().unmounted == []
    assert world.ledger.fact("inner_mounts", []) == []
    assert world.paths() == [b"p/x/a.tif", b"p/x/b.tif"]


def test_a_new_file_is_in_the_order_of_its_time(world):
    for number, name in enumerate(("c.tif", "a.tif", "b.tif")):
        world.put(name, mtime_ns=10**18 + number)
    world.rescan.full()
    assert [path for (path,) in world.ledger.query("SELECT path FROM objects ORDER BY id")] == [
        b"c.tif",
        b"a.tif",
        b"b.tif",
    ]


def test_a_clock_that_was_set_is_noticed_and_a_pause_isnt_taken_for_it():
    times = {"wall": 1000.0, "steady": 50.0}
    clock = Clock(wall=lambda: times["wall"], steady=lambda: times["steady"])
    times["wall"] += 100
    times["steady"] += 100
    assert clock.tick() == (0, 100)
    times["wall"] += 1 - 86_400
    times["steady"] += 1
    assert clock.tick().jump_s == -86_400
    times["wall"] += 3 + 1
    times["steady"] += 1
    assert clock.tick().jump_s == 0


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_waits_stay_as_long_as_they_were_when_the_clock_is_set(world, jump):
    world.put("a.tif")
    world.put("b.tif")
    world.rescan.full()
    now = 2e9
    world.set("a.tif", state=State.WAITING, seen_at=now - 60, changed_at=now - 10, not_before=now + 5)
    world.set("b.tif", state=State.DONE, changed_at=now - 10, ended_at=now - 1, not_before=now)
    shift_times(world.ledger, jump_s=jump, now=now + jump)
    row = world.row("a.tif")
    assert (row.seen_at, row.changed_at, row.not_before) == (now + jump - 60, now + jump - 10, now + jump + 5)
    assert world.row("b.tif").changed_at == now - 10


def test_nothing_waits_for_years_after_a_start_with_another_clock(world):
    world.put("a.tif")
    world.put("b.tif")
    world.rescan.full()
    now = 2e9
    world.set("a.tif", state=State.WAITING, seen_at=3e9, changed_at=3e9, not_before=3e9)
    world.set("b.tif", state=State.FAILED, seen_at=now, changed_at=now, not_before=now + 200)
    assert pull_back(world.ledger, now=now, longest_wait_s=300) == 1
    row = world.row("a.tif")
    assert (row.seen_at, row.changed_at, row.not_before) == (now, now, now)
    assert world.row("b.tif").not_before == now + 200

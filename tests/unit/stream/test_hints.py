"""Hints: bounded, merged, and never silently dropped."""

import errno
import os
import time
from pathlib import Path

import pytest
from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, InotifyFD

from tierflow.stream.events import KERNEL_DROPPED, LimitError, TreeSource, make_source
from tierflow.stream.feed import Feed
from tierflow.stream.hints import Hints
from waiting import until


def gather(hints, wanted, seconds=5.0):
    """Take hints until all wanted paths are among them."""
    files, folders, gone = {}, set(), set()
    end = time.monotonic() + seconds
    while not wanted <= (files.keys() | folders | gone):
        assert time.monotonic() < end, (wanted, files, folders, gone)
        hints.news.wait(0.1)
        taken = hints.take()
        for path, closed in taken.files.items():
            files[path] = closed or files.get(path, False)
        folders |= set(taken.folders)
        gone |= taken.gone
    return files, folders, gone


def test_a_file_that_was_created_and_closed_is_one_hint():
    hints = Hints()
    hints.file(b"a.tif", closed=True)
    hints.file(b"a.tif", closed=False)
    assert hints.take().files == {b"a.tif": True}
    assert not hints.take()


def test_too_many_hints_become_a_look_at_everything():
    hints = Hints(most=3)
    for number in range(5):
        hints.file(b"%d.tif" % number, closed=True)
    taken = hints.take()
    assert "more than 3" in taken.everything
    assert not taken.files
    assert hints.overflows == 1
    hints.folder(b"new")
    assert list(hints.take().folders) == [b"new"]


def test_a_path_that_is_known_already_never_overflows():
    hints = Hints(most=2)
    for _ in range(10):
        hints.file(b"a.tif", closed=False)
    assert hints.take().files == {b"a.tif": False}


def test_inotify_tells_of_closed_renamed_deleted_and_new_folders(tmp_path):
    hints = Hints()
    source = make_source(tmp_path, hints)
    source.start()
    try:
        source.watch(b"")
        (tmp_path / "a.tif").write_bytes(b"1")
        (tmp_path / ".b.part").write_bytes(b"1")
        (tmp_path / ".b.part").rename(tmp_path / "b.tif")
        (tmp_path / "new").mkdir()
        files, folders, _ = gather(hints, {b"a.tif", b"b.tif", b"new"})
        assert files[b"a.tif"]
        assert files[b"b.tif"]
        assert b"new" in folders
        (tmp_path / "a.tif").unlink()
        (tmp_path / "new").rmdir()
        _, _, gone = gather(hints, {b"a.tif", b"new"})
        assert gone == {b"new"}
    finally:
        source.stop()


def test_inotify_watches_only_folders_it_was_told_of(tmp_path):
    (tmp_path / "in" / "out").mkdir(parents=True)
    hints = Hints()
    source = make_source(tmp_path, hints)
    source.start()
    try:
        source.watch(b"in")
        (tmp_path / "in" / "out" / "x.tif").write_bytes(b"1")
        (tmp_path / "y.tif").write_bytes(b"1")
        (tmp_path / "in" / "z.tif").write_bytes(b"1")
        files, _, _ = gather(hints, {b"in/z.tif"})
        assert set(files) == {b"in/z.tif"}
    finally:
        source.stop()


def test_a_folder_that_was_moved_is_followed_under_its_new_name(tmp_path):
    (tmp_path / "a").mkdir()
    hints = Hints()
    source = make_source(tmp_path, hints)
    source.start()
    try:
        source.watch(b"")
        source.watch(b"a")
        (tmp_path / "a").rename(tmp_path / "b")
        _, folders, gone = gather(hints, {b"a", b"b"})
        assert gone == {b"a"}
        assert b"b" in folders
        source.forget(gone)
        source.watch(b"b")
        (tmp_path / "b" / "x.tif").write_bytes(b"1")
        files, _, _ = gather(hints, {b"b/x.tif"})
        assert set(files) == {b"b/x.tif"}
    finally:
        source.stop()


def test_an_overflow_of_the_kernels_queue_is_noticed(tmp_path):
    hints = Hints()
    source = make_source(tmp_path, hints)
    source.start()
    try:
        source.watch(b"")
        source._reader.handle_event(InotifyEvent(-1, InotifyConstants.IN_Q_OVERFLOW, 0, b""))
        assert hints.take().everything == KERNEL_DROPPED
    finally:
        source.stop()


def test_a_real_overflow_of_the_kernels_queue_is_noticed(tmp_path, monkeypatch):
    """Nobody reads while more files are made than the kernel keeps events of."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 20_000:
        pytest.skip(f"the kernel keeps {most} events here: too many files for a quick test")
    hints = Hints(most=100_000)
    source = make_source(tmp_path, hints)
    read = InotifyFD.read_events
    held = []

    def slow(self, **options):
        while not held:
            time.sleep(0.01)
        return read(self, **options)

    monkeypatch.setattr(InotifyFD, "read_events", slow)
    source.start()
    try:
        source.watch(b"")
        for number in range(most // 2 + 100):
            (tmp_path / f"{number}.tif").touch()
        held.append(True)
        until(lambda: hints.overflows, seconds=5)
        # What was read before the kernel's word is part of the look at everything.
        assert hints.take().everything == KERNEL_DROPPED
    finally:
        source.stop()


class NoRoom:
    """A reader of a system whose limit is reached."""

    def __init__(self, code):
        self.code = code

    def add_callback(self, *_):
        raise OSError(self.code, os.strerror(self.code))

    def remove_callbacks(self, _):
        pass

    def stop(self):
        pass

    def join(self, timeout=None):
        pass

    def is_alive(self):
        return True


@pytest.mark.parametrize(("code", "remedy"), [(errno.ENOSPC, "max_user_watches"), (errno.EMFILE, "max_user_instances")])
def test_a_limit_of_watches_names_what_to_raise(tmp_path, code, remedy):
    source = make_source(tmp_path, Hints())
    source._reader = NoRoom(code)
    with pytest.raises(LimitError, match=remedy):
        source.watch(b"")


def test_a_folder_that_is_gone_or_denied_is_no_limit(tmp_path):
    source = make_source(tmp_path, Hints())
    for code in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
        source._reader = NoRoom(code)
        source.watch(b"x")
    assert len(source) == 0


def test_a_limit_turns_events_into_polling(tmp_path):
    class Limited:
        def start(self):
            raise LimitError("the limit is reached: raise it")

    feed = Feed(tmp_path, Hints(), wanted="events", make=lambda *_: Limited())
    feed.begin()
    assert (feed.mode, feed.why) == ("polling", "the limit is reached: raise it")
    feed.begin()
    assert feed.mode == "polling"


def test_a_limit_in_the_middle_ends_all_watches(tmp_path):
    class Limited:
        stopped = False

        def start(self):
            pass

        def watch(self, folder):
            if folder:
                raise LimitError("no more")

        def stop(self):
            self.stopped = True

    source = Limited()
    feed = Feed(tmp_path, Hints(), wanted="events", make=lambda *_: source)
    feed.begin()
    feed.watch(b"")
    assert feed.mode == "events"
    feed.watch(b"a")
    assert source.stopped
    assert (feed.mode, feed.limit) == ("polling", "no more")


def test_the_source_for_other_systems_gives_the_same_hints(tmp_path):
    (tmp_path / "a").mkdir()
    hints = Hints()
    source = TreeSource(tmp_path, hints)
    source.start()
    try:
        (tmp_path / "a" / "x.tif").write_bytes(b"1")
        (tmp_path / "a" / "x.tif").rename(tmp_path / "a" / "y.tif")
        (tmp_path / "b").mkdir()
        files, folders, _ = gather(hints, {b"a/x.tif", b"a/y.tif", b"b"})
        assert files[b"a/y.tif"]
        assert b"b" in folders
        assert source.alive()
    finally:
        source.stop()
    assert not source.alive()

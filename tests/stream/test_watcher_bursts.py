"""Bursts that no event queue holds: 20,000 files while the watching process is stopped, none lost, none twice."""

import os
import signal
import subprocess
import sys
import time

import pytest
from mounting import mount, unmount

from tierflow.stream.ledger import Ledger
from tierflow.stream.states import State

FILES = 20_000

WATCH = """
import sys, threading
from pathlib import Path
from tierflow import config_io
from tierflow.stream.ledger import Ledger
from tierflow.stream.watcher import Watcher
root, output = Path(sys.argv[1]), Path(sys.argv[2])
config = config_io.validate({"input": str(root), "stream": {"rescan_s": float(sys.argv[3])}})
ledger, wake = Ledger(output), threading.Event()
watcher = Watcher(ledger, config, root, output, wake)
watcher.start()
sys.stdin.read()
watcher.stop()
"""


class Process:
    """A process that watches a folder."""

    def __init__(self, root, output, *, rescan_s=3600.0, prefix=()):
        self.child = subprocess.Popen(
            [*prefix, sys.executable, "-c", WATCH, str(root), str(output), str(rescan_s)], stdin=subprocess.PIPE
        )
        Ledger(output).close()
        self.ledger = Ledger(output, read_only=True)
        self.until(lambda: self.fact("looks"))

    def fact(self, name):
        return (self.ledger.fact("watcher") or {}).get(name)

    def told(self):
        return [detail["state"] for _, _, kind, _, detail in self.ledger.news(after=0) if kind == "watcher"]

    def until(self, condition, seconds=60.0):
        end = time.monotonic() + seconds
        while not condition():
            assert self.child.poll() is None, "the watching process ended"
            assert time.monotonic() < end, (self.ledger.counts(), self.ledger.fact("watcher"))
            time.sleep(0.05)

    def seen(self):
        return self.ledger.counts()[State.SEEN]

    def stop(self):
        self.child.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.child.send_signal(signal.SIGCONT)

    def end(self):
        self.go_on()
        self.child.stdin.close()
        assert self.child.wait(timeout=30) == 0
        self.ledger.close()


@pytest.fixture
def watched(tmp_path):
    (tmp_path / "in").mkdir()
    process = Process(tmp_path / "in", tmp_path / "out")
    yield process, tmp_path / "in"
    process.end()


def seen_once(process, names):
    process.until(lambda: process.seen() >= len(names))
    # Whatever else is to come has time to come.
    time.sleep(0.5)
    paths = [os.fsdecode(path) for (path,) in process.ledger.query("SELECT path FROM objects")]
    assert len(paths) == len(set(paths))
    assert set(paths) == set(names)
    versions = process.ledger.query("SELECT DISTINCT version, state FROM objects")
    assert versions == [(1, "seen")]


@pytest.mark.slow
def test_a_burst_in_one_folder_while_the_process_is_stopped(watched):
    process, root = watched
    process.stop()
    names = [f"{number}.tif" for number in range(FILES)]
    for name in names:
        (root / name).touch()
    process.go_on()
    seen_once(process, names)
    assert "overflow" in process.told()
    process.until(lambda: process.fact("state") == "ok")


@pytest.mark.slow
def test_a_burst_in_new_nested_folders_while_the_process_is_stopped(watched):
    process, root = watched
    process.stop()
    names = []
    for folder in range(400):
        place = root / f"plate{folder % 10}" / f"day{folder % 40}" / f"{folder}"
        place.mkdir(parents=True)
        for number in range(FILES // 400):
            (place / f"{number}.tif").touch()
            names.append(f"plate{folder % 10}/day{folder % 40}/{folder}/{number}.tif")
    process.go_on()
    seen_once(process, names)


@pytest.mark.slow
def test_a_burst_of_renames_into_place_while_the_process_is_stopped(watched):
    process, root = watched
    process.stop()
    for number in range(FILES):
        part = root / f".{number}.part"
        part.touch()
        part.rename(root / f"{number}.tif")
    process.go_on()
    seen_once(process, [f"{number}.tif" for number in range(FILES)])


@pytest.mark.slow
def test_a_burst_while_the_process_runs(watched):
    process, root = watched
    names = [f"p{number % 7}/{number}.tif" for number in range(FILES)]
    for folder in range(7):
        (root / f"p{folder}").mkdir()
    for name in names:
        (root / name).touch()
    seen_once(process, names)


@pytest.mark.slow
@pytest.mark.parametrize(("lazy", "files", "away_s"), [(False, FILES, 30.0), (True, 2000, 0.0)])
def test_a_share_that_is_unmounted_and_mounted_again_loses_nothing(tmp_path, may_mount, lazy, files, away_s):
    share, root = tmp_path / "share", tmp_path / "in"
    share.mkdir()
    root.mkdir()
    names = [f"p{number % 5}/{number}.tif" for number in range(files)]
    before, meanwhile = names[: files // 2], names[files // 2 :]
    for name in before:
        (share / name).parent.mkdir(exist_ok=True)
        (share / name).touch()
    assert mount("--bind", share, root)
    process = None
    try:
        process = Process(root, tmp_path / "out", rescan_s=1.0)
        process.until(lambda: process.seen() == len(before))
        unmount(root, lazily=lazy)
        back = time.monotonic() + away_s
        process.until(lambda: process.fact("state") == "root_lost")
        assert "no longer mounted" in process.fact("message")
        assert process.fact("root_ok") is False
        for name in meanwhile:
            (share / name).touch()
        # Several looks at all files go by while the share is away.
        looks = process.fact("looks")
        process.until(lambda: process.fact("looks") >= looks + 2)
        assert process.ledger.counts()[State.LOST_SOURCE] == 0
        time.sleep(max(0.0, back - time.monotonic()))
        assert process.seen() == len(before)
        assert mount("--bind", share, root)
        seen_once(process, names)
        process.until(lambda: process.fact("state") == "ok")
        assert process.told()[-2:] == ["root_lost", "ok"]
        # The watches are on what is mounted now.
        (share / "p1" / "late.tif").write_bytes(b"1")
        process.until(lambda: process.seen() == files + 1)
    finally:
        if process is not None:
            process.end()
        unmount(root)


@pytest.mark.slow
def test_a_disk_that_is_unmounted_inside_the_root_loses_nothing(tmp_path, may_mount):
    root = tmp_path / "in"
    (root / "plate").mkdir(parents=True)
    (root / "a.tif").touch()
    (tmp_path / "kept").mkdir()
    assert mount("-t", "tmpfs", "none", root / "plate")
    process = None
    try:
        (root / "plate" / "x").mkdir()
        (root / "plate" / "x" / "b.tif").touch()
        process = Process(root, tmp_path / "out", rescan_s=0.5)
        assert process.seen() == 2
        unmount(root / "plate")
        process.until(lambda: process.fact("state") == "folder_unmounted")
        assert "plate" in process.fact("message")
        assert process.ledger.counts()[State.LOST_SOURCE] == 0
        assert mount("-t", "tmpfs", "none", root / "plate")
        (root / "plate" / "x").mkdir()
        (root / "plate" / "x" / "b.tif").touch()
        process.until(lambda: process.fact("state") == "ok")
        assert process.seen() == 2
    finally:
        if process is not None:
            process.end()
        unmount(root / "plate")

"""Trouble from outside: full, read-only and broken disks, missing permissions, programs that meddle."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from placing_world import World, files, parts, tree
from tierflow import plugins
from tierflow.errors import TryAgainError, exit_code_of
from tierflow.tiers import acts
from tierflow.tiers import files as acts_on_files
from tierflow.tiers.undo import undo
from tierflow.tiers.verify import verify

NOBODY = 65534


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    for number in range(6):
        world.add(f"{number}.tif", f"content {number}".encode() * 1000, tier="AB"[number % 2])
    return world


def failing(monkeypatch, name, code, *, when):
    """Let calls of a system function fail whose arguments fulfil a condition."""
    real = getattr(os, name)

    def call(*args, **options):
        if when(*args):
            raise OSError(code, os.strerror(code), str(args[0]))
        return real(*args, **options)

    monkeypatch.setattr(os, name, call)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.EIO])
@pytest.mark.parametrize("driver", ["copy", "move"])
def test_trouble_of_the_whole_tier_ends_the_step_and_a_rerun_goes_on(world, monkeypatch, driver, code):
    monkeypatch.setattr(acts, "BATCH", 2)
    world.drivers |= {"A": driver, "B": "link"}
    world.measure()
    before = tree(world.input)
    tier, limit = str(world.output / "tiers/A"), [2]

    def full(*args):
        inside = any(str(arg).startswith(tier) for arg in args[:2])
        limit[0] -= inside
        return inside and limit[0] < 0

    with monkeypatch.context() as patch:
        failing(patch, "link" if driver == "move" else "open", code, when=full)
        with pytest.raises(TryAgainError, match=r"tiers/A.*run again") as caught:
            world.place()
    assert exit_code_of(caught.value) == 75
    assert not parts(world.base)
    assert not (world.output / "place/00000.parquet").exists()
    placed = files(world.output / "tiers")
    assert 0 < len([name for name in placed if name.startswith("A/")]) < 3
    assert set(files(world.input).values()) | set(placed.values()) == {c[1] for c in before.values()}
    rows = world.place()
    assert {row["problem"] for row in rows.values()} == {None}
    assert verify(world.output).ok
    undo(world.output, dry_run=False)
    assert tree(world.input) == before


def test_disk_that_fills_while_a_file_is_written(world, monkeypatch):
    world.drivers["A"] = "copy"
    world.measure()
    written = [20_000]

    def full(handle, data):
        inside = str(Path(f"/proc/self/fd/{handle}").readlink()).endswith(".part") and b"content" in bytes(data[:20])
        written[0] -= len(data) if inside else 0
        return inside and written[0] < 0

    with monkeypatch.context() as patch:
        failing(patch, "write", errno.ENOSPC, when=full)
        with pytest.raises(TryAgainError, match="disk is full, make room there"):
            world.place()
    assert not parts(world.base)
    world.place()
    assert len(files(world.output / "tiers")) == 6


def test_disk_of_the_journal_is_full(world, monkeypatch):
    world.measure()
    failing(monkeypatch, "write", errno.ENOSPC, when=lambda handle, _: True)
    with pytest.raises(TryAgainError, match=r"00000\.jsonl .*make room, then run again"):
        world.place()
    assert not (world.output / "tiers").exists()


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_disk_of_the_journal_fills(world, monkeypatch, call):
    """Whatever line can't be written: the step ends, the files are safe, a rerun finishes."""
    world.drivers |= {"A": "move", "B": "copy"}
    world.measure()
    before = tree(world.input)
    for at in range(1, 6):
        count = [0]

        def full(handle, *_, at=at, count=count):
            if not str(Path(f"/proc/self/fd/{handle}").readlink()).endswith(".jsonl"):
                return False
            count[0] += 1
            return count[0] >= at

        with monkeypatch.context() as patch, suppress(TryAgainError):
            failing(patch, call, errno.ENOSPC, when=full)
            world.place()
            assert at > 2
        found = set(files(world.input).values()) | set(files(world.output / "tiers").values())
        assert found >= {content[1] for content in before.values()}
        assert {row["problem"] for row in world.place().values()} == {None}
        assert verify(world.output).ok
        assert undo(world.output, dry_run=False).conflicts == []
        assert tree(world.input) == before


def test_real_disk_that_is_full(world, tmp_path):
    """A file system of 1 MB; needs the right to mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if (
        os.geteuid() != 0
        or not shutil.which("mount")
        or subprocess.run(mount, check=False, capture_output=True).returncode
    ):
        pytest.skip("may not mount a small file system")
    try:
        world.drivers = dict.fromkeys(world.drivers, "move")
        world.roots["A"] = str(disk / "A")
        for number in range(6, 12):
            world.add(f"{number}.tif", os.urandom(300_000))
        world.measure()
        before = tree(world.input)
        with pytest.raises(TryAgainError, match=f"can't write {disk}.*disk is full"):
            world.place()
        assert not parts(disk)
        assert not parts(world.base)
        kept = (
            set(files(world.input).values()) | set(files(disk).values()) | set(files(world.output / "tiers").values())
        )
        assert kept == {content[1] for content in before.values()}
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        assert {row["problem"] for row in world.place().values()} == {None}
        assert len(files(disk)) == 9
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        world.add("late.tif", b"late")
        world.measure()
        with pytest.raises(TryAgainError, match="read-only"):
            world.place()
        assert world.source("late.tif").read_bytes() == b"late"
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        before = before | {"late.tif": tree(world.input)["late.tif"]}
        assert undo(world.output, dry_run=False).conflicts == []
        assert tree(world.input) == before
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
def test_destination_that_may_not_be_written_is_a_row(world, monkeypatch, code):
    world.drivers |= {"A": "copy", "B": "move"}
    world.measure()
    before = tree(world.input)
    tier = str(world.output / "tiers/A")
    with monkeypatch.context() as patch:
        failing(patch, "open", code, when=lambda path, *_: str(path).startswith(tier))
        rows = world.place()
    failed = {name for name, row in rows.items() if row["placement"] == "failed"}
    assert failed == {"0.tif", "2.tif", "4.tif"}
    for name in failed:
        assert "can't make" in rows[name]["problem"]
        assert "permi" in rows[name]["problem"]
        assert rows[name]["destination"] is None
        assert tree(world.input)[name] == before[name]
    assert not (world.output / "tiers/A").exists()
    assert {row["problem"] for row in world.place().values()} == {None}


@pytest.mark.parametrize("far", [False, True], ids=["hard link", "copy"])
def test_source_that_may_not_be_removed_stays_the_only_one(world, monkeypatch, far):
    world.drivers["A"] = "move"
    world.measure()
    before = tree(world.input)
    with monkeypatch.context() as patch:
        failing(patch, "unlink", errno.EPERM, when=lambda path: str(path).startswith(str(world.input)))
        if far:
            failing(patch, "link", errno.EXDEV, when=lambda path, _: str(path).startswith(str(world.input)))
        rows = world.place()
    assert rows["0.tif"]["placement"] == "failed"
    assert "can't take away" in rows["0.tif"]["problem"]
    assert tree(world.input) == before
    assert not (world.output / "tiers/A").exists()
    assert verify(world.output).ok
    assert {row["problem"] for row in world.place().values()} == {None}


@pytest.mark.parametrize("far", [False, True], ids=["hard link", "symbolic link"])
def test_source_that_goes_away_after_a_new_version_of_it_was_measured(world, monkeypatch, far):
    """The journal never holds the hash of former bytes while the record holds that of new ones."""
    world.measure()
    if far:
        failing(monkeypatch, "link", errno.EXDEV, when=lambda path, _: str(path).startswith(str(world.input)))
    world.place()
    source, aside = world.source("0.tif"), world.base / "aside"
    source.write_bytes(b"written later")
    world.measure()
    source.rename(aside)
    row = world.place()["0.tif"]
    assert "isn't there any more" in row["problem"]
    assert row["placement"] == ("failed" if far else "placed")
    aside.rename(source)
    row = world.place()["0.tif"]
    assert (row["placement"], row["problem"]) == ("placed", None)
    assert verify(world.output).ok


def test_source_that_changes_after_it_was_copied_stays(world, monkeypatch):
    """Between the verified copy and the removal, another program writes to the source."""
    world.drivers["A"] = "move"
    world.measure()
    source, real = world.source("0.tif"), os.link

    def link(origin, destination, **options):
        if str(origin).startswith(str(world.input)):
            raise OSError(errno.EXDEV, "other device")
        real(origin, destination, **options)
        if str(destination).endswith("/0.tif"):
            source.write_bytes(b"written meanwhile")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", link)
        row = world.place()["0.tif"]
    assert row["placement"] == "failed"
    assert "changed after it was copied" in row["problem"]
    assert source.read_bytes() == b"written meanwhile"
    assert (world.output / "tiers/A/0.tif").read_bytes() == b"content 0" * 1000


def test_source_that_grows_while_it_is_copied(world, monkeypatch):
    world.drivers["A"] = "copy"
    world.hashes = {}
    world.measure()
    world.hashes[b"0.tif"] = None
    world.rescore({})
    source, real = world.source("0.tif"), os.fsync

    def fsync(handle):
        if str(Path(f"/proc/self/fd/{handle}").readlink()).endswith(".part") and source.stat().st_size == 9000:
            with source.open("ab") as stream:
                stream.write(b"more")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    row = world.place()["0.tif"]
    assert row["placement"] == "failed"
    assert "changed while it was copied" in row["problem"]
    assert not (world.output / "tiers/A/0.tif").exists()
    assert not parts(world.base)


def test_copy_that_does_not_read_back_as_written(world, monkeypatch):
    world.drivers["A"] = "move"
    world.measure()
    before = tree(world.input)
    failing(monkeypatch, "link", errno.EXDEV, when=lambda path, _: str(path).startswith(str(world.input)))
    real = acts_on_files._pour

    def pour(origin, copy, path):
        sha256 = real(origin, copy, path)
        os.pwrite(copy, b"?", 3)
        return sha256

    monkeypatch.setattr(acts_on_files, "_pour", pour)
    rows = world.place()
    assert rows["0.tif"]["placement"] == "failed"
    assert "reads back" in rows["0.tif"]["problem"]
    assert tree(world.input) == before
    assert not (world.output / "tiers/A").exists()
    assert not parts(world.base)


def test_source_with_a_bad_sector_is_a_row(world, monkeypatch):
    world.drivers["A"] = "copy"
    world.measure()
    failing(
        monkeypatch,
        "read",
        errno.EIO,
        when=lambda handle, _: str(Path(f"/proc/self/fd/{handle}").readlink()).endswith("in/0.tif"),
    )
    rows = world.place()
    assert rows["0.tif"]["placement"] == "failed"
    assert "check the disk" in rows["0.tif"]["problem"]
    assert [name for name, row in rows.items() if row["placement"] != "placed"] == ["0.tif"]
    assert not parts(world.base)


@pytest.fixture
def nobody():
    """Act as an unprivileged user for a while: the modes of files mean nothing to root."""
    if os.geteuid() != 0:
        pytest.skip("only root may act as another user")

    @contextmanager
    def acting():
        groups, group = os.getgroups(), os.getegid()
        os.setgroups([])
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(group)
            os.setgroups(groups)

    return acting


@pytest.fixture
def open_folder():
    """Beside the temporary folder of pytest, which other users may not enter."""
    base = Path(tempfile.mkdtemp())
    base.chmod(0o777)
    yield base
    shutil.rmtree(base)


def give(folder):
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def test_permissions_for_real(nobody, open_folder):
    base = open_folder
    world = World(base)
    world.drivers = {"A": "copy", "B": "move", "C": "link", "D": "move", "quarantine": "copy"}
    world.roots = {"A": str(base / "closed"), "quarantine": str(base / "open")}
    world.add("copied.tif", b"copied", tier="A")
    world.add("moved.tif", b"moved", tier="B")
    world.add("linked.tif", b"linked", tier="C")
    world.add("shut/stays.tif", b"stays", tier="D")
    world.add("secret.tif", b"secret", tier="quarantine")
    world.measure()
    world.hashes[b"secret.tif"] = None
    world.rescore({})
    (base / "closed").mkdir(mode=0o755)
    give(world.input)
    give(world.output)
    world.source("linked.tif").chmod(0o644)
    os.chown(world.source("linked.tif"), 0, 0)  # Not theirs: the system may refuse a hard link.
    world.source("secret.tif").chmod(0)
    os.chown(world.source("secret.tif"), 0, 0)
    world.source("shut").chmod(0o555)
    before = tree(world.input)

    for name in set(world.drivers.values()):
        plugins.load("tiers", name)
    with nobody():
        rows = world.place()
    assert "permission denied" in rows["copied.tif"]["problem"]
    assert "permission denied" in rows["secret.tif"]["problem"]
    assert "write permission" in rows["shut/stays.tif"]["problem"]
    assert {name for name, row in rows.items() if row["placement"] == "placed"} == {"moved.tif", "linked.tif"}
    assert (world.output / "tiers/C/linked.tif").read_bytes() == b"linked"
    assert files(base / "closed") == {}
    assert not parts(base)
    for name in ("copied.tif", "shut/stays.tif", "secret.tif", "linked.tif"):
        assert tree(world.input)[name] == before[name]

    with nobody():
        assert undo(world.output, dry_run=False).conflicts == []
    assert tree(world.input) == before

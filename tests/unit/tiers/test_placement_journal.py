from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placing_world import World, files, tree
from tierflow.errors import TryAgainError
from tierflow.tiers.base import Stamp
from tierflow.tiers.entries import Entry, Record, decode, encode_entry, entry_of, lines_of
from tierflow.tiers.journal import damaged_lines, open_journal, read_records
from tierflow.tiers.undo import undo
from tierflow.tiers.verify import verify
from tierflow.tiers.whereabouts import current_path, current_paths, relocated


@pytest.fixture
def moved(tmp_path):
    world = World(tmp_path)
    world.drivers = dict.fromkeys(world.drivers, "move") | {"D": "copy"}
    for number in range(4):
        world.add(f"{number}.tif", f"content {number}".encode())
    world.add("stays.tif", b"stays", tier="D")
    world.add_link("pointer.tif", "stays.tif", tier="B")
    world.measure()
    world.before = tree(world.input)
    world.place()
    return world


names = st.binary(min_size=1, max_size=40).map(os.fsdecode)


@given(
    source=names, sha256=st.none() | st.text("0123456789abcdef", min_size=64, max_size=64), number=st.integers(0, 2**62)
)
def test_line_gives_back_what_was_written(source, sha256, number):
    stamp = Stamp(1, number, 0, number, number)
    entry = Entry(
        id="0" * 32,
        n=7,
        act="place",
        state="done",
        source=source,
        sha256=sha256,
        mode=0,
        mtime_ns=number,
        size=0,
        stamp=stamp,
        folders=("a", source),
    )
    line = encode_entry(entry)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert entry_of(decode(line[:-1])) == entry


@given(st.data())
def test_damaged_line_is_never_believed(data):
    line = encode_entry(Entry(id="0" * 32, n=1, act="place", state="done", source="/in/x.tif"))[:-1]
    cut = data.draw(st.integers(0, len(line) - 1))
    assert decode(line[:cut]) is None
    other = data.draw(
        st.integers(0, 255).filter(lambda byte: byte != line[cut] and chr(byte).lower() != chr(line[cut]))
    )
    assert decode(line[:cut] + bytes([other]) + line[cut + 1 :]) is None


@pytest.mark.parametrize("garbage", [b"", b"\n", b"00000000 {}", b"x" * 50, b"\0" * 50, b"zzzzzzzz {}"])
def test_garbage_is_no_line(garbage):
    assert decode(garbage.rstrip(b"\n")) is None


def test_torn_tail_is_cut_off_and_the_rest_stands(moved):
    path = moved.output / "journal/00000.jsonl"
    whole = path.read_bytes()
    rows = moved.rows()
    for tail in (whole.splitlines()[1][:100], b"\0" * 300, b'12345678 {"id":"', b"garbage\nmore garbage\n"):
        path.write_bytes(whole + tail)
        assert moved.place() == rows
        assert path.read_bytes() == whole


def test_damage_in_the_middle_is_told_and_costs_nothing(moved):
    """Whatever single line is damaged: every file is still known, and comes back."""
    path = moved.output / "journal/00000.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    contents = set(files(moved.output / "tiers").values())
    damaged = 0
    for number in range(1, len(lines) - 1):
        path.write_bytes(b"".join([*lines[:number], b"#" * (len(lines[number]) - 1) + b"\n", *lines[number + 1 :]]))
        assert damaged_lines(moved.output) == {"00000": 1}
        assert verify(moved.output).damaged == {"00000": 1}
        rows = moved.place()
        assert {row["placement"] for row in rows.values()} == {"placed"}, number
        assert set(files(moved.output / "tiers").values()) == contents
        assert undo(moved.output, dry_run=False).conflicts == []
        assert tree(moved.input) == moved.before
        # From the start, so that every line is the one that is damaged once.
        path.unlink()
        moved.place()
        lines = path.read_bytes().splitlines(keepends=True)
        damaged += 1
    assert damaged > 10


def test_journal_is_locked_while_it_is_open(moved):
    with open_journal(moved.output, "00000"), pytest.raises(TryAgainError, match=f"process {os.getpid()} on") as caught:
        moved.place()
    assert caught.value.exit_code == 75
    moved.place()


def test_lock_of_a_dead_process_does_not_count(moved):
    code = "import os, sys, pathlib; from tierflow.tiers.journal import open_journal\n"
    code += "with open_journal(pathlib.Path(sys.argv[1]), '00000'): os._exit(9)"
    done = subprocess.run([sys.executable, "-c", code, str(moved.output)], check=False)
    assert done.returncode == 9
    moved.place()


def test_current_path_of_moved_files_only(moved):
    assert current_path(moved.output, "00000", moved.id_of("1.tif")) == moved.output / "tiers/A/1.tif"
    assert current_path(moved.output, "00000", moved.id_of("stays.tif")) is None
    assert current_path(moved.output, "00000", "0" * 32) is None
    expected = {moved.id_of(f"{n}.tif"): moved.output / f"tiers/A/{n}.tif" for n in range(4)}
    expected[moved.id_of("pointer.tif")] = moved.output / "tiers/B/pointer.tif"
    assert relocated(moved.output) == expected
    assert current_paths(moved.output, [*expected, moved.id_of("stays.tif"), "0" * 32]) == expected
    undo(moved.output, dry_run=False)
    assert relocated(moved.output) == {}
    assert current_path(moved.output, "00000", moved.id_of("1.tif")) is None


def test_no_journal_moves_nothing(tmp_path):
    assert relocated(tmp_path / "none") == {}
    assert current_path(tmp_path / "none", "00000", "0" * 32) is None
    assert current_paths(tmp_path / "none", ["0" * 32]) == {}


def test_output_folder_may_be_moved(moved):
    moved.output.rename(moved.base / "elsewhere")
    found = relocated(moved.base / "elsewhere")
    assert {path.read_bytes() for path in found.values()} == {*(f"content {n}".encode() for n in range(4)), b"stays"}
    report = verify(moved.base / "elsewhere")
    assert report.ok, report
    assert undo(moved.base / "elsewhere", dry_run=False).conflicts == []
    assert tree(moved.input) == moved.before


def test_object_that_goes_to_another_shard_is_known_there(moved):
    """After the data set was cut anew, another journal takes an object over; the newest line counts."""
    before = {name: content for name, content in files(moved.output / "tiers").items() if name.startswith("A/")}
    cut = {"00000": [b"0.tif", b"3.tif", b"stays.tif", b"pointer.tif"], "00001": [b"1.tif", b"2.tif"]}
    moved.rescore({}, shards=cut)
    rows = moved.place("00001")
    assert {name: row["destination"] for name, row in rows.items()} == {n: f"tiers/A/{n}" for n in ("1.tif", "2.tif")}
    assert rows["1.tif"]["problem"] is None
    moved.rescore({"1.tif": "B", "stays.tif": "C"}, shards=cut)
    moved.place("00000")
    moved.place("00001")
    assert relocated(moved.output)[moved.id_of("1.tif")] == moved.output / "tiers/B/1.tif"
    assert current_path(moved.output, "00001", moved.id_of("1.tif")) == moved.output / "tiers/B/1.tif"
    assert current_path(moved.output, "00000", moved.id_of("1.tif")) == moved.output / "tiers/B/1.tif"
    # And back again, into the shard whose journal has old lines of it.
    again = {"00000": [b"0.tif", b"1.tif", b"2.tif", b"3.tif", b"stays.tif", b"pointer.tif"]}
    (moved.output / "scan/shards/00001.parquet").unlink()
    moved.rescore({"1.tif": "A", "stays.tif": "D"}, shards=again)
    assert moved.place()["1.tif"]["destination"] == "tiers/A/1.tif"
    assert {k: v for k, v in files(moved.output / "tiers").items() if k.startswith("A/")} == before
    report = verify(moved.output)
    assert report.ok
    assert not report.foreign
    assert undo(moved.output, dry_run=False).conflicts == []
    assert tree(moved.input) == moved.before


def test_first_run_reads_no_journal_of_another_shard(tmp_path, monkeypatch):
    world = World(tmp_path)
    for number in range(4):
        world.add(f"{number}.tif", bytes([number]))
    world.measure({"00000": [b"0.tif", b"1.tif"], "00001": [b"2.tif", b"3.tif"]})
    world.place("00000")
    from tierflow.tiers import journal

    def refuse(*args):
        raise AssertionError("lines of another journal were taken in")

    monkeypatch.setattr(journal, "id_in", refuse)
    world.place("00001")


def test_record_follows_the_states():
    def line(n, state, act="place", **more):
        return Entry(id="x", n=n, act=act, state=state, **more)

    record = Record("x")
    record.take(line(1, "intent", destination="a"))
    assert (record.placed, record.pending.destination) == (None, "a")
    record.take(line(2, "done", destination="a", consumes=True))
    assert record.placed is record.pending
    record.take(line(3, "cleared"))
    assert (record.placed.destination, record.pending) == ("a", None)
    record.take(line(4, "intent", destination="b"))
    record.take(line(5, "done", destination="b"))
    assert record.previous.destination == "a"
    record.take(line(6, "withdrawn"))
    assert (record.placed.destination, record.pending, record.previous) == ("a", None, None)
    record.take(line(7, "intent", act="restore"))
    assert record.placed.destination == "a"
    record.take(line(8, "failed", act="restore"))
    assert record.placed.destination == "a"
    record.take(line(9, "undone", act="restore"))
    assert (record.placed, record.n) == (None, 9)


def test_a_twin_that_failed_does_not_unmake_what_is_done():
    """Without locks two processes may write about one object in turn; the one that came too late found no source."""
    lines = [(1, "intent", "A"), (1, "intent", "B"), (2, "done", "A"), (2, "failed", "B"), (3, "cleared", "A")]
    record = Record("x")
    for n, state, run in lines:
        record.take(Entry(id="x", n=n, act="place", state=state, run=run, destination="a" if state == "done" else ""))
        assert state in ("intent",) or record.placed is not None
    assert (record.placed.destination, record.pending) == ("a", None)


@pytest.mark.parametrize("order", [("cleared", "withdrawn"), ("withdrawn", "cleared")])
def test_a_twin_that_gives_up_does_not_unmake_what_another_has_cleared(order):
    record = Record("x")
    record.take(Entry(id="x", n=1, act="place", state="intent", destination="a", consumes=True))
    for _ in range(2):
        record.take(Entry(id="x", n=2, act="place", state="done", destination="a", consumes=True))
    for state in order:
        record.take(Entry(id="x", n=3, act="place", state=state))
    assert (record.placed.destination, record.pending) == ("a", None)


def test_journal_can_be_read_without_tierflow(moved):
    for line, _ in lines_of(moved.journal()):
        said = json.loads(line[9:])
        assert int(line[:8], 16) == zlib.crc32(line[9:])
        assert "cut" in said or said["id"] in {moved.id_of(name) for name in moved.tiers}


def test_two_processes_without_locks_do_no_harm(tmp_path, monkeypatch):
    """Where the file system has no locks, a stale twin may run: nothing is lost and a last run sets all right."""
    code = """
import errno, fcntl, os, pathlib, sys
from tierflow.steps import place
def flock(handle, flags):
    raise OSError(errno.ENOTSUP, "no locks here")
fcntl.flock = flock
place.run(**{key: pathlib.Path(value) for key, value in (text.split("=", 1) for text in sys.argv[1:])})
"""
    world = World(tmp_path)
    world.drivers |= {"A": "move", "B": "copy"}
    for number in range(120):
        world.add(f"{number}.tif", f"content {number}".encode(), tier="AB"[number % 2])
    world.measure()
    before = tree(world.input)
    arguments = [f"{key}={value}" for key, value in world.arguments().items()]
    twins = [subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE) for _ in range(3)]
    errors = [twin.communicate()[1].decode() for twin in twins]
    assert [twin.returncode for twin in twins] == [0, 0, 0], errors
    assert set(files(world.output / "tiers").values()) >= {f"content {number}".encode() for number in range(120)}
    rows = world.place()
    assert {row["placement"] for row in rows.values()} == {"placed"}
    assert read_records(world.output).keys() == {world.id_of(name) for name in world.tiers}
    undo(world.output, dry_run=False)
    assert tree(world.input) == before

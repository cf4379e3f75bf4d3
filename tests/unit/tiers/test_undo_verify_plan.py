from __future__ import annotations

import os

import pytest

from placing_world import SCORES, World, files, tree
from tierflow.tiers.plan import plan
from tierflow.tiers.undo import undo
from tierflow.tiers.verify import verify


@pytest.fixture
def world(tmp_path):
    """A placed run with every driver, two shards and a folder per tier."""
    world = World(tmp_path)
    world.drivers = {"A": "link", "B": "copy", "C": "move", "D": "trash", "quarantine": "none"}
    for tier in SCORES:
        for number in (1, 2):
            world.add(f"p{number}/{tier}.tif", f"{tier}{number}".encode(), tier=tier)
    world.measure(shards(world))
    world.before = tree(world.input)
    for shard in shards(world):
        world.place(shard)
    return world


def shards(world):
    return {f"0000{n}": sorted(raw for raw in world.tiers if raw.startswith(b"p%d" % n)) for n in (1, 2)}


def test_undo_brings_everything_back_and_tells_the_numbers(world):
    expected = {"A": 2, "B": 2, "C": 2, "D": 2}
    everything = tree(world.base)
    told = undo(world.output, dry_run=True)
    assert (told.moved_back, told.removed, told.bytes, told.by_tier) == (4, 4, 8, expected)
    assert tree(world.base) == everything
    seen = []
    done = undo(world.output, dry_run=False, on_progress=seen.append)
    assert (done.moved_back, done.removed, done.bytes, done.by_tier) == (4, 4, 8, expected)
    assert sum(seen) == 8
    assert (told.tables_removed, done.tables_removed) == (0, 2)
    assert tree(world.input) == world.before
    assert not list((world.output / "place").iterdir())
    assert not (world.output / "tiers").exists()
    assert not (world.output / "trash").exists()
    again = undo(world.output, dry_run=False)
    assert (again.moved_back, again.removed, again.conflicts) == (0, 0, [])
    for shard in shards(world):
        assert {row["problem"] for row in world.place(shard).values()} == {None}


def test_undo_of_one_tier_or_some_objects(world):
    assert undo(world.output, dry_run=False, tier="C").by_tier == {"C": 2}
    assert world.source("p1/C.tif").exists()
    assert not world.source("p1/D.tif").exists()
    one = undo(world.output, dry_run=False, object_ids=[world.id_of("p2/D.tif"), world.id_of("p2/quarantine.tif")])
    assert one.by_tier == {"D": 1}
    assert world.source("p2/D.tif").exists()
    assert not world.source("p1/D.tif").exists()
    assert set(files(world.output / "trash")) == {"D/p1/D.tif"}


@pytest.mark.parametrize("content", [b"another file", b"C1"], ids=["other content", "same content"])
def test_undo_never_overwrites_what_is_at_the_source_now(world, content):
    source, placed = world.source("p1/C.tif"), world.output / "tiers/C/p1/C.tif"
    source.write_bytes(content)
    told = undo(world.output, dry_run=True)
    done = undo(world.output, dry_run=False)
    assert told.conflicts == done.conflicts
    assert source.read_bytes() == content
    if content == b"C1":
        assert done.conflicts == []
        assert not placed.exists()
    else:
        [conflict] = done.conflicts
        assert (conflict.object_id, conflict.source, conflict.destination) == (world.id_of("p1/C.tif"), source, placed)
        assert "another file" in conflict.problem
        assert placed.read_bytes() == b"C1"
    assert {k: v for k, v in tree(world.input).items() if k != "p1/C.tif"} == {
        k: v for k, v in world.before.items() if k != "p1/C.tif"
    }


def test_undo_makes_the_folder_of_the_source_again(world):
    for path in world.source("p1").iterdir():
        if path.name in ("A.tif", "B.tif", "quarantine.tif"):
            path.unlink()
    world.source("p1").rmdir()
    assert undo(world.output, dry_run=False).conflicts == []
    assert set(files(world.source("p1"))) == {"A.tif", "B.tif", "C.tif", "D.tif"}


def test_undo_leaves_a_copy_whose_source_was_edited(world):
    world.source("p1/B.tif").write_bytes(b"edited")
    [conflict] = undo(world.output, dry_run=False).conflicts
    assert conflict.object_id == world.id_of("p1/B.tif")
    assert (world.output / "tiers/B/p1/B.tif").read_bytes() == b"B1"
    assert world.source("p1/B.tif").read_bytes() == b"edited"


def test_undo_of_a_file_that_is_nowhere(world):
    (world.output / "tiers/C/p1/C.tif").unlink()
    [conflict] = undo(world.output, dry_run=False).conflicts
    assert "neither" in conflict.problem


def test_undo_restores_exact_times_where_the_tier_could_not_keep_them(tmp_path, monkeypatch):
    """A tier on a file system with coarse times: the journal knows better."""
    world = World(tmp_path)
    world.drivers["A"] = "move"
    source = world.add("x.tif", b"x")
    source.chmod(0o604)
    world.measure()
    before = tree(world.input)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", no_hard_links(tmp_path))
        world.place()
        placed = world.output / "tiers/A/x.tif"
        os.utime(placed, ns=(0, source_time(before) // 2_000_000_000 * 2_000_000_000))
        placed.chmod(0o777)
        assert undo(world.output, dry_run=False).conflicts == []
    assert tree(world.input) == before


def source_time(before):
    return before["x.tif"][2]


def no_hard_links(base):
    real = os.link

    def link(origin, destination, **options):
        if str(origin).endswith(".part"):
            return real(origin, destination, **options)
        raise OSError(18, "other device")

    return link


def test_all_is_well(world):
    for hash_files in (True, False):
        seen = []
        report = verify(world.output, hash_files=hash_files, on_progress=seen.append)
        assert report.ok
        assert report.hashed is hash_files
        assert report.checked == sum(seen) == 10
        assert report.by_tier == {"A": 2, "B": 2, "C": 2, "D": 2, "": 2}
        assert not report.foreign
        assert not report.leftovers


@pytest.mark.parametrize("name", ["tiers/A/p1/A.tif", "tiers/B/p1/B.tif", "tiers/C/p1/C.tif", "trash/D/p1/D.tif"])
def test_verify_finds_what_is_missing_or_changed(world, name):
    path = world.output / name
    object_id = world.id_of(f"p1/{path.name}")
    info = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"??")
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    report = verify(world.output)
    assert not report.ok
    assert [finding.object_id for finding in report.changed] == [object_id]
    assert verify(world.output, hash_files=False).ok
    path.write_bytes(b"longer than before")
    assert [finding.object_id for finding in verify(world.output, hash_files=False).changed] == [object_id]
    path.unlink()
    report = verify(world.output, hash_files=False)
    assert [(finding.object_id, finding.path) for finding in report.missing] == [(object_id, path)]


def test_verify_looks_at_files_that_stayed(world):
    world.source("p1/quarantine.tif").write_bytes(b"??")
    world.source("p2/quarantine.tif").unlink()
    report = verify(world.output)
    assert [finding.object_id for finding in report.changed] == [world.id_of("p1/quarantine.tif")]
    assert [finding.object_id for finding in report.missing] == [world.id_of("p2/quarantine.tif")]


def test_verify_finds_doubles_strangers_and_leftovers(world):
    world.source("p1/C.tif").write_bytes(b"C1")
    world.source("p1/B.tif").unlink()
    (world.output / "tiers/C/note.txt").write_text("mine")
    (world.output / "tiers/C/p1/.0123456789abcdef.01234567.part").write_bytes(b"half")
    report = verify(world.output)
    assert [finding.object_id for finding in report.doubled] == [world.id_of("p1/C.tif")]
    assert [finding.path.name for finding in report.foreign] == ["note.txt"]
    assert [finding.path.name for finding in report.leftovers] == [".0123456789abcdef.01234567.part"]
    assert [finding.path for finding in report.missing] == [world.source("p1/B.tif")]
    assert not report.ok


def test_strangers_alone_are_no_fault(world):
    (world.output / "trash/note.txt").write_text("mine")
    report = verify(world.output)
    assert report.ok
    assert len(report.foreign) == 1


def test_verify_looks_for_strangers_in_tiers_elsewhere(tmp_path):
    world = World(tmp_path)
    world.roots["A"] = str(tmp_path / "archive")
    world.add("p/x.tif")
    world.measure()
    world.place()
    (tmp_path / "archive/stranger.txt").write_text("?")
    assert [finding.path for finding in verify(world.output).foreign] == [tmp_path / "archive/stranger.txt"]


def test_plan_writes_nothing_and_is_what_then_happens(tmp_path):
    world = World(tmp_path)
    world.drivers = {"A": "link", "B": "copy", "C": "move", "D": "trash", "quarantine": "none"}
    for tier in SCORES:
        world.add(f"{tier}.tif", tier.encode(), tier=tier)
    world.add("gone.tif", b"gone")
    world.measure()
    world.source("gone.tif").unlink()
    (world.output / "tiers/A").mkdir(parents=True)
    (world.output / "tiers/A/A.tif").write_bytes(b"stranger")

    def check():
        before = tree(world.base)
        planned = plan(world.output, config=world.config)
        assert tree(world.base) == before
        rows = {row["object_id"]: row for row in world.place().values()}
        for act in planned.acts:
            row = rows[act.object_id]
            shown = str(act.destination.relative_to(world.output)) if act.destination else None
            assert (row["tier"], row["driver"]) == (act.tier, act.driver)
            assert row["destination"] == shown
            assert (row["placement"] == "failed") == (act.doing == "fail")
        return planned

    planned = check()
    assert {tier: (total.objects, total.to_do, total.failing) for tier, total in planned.tiers.items()} == {
        "A": (2, 1, 1),
        "B": (1, 1, 0),
        "C": (1, 1, 0),
        "D": (1, 1, 0),
        "quarantine": (1, 0, 0),
    }
    assert planned.tiers["D"].bytes_to_do == 1
    world.tiers.pop(b"gone.tif")
    world.rescore({"B.tif": "C", "C.tif": "quarantine", "D.tif": "A"})
    planned = check()
    assert {act.object_id: act.doing for act in planned.acts} == {
        world.id_of("B.tif"): "place",
        world.id_of("C.tif"): "restore",
        world.id_of("D.tif"): "restore",
    }
    assert check().acts == []

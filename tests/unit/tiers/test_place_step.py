"""What the step `place` does with files, seen from the table and the folders."""

from __future__ import annotations

import itertools
import os
import stat

import pytest

from placing_world import SCORES, World, files, parts, tree
from tierflow.errors import ConfigError, InputMissingError, TableError
from tierflow.tables import read
from tierflow.tiers.undo import undo
from tierflow.tiers.verify import verify

DRIVERS = ("link", "copy", "move", "trash", "none")


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def everything(world):
    """All files of the run with their inodes: what a rerun must not touch."""
    return {
        path: path.lstat().st_ino for path in world.base.rglob("*") if not path.is_dir() and "place" not in path.parts
    }


def test_every_driver_puts_files_where_its_tier_says(world):
    world.drivers = {"A": "link", "B": "copy", "C": "move", "D": "trash", "quarantine": "none"}
    for tier in SCORES:
        world.add(f"plate/{tier}.tif", tier.encode(), tier=tier)
    world.measure()
    rows = world.place()
    found = {name: (row["placement"], row["destination"], row["problem"]) for name, row in rows.items()}
    assert found == {
        "plate/A.tif": ("placed", "tiers/A/plate/A.tif", None),
        "plate/B.tif": ("placed", "tiers/B/plate/B.tif", None),
        "plate/C.tif": ("placed", "tiers/C/plate/C.tif", None),
        "plate/D.tif": ("placed", "trash/D/plate/D.tif", None),
        "plate/quarantine.tif": ("kept", None, None),
    }
    assert set(files(world.input)) == {"plate/A.tif", "plate/B.tif", "plate/quarantine.tif"}
    for tier, folder in (("A", "tiers"), ("B", "tiers"), ("C", "tiers"), ("D", "trash")):
        assert (world.output / folder / tier / "plate" / f"{tier}.tif").read_bytes() == tier.encode()
    assert (world.output / "tiers/A/plate/A.tif").samefile(world.source("plate/A.tif"))
    assert not (world.output / "tiers/B/plate/B.tif").samefile(world.source("plate/B.tif"))


def test_second_run_changes_nothing(world):
    world.drivers = {"A": "link", "B": "copy", "C": "move", "D": "trash", "quarantine": "none"}
    for tier in SCORES:
        world.add(f"{tier}.tif", tier.encode(), tier=tier)
    world.add_link("pointer", "A.tif", tier="C")
    world.measure()
    world.place()
    table, before = read(world.output / "place/00000.parquet"), everything(world)
    journal = world.journal()
    world.place()
    assert read(world.output / "place/00000.parquet").equals(table)
    assert world.journal() == journal
    after = everything(world)
    heartbeat = world.output / ".tierflow/progress/place-00000.json"
    assert {k: v for k, v in after.items() if k != heartbeat} == {k: v for k, v in before.items() if k != heartbeat}


@pytest.mark.parametrize(("old", "new"), list(itertools.permutations(DRIVERS, 2)))
@pytest.mark.parametrize("other_tier", [True, False], ids=["other tier", "same tier"])
def test_from_any_driver_to_any_other_and_back(world, old, new, other_tier):
    world.drivers["A"] = old
    world.add("p/x.tif", b"content of x")
    world.add_link("p/pointer.tif", "x.tif", tier="C")
    world.add_link("p/dangling.tif", "nowhere")
    world.measure()
    before = tree(world.input)
    world.place()
    world.drivers |= {"B" if other_tier else "A": new}
    world.rescore({"p/x.tif": "B", "p/dangling.tif": "B"} if other_tier else {})
    rows = world.place()
    assert [row["problem"] for row in rows.values()] == [None] * 3
    if new == "none":
        assert {rows[name]["placement"] for name in ("p/x.tif", "p/dangling.tif")} == {"kept"}
    else:
        folder = "trash" if new == "trash" else "tiers"
        destination = world.output / folder / ("B" if other_tier else "A") / "p/x.tif"
        assert destination.read_bytes() == b"content of x"
        assert rows["p/x.tif"]["destination"] == str(destination.relative_to(world.output))
    assert world.source("p/x.tif").exists() == (new not in ("move", "trash"))
    report = verify(world.output)
    assert report.ok, report
    assert not report.foreign
    assert world.place() == rows
    assert undo(world.output, dry_run=False).conflicts == []
    assert tree(world.input) == before
    assert not (world.output / "tiers").exists()
    assert not (world.output / "trash").exists()


@pytest.mark.parametrize("driver", ["link", "copy", "move"])
def test_link_to_a_file_that_is_moved_away_by_the_same_run(world, driver):
    """Both are placed with their content, in whatever order, and both come back."""
    world.drivers |= {"A": "move", "B": driver}
    world.add("a.tif", b"content")
    for name in ("before.tif", "zz.tif"):
        world.add_link(name, "a.tif", tier="B")
    world.measure()
    before = tree(world.input)
    rows = world.place()
    assert [row["problem"] for row in rows.values()] == [None] * 3
    assert set(files(world.output / "tiers").values()) == {b"content"}
    assert len(files(world.output / "tiers")) == 3
    assert world.place() == rows
    assert verify(world.output).ok
    world.drivers["C"] = "move"
    world.rescore({"zz.tif": "C"})
    assert world.place()["zz.tif"]["problem"] is None
    assert (world.output / "tiers/C/zz.tif").read_bytes() == b"content"
    assert verify(world.output).ok
    assert undo(world.output, dry_run=False).conflicts == []
    assert tree(world.input) == before


def test_content_stays_where_its_link_can_not_show_it_any_more(world):
    """The link's target is gone: taking the tier's hard link away for another driver would cost the content."""
    target = world.base / "target.tif"
    target.write_bytes(b"content")
    world.add_link("pointer.tif", target)
    world.measure()
    world.place()
    target.unlink()
    assert world.place()["pointer.tif"]["problem"] is None
    world.drivers["A"] = "copy"
    world.configure()
    row = world.place()["pointer.tif"]
    assert (row["placement"], row["destination"]) == ("failed", "tiers/A/pointer.tif")
    assert "the content that was placed stays at" in row["problem"]
    assert "stays at" in undo(world.output, dry_run=False).conflicts[0].problem
    assert (world.output / "tiers/A/pointer.tif").read_bytes() == b"content"


def test_tier_with_another_root_takes_its_files_along(world):
    world.drivers["A"] = "move"
    world.add("p/x.tif", b"x")
    world.measure()
    world.place()
    world.roots["A"] = str(world.base / "archive")
    world.configure()
    assert world.place()["p/x.tif"]["destination"] == str(world.base / "archive/p/x.tif")
    assert files(world.output / "tiers") == {}
    assert not (world.output / "tiers").exists()
    assert (world.base / "archive/p/x.tif").read_bytes() == b"x"


@pytest.mark.parametrize("driver", ["link", "copy", "move", "trash"])
@pytest.mark.parametrize("foreign", [b"someone else's", b"x"], ids=["other content", "same content"])
def test_file_of_someone_else_is_neither_overwritten_nor_adopted(world, driver, foreign):
    world.drivers["A"] = driver
    source = world.add("p/x.tif", b"x")
    world.measure()
    folder = world.output / ("trash" if driver == "trash" else "tiers") / "A/p"
    folder.mkdir(parents=True)
    (folder / "x.tif").write_bytes(foreign)
    os.utime(folder / "x.tif", ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns))
    mark = world.id_of("p/x.tif")[:8]
    (folder / f"x~{mark}.tif").symlink_to("nowhere")
    row = world.place()["p/x.tif"]
    assert row["destination"].endswith(f"/p/x~{mark}-2.tif")
    assert (folder / f"x~{mark}-2.tif").read_bytes() == b"x"
    assert (folder / "x.tif").read_bytes() == foreign
    assert world.place()["p/x.tif"] == row
    undo(world.output, dry_run=False)
    assert source.read_bytes() == b"x"
    assert sorted(path.name for path in folder.iterdir()) == sorted(["x.tif", f"x~{mark}.tif"])


def test_second_name_of_a_long_one_fits_and_keeps_its_ending(world):
    name = "ü" * 125 + ".tif"
    world.add(name, b"x")
    world.measure()
    (world.output / "tiers/A").mkdir(parents=True)
    (world.output / "tiers/A" / name).write_bytes(b"foreign")
    destination = world.output / world.place()[name]["destination"]
    assert destination.read_bytes() == b"x"
    assert destination.name.endswith(f"~{world.id_of(name)[:8]}.tif")
    assert len(os.fsencode(destination.name)) <= 255


def test_name_taken_at_the_last_moment(world, monkeypatch):
    world.drivers["A"] = "move"
    world.add("x.tif", b"x")
    world.measure()
    real, squatter = os.link, world.output / "tiers/A/x.tif"

    def link(source, destination, **options):
        if not squatter.exists():
            squatter.write_bytes(b"squatter")
        return real(source, destination, **options)

    monkeypatch.setattr(os, "link", link)
    row = world.place()["x.tif"]
    assert row["placement"] == "placed"
    assert (world.output / row["destination"]).read_bytes() == b"x"
    assert squatter.read_bytes() == b"squatter"
    assert not world.source("x.tif").exists()


def test_undecodable_name(world):
    raw = b"caf\xe9/\xff\n.tif"
    world.drivers["A"] = "move"
    world.add(raw, b"x")
    world.measure()
    row = world.place()[os.fsdecode(raw)]
    assert row["destination"] == "tiers/A/caf\\xe9/\\xff\n.tif"
    assert (world.output / "tiers/A" / os.fsdecode(raw)).read_bytes() == b"x"
    assert verify(world.output).ok
    undo(world.output, dry_run=False)
    assert world.source(raw).read_bytes() == b"x"


def test_attributes_come_along_and_back(world):
    world.drivers["A"] = "copy"
    source = world.add("x.tif", b"x")
    source.chmod(0o444)
    world.measure()
    world.place()
    info = (world.output / "tiers/A/x.tif").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_mtime_ns) == (0o444, source.stat().st_mtime_ns)


@pytest.mark.parametrize("driver", ["link", "copy", "move"])
def test_source_that_changed_since_it_was_measured_stays(world, driver):
    world.drivers["A"] = driver
    source = world.add("x.tif", b"as measured")
    world.add("other.tif", b"other")
    world.measure()
    source.write_bytes(b"changed now")
    rows = world.place()
    assert rows["x.tif"]["placement"] == "failed"
    assert "changed since it was measured" in rows["x.tif"]["problem"]
    assert "run again" in rows["x.tif"]["problem"]
    assert source.read_bytes() == b"changed now"
    assert rows["other.tif"]["placement"] == "placed"
    assert set(files(world.output / "tiers")) == {"A/other.tif"}


@pytest.mark.parametrize("driver", ["link", "copy", "move"])
def test_source_that_was_only_touched_is_placed(world, driver):
    world.drivers["A"] = driver
    source = world.add("x.tif", b"as measured")
    world.measure()
    os.utime(source)
    assert world.place()["x.tif"]["placement"] == "placed"


def test_unmeasurable_source_that_changed_since_the_scan_stays(world):
    world.drivers["quarantine"] = "move"
    source = world.add("x.tif", b"half", tier="quarantine")
    world.measure()
    world.hashes[b"x.tif"] = None
    world.rescore({})
    source.write_bytes(b"half and the other half")
    row = world.place()["x.tif"]
    assert (row["placement"], row["destination"]) == ("failed", None)
    assert source.read_bytes() == b"half and the other half"


@pytest.mark.parametrize("driver", ["link", "copy", "move", "none"])
def test_vanished_source_is_a_row(world, driver):
    world.drivers["A"] = driver
    world.add("x.tif", b"x")
    world.add("y.tif", b"y")
    world.measure()
    world.source("x.tif").unlink()
    rows = world.place()
    assert rows["x.tif"]["placement"] == "failed"
    assert "isn't there any more" in rows["x.tif"]["problem"]
    assert rows["y.tif"]["placement"] in ("placed", "kept")


@pytest.mark.parametrize("driver", ["link", "copy", "move"])
def test_pipe_and_folder_in_place_of_a_file(world, driver):
    world.drivers["A"] = driver
    world.add("pipe").unlink()
    world.add("folder").unlink()
    os.mkfifo(world.source("pipe"))
    world.source("folder").mkdir()
    world.measure()
    rows = world.place()
    for name in ("pipe", "folder"):
        assert rows[name]["placement"] == "failed"
        assert "not a regular file" in rows[name]["problem"]
    assert files(world.output / "tiers") == {}
    assert not parts(world.base)


def test_links_at_the_source(world):
    world.drivers = dict.fromkeys(SCORES, "move") | {"B": "copy", "C": "link"}
    target = world.base / "target.tif"
    target.write_bytes(b"target")
    for tier in ("A", "B", "C"):
        world.add_link(f"pointer{tier}", target, tier=tier)
        world.add_link(f"dangling{tier}", "nowhere//else", tier=tier)
        world.add_link(f"loop{tier}", f"loop{tier}", tier=tier)
    world.measure()
    before = tree(world.input)
    rows = world.place()
    assert {row["placement"] for row in rows.values()} == {"placed"}
    tiers = world.output / "tiers"
    for tier in ("A", "B", "C"):
        assert (tiers / tier / f"pointer{tier}").read_bytes() == b"target"
        assert not (tiers / tier / f"pointer{tier}").is_symlink()
        assert os.readlink(tiers / tier / f"dangling{tier}") == "nowhere//else"  # noqa: PTH115
        assert os.readlink(tiers / tier / f"loop{tier}") == f"loop{tier}"  # noqa: PTH115
    assert not [path for path in world.input.iterdir() if path.name.endswith("A")]
    assert target.read_bytes() == b"target"
    assert (tiers / "C/pointerC").samefile(target)
    assert verify(world.output).ok
    assert undo(world.output, dry_run=False).conflicts == []
    assert tree(world.input) == before
    assert target.read_bytes() == b"target"


def test_deleted_destination_is_made_again(world):
    world.add("x.tif", b"x")
    world.measure()
    row = world.place()["x.tif"]
    (world.output / "tiers/A/x.tif").unlink()
    assert not verify(world.output).ok
    assert world.place()["x.tif"] == row
    assert verify(world.output).ok


def test_moved_file_that_someone_removed_is_told(world):
    world.drivers["A"] = "move"
    world.add("x.tif", b"x")
    world.measure()
    world.place()
    (world.output / "tiers/A/x.tif").unlink()
    row = world.place()["x.tif"]
    assert row["placement"] == "failed"
    assert "neither" in row["problem"]
    assert [finding.object_id for finding in verify(world.output).missing] == [world.id_of("x.tif")]


def test_file_that_someone_moved_back_by_hand_is_placed_again(world):
    world.drivers["A"] = "move"
    world.add("x.tif", b"x")
    world.measure()
    row = world.place()["x.tif"]
    (world.output / "tiers/A/x.tif").rename(world.source("x.tif"))
    assert world.place()["x.tif"] == row
    assert not world.source("x.tif").exists()


@pytest.mark.parametrize("new", ["copy", "move", "link", "none"])
def test_copy_that_someone_edited_is_left(world, new):
    world.drivers |= {"A": "copy", "B": new}
    world.add("x.tif", b"x")
    world.measure()
    world.place()
    (world.output / "tiers/A/x.tif").write_bytes(b"edited")
    assert "changed since it was placed" in world.place()["x.tif"]["problem"]
    world.rescore({"x.tif": "B"})
    row = world.place()["x.tif"]
    assert (world.output / "tiers/A/x.tif").read_bytes() == b"edited"
    assert "tiers/A/x.tif" in row["problem"]
    where = world.source("x.tif") if new == "none" else world.output / "tiers/B/x.tif"
    assert where.read_bytes() == b"x"


def test_moved_file_that_someone_edited_is_not_carried_on_blindly(world):
    world.drivers |= {"A": "move", "B": "move"}
    world.add("x.tif", b"x")
    world.measure()
    world.place()
    edited = world.output / "tiers/A/x.tif"
    edited.write_bytes(b"edited")
    world.rescore({"x.tif": "B"})
    row = world.place()["x.tif"]
    assert (row["placement"], row["destination"]) == ("failed", "tiers/A/x.tif")
    assert edited.read_bytes() == b"edited"
    conflict = undo(world.output, dry_run=False).conflicts[0]
    assert "changed since it was placed" in conflict.problem
    assert edited.read_bytes() == b"edited"


def test_source_that_was_taken_again_by_the_microscope(world):
    """A new file under the old name: the tier gets the new one, and the old bytes are still somewhere."""
    source = world.add("x.tif", b"old")
    world.measure()
    world.place()
    source.unlink()
    world.add("x.tif", b"new!")
    world.measure()
    row = world.place()["x.tif"]
    assert (world.output / row["destination"]).read_bytes() == b"new!"
    assert (world.output / "tiers/A/x.tif").read_bytes() == b"old"
    assert "older version" in row["problem"]


def test_copy_that_outlived_its_source_is_carried_on(world):
    world.drivers |= {"A": "copy", "B": "copy", "C": "link"}
    source = world.add("x.tif", b"x")
    world.measure()
    world.place()
    source.unlink()
    world.rescore({"x.tif": "B"})
    assert world.place()["x.tif"]["destination"] == "tiers/B/x.tif"
    assert files(world.output / "tiers") == {"B/x.tif": b"x"}
    world.rescore({"x.tif": "C"})
    world.place()
    assert b"x" in files(world.output / "tiers").values()
    assert undo(world.output, dry_run=False).conflicts == []
    assert source.read_bytes() == b"x"


def test_symbolic_link_to_the_former_copy_does_not_cost_the_copy(world, monkeypatch):
    """Where no hard link can be made, the new link leads to the only copy: that one must stay."""
    world.drivers |= {"A": "copy", "B": "link"}
    source = world.add("x.tif", b"x")
    world.measure()
    world.place()
    source.unlink()
    real = os.link

    def link(origin, destination, **options):
        if str(destination).endswith(".tif") and "/B/" in str(destination):
            raise OSError(1, "not permitted")
        return real(origin, destination, **options)

    monkeypatch.setattr(os, "link", link)
    world.rescore({"x.tif": "B"})
    world.place()
    assert (world.output / "tiers/A/x.tif").read_bytes() == b"x"
    assert (world.output / "tiers/B/x.tif").read_bytes() == b"x"


def test_link_left_at_the_source_by_hand_does_not_cost_the_file(world):
    """People put a link where a moved file was, so that old paths go on working."""
    world.drivers["A"] = "move"
    source = world.add("x.tif", b"x")
    world.measure()
    world.place()
    destination = world.output / "tiers/A/x.tif"
    source.symlink_to(destination)
    assert verify(world.output).ok
    assert world.place()["x.tif"]["placement"] == "placed"
    conflict = undo(world.output, dry_run=False).conflicts[0]
    assert "another file" in conflict.problem
    assert destination.read_bytes() == b"x"
    assert source.is_symlink()


def test_tier_in_the_input_is_refused(world):
    world.roots["A"] = str(world.input / "good")
    world.add("x.tif")
    world.measure()
    with pytest.raises(ConfigError, match=r"tiers\.A\.root.*lies in the input folder.*choose one outside"):
        world.place()
    assert not (world.output / "place").exists()


def test_unknown_driver_names_those_there_are(world):
    world.drivers["A"] = "lnk"
    world.add("x.tif")
    world.measure()
    with pytest.raises(ConfigError, match="copy, link, move, none"):
        world.place()


def test_score_of_another_shard_is_refused(world):
    world.add("x.tif")
    world.add("y.tif")
    world.measure()
    world._write_shard("00001", [b"y.tif"])
    arguments = world.arguments() | {"score": world.arguments("00001")["score"]}
    from tierflow.steps import place

    with pytest.raises(TableError, match="doesn't hold the objects"):
        place.run(**arguments)
    with pytest.raises(InputMissingError):
        place.run(**arguments | {"score": world.output / "none.parquet"})


def test_tables_of_two_runs_are_equal(tmp_path):
    tables = []
    for name in ("one", "two"):
        world = World(tmp_path / name)
        world.drivers["B"] = "move"
        for number in range(20):
            world.add(f"{number}.tif", bytes([number]), tier="AB"[number % 2])
        world.measure()
        world.place()
        tables.append(read(world.output / "place/00000.parquet"))
    assert tables[0].equals(tables[1])

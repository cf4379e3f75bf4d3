from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tierflow import config_io, tables
from tierflow.config import Config
from tierflow.errors import ConfigError, InputMissingError
from tierflow.io.identity import object_id
from tierflow.scan import store
from tierflow.steps.scan import run
from tierflow.tiers import whereabouts


class Lab:
    """An input folder, an output folder, and the step between them."""

    def __init__(self, base):
        self.input = base / "plate 7"
        self.output = base / "out"
        self.input.mkdir()
        self.scan_config = {}
        self.dataset = None

    def add(self, *paths, data=b"x"):
        for path in paths:
            file = self.input / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)

    def scan(self, **changes):
        self.scan_config |= changes
        settings = Config(input=str(self.input), dataset=self.dataset, scan=self.scan_config)
        config_io.write(self.output / "config.yaml", settings)
        summary = self.output / "scan" / "summary.json"
        run(summary=summary, config=self.output / "config.yaml")
        return json.loads(summary.read_text(encoding="utf-8"))

    def shards(self):
        """Paths by shard name."""
        folder = self.output / "scan" / "shards"
        return {p.stem: tables.read(p).column("path").to_pylist() for p in sorted(folder.glob("*.parquet"))}

    def rows(self):
        folder = self.output / "scan" / "shards"
        return [row for p in sorted(folder.glob("*.parquet")) for row in tables.read(p).to_pylist()]

    def stamps(self):
        folder = self.output / "scan" / "shards"
        return {p.stem: p.stat().st_mtime_ns for p in sorted(folder.glob("*.parquet"))}


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


@pytest.fixture
def moved(monkeypatch):
    """Objects that the journal says were moved out of the input."""
    places = {}
    monkeypatch.setattr(whereabouts, "relocated", lambda output: places)
    return places


def test_tables_and_summary_say_what_is_there(lab):
    lab.add("P_B03_s1_w1.tif", "P_B03_s1_w2.tif", "P_AB12_s10_w1.tif", data=b"12345")
    lab.add("x_thumb.tif", "notes.txt")
    summary = lab.scan(unit="site")
    assert summary["objects"] == 3
    assert summary["bytes"] == 15
    assert (summary["units"], summary["plates"], summary["wells"]) == (2, 1, 2)
    assert summary["channels"] == {"w1": 2, "w2": 1}
    assert summary["shards"] == [{"name": "00000", "objects": 3, "bytes": 15}]
    assert summary["skipped"] == {"side_file": 1, "thumbnail": 1}
    assert summary["layouts"] == [{"name": "imagexpress", "objects": 3, "confidence": 0.95}]
    assert (summary["dataset"], summary["input"]) == ("plate 7", str(lab.input))
    first = lab.rows()[0]
    assert first["path"] == "P_AB12_s10_w1.tif"
    assert first["object_id"] == object_id("plate 7", "P_AB12_s10_w1.tif")
    assert (first["plate"], first["well"], first["row"], first["column"]) == ("P", "AB12", 28, 12)
    table = tables.read(lab.output / "scan" / "shards" / "00000.parquet")
    assert table.schema.equals(tables.SCAN)
    assert tables.metadata_of(table)["input"] == str(lab.input)
    assert tables.metadata_of(table)["dataset"] == "plate 7"


def test_the_same_input_gives_the_same_bytes(lab, tmp_path):
    lab.add(*(f"{i % 7}/P_B{i % 24 + 1:02d}_s{i}_w1.tif" for i in range(50)))
    lab.scan(shard_objects=8, unit="well")
    first = {p.name: p.read_bytes() for p in (lab.output / "scan").rglob("*") if p.is_file()}
    shutil.rmtree(lab.output)
    lab.scan()
    assert {p.name: p.read_bytes() for p in (lab.output / "scan").rglob("*") if p.is_file()} == first


def test_units_stay_whole(lab):
    lab.add(*(f"ZStep_{z}/P_B{w:02d}_s1_w{c}.tif" for z in (1, 2) for w in range(1, 9) for c in (1, 2)))
    summary = lab.scan(shard_objects=8, unit="site")
    assert [shard["objects"] for shard in summary["shards"]] == [8, 8, 8, 8]
    units = {}
    for name, paths in lab.shards().items():
        for path in paths:
            units.setdefault(path.split("/")[1].split("_")[1], set()).add(name)
    assert all(len(names) == 1 for names in units.values())


class TestRescan:
    def test_nothing_new_touches_nothing(self, lab):
        lab.add(*(f"{i}.tif" for i in range(10)))
        summary = lab.scan(shard_objects=4)
        before = lab.stamps()
        assert lab.scan() == summary
        assert lab.stamps() == before

    def test_new_files_go_to_new_shards_only(self, lab):
        lab.add("b.tif", "d.tif", "f.tif")
        lab.scan(shard_objects=4)
        before = lab.stamps()
        lab.add("a.tif", "c.tif")
        lab.scan()
        assert lab.shards() == {"00000": ["b.tif", "d.tif", "f.tif"], "00001": ["a.tif", "c.tif"]}
        assert lab.stamps()["00000"] == before["00000"]

    def test_a_new_file_of_a_known_unit_joins_it(self, lab):
        lab.add("P_B03_s1_w1.tif", "P_B04_s1_w1.tif")
        lab.scan(shard_objects=1, unit="site")
        lab.add("P_B03_s1_w2.tif")
        lab.scan()
        assert lab.shards() == {"00000": ["P_B03_s1_w1.tif", "P_B03_s1_w2.tif"], "00001": ["P_B04_s1_w1.tif"]}

    def test_a_changed_file_changes_its_shard_only(self, lab):
        lab.add("a.tif", "b.tif")
        lab.scan(shard_objects=1)
        before = lab.stamps()
        lab.add("b.tif", data=b"longer")
        lab.scan()
        assert lab.stamps()["00000"] == before["00000"]
        assert lab.stamps()["00001"] != before["00001"]
        assert [row["bytes"] for row in lab.rows()] == [1, 6]

    def test_vanished_files_leave_and_are_counted(self, lab):
        lab.add("a.tif", "b.tif", "c.tif")
        lab.scan(shard_objects=1)
        (lab.input / "b.tif").unlink()
        (lab.input / "c.tif").unlink()
        summary = lab.scan()
        assert summary["vanished"] == 2
        assert "2 files of the former scan are gone" in summary["warnings"][0]
        assert lab.shards() == {"00000": ["a.tif"]}
        lab.add("d.tif")
        lab.scan()
        assert lab.shards() == {"00000": ["a.tif"], "00003": ["d.tif"]}

    def test_an_interrupted_scan_ends_like_an_undisturbed_one(self, lab, monkeypatch):
        lab.add(*(f"{i:02d}.tif" for i in range(20)))
        lab.scan(shard_objects=3)
        undisturbed = {p.name: p.read_bytes() for p in (lab.output / "scan").rglob("*") if p.is_file()}
        real = tables.write
        for writes in range(7):
            shutil.rmtree(lab.output)
            left = [writes]

            def write(path, table, left=left, **metadata):
                if not left[0]:
                    raise KeyboardInterrupt
                left[0] -= 1
                real(path, table, **metadata)

            monkeypatch.setattr(tables, "write", write)
            with pytest.raises(KeyboardInterrupt):
                lab.scan()
            assert not (lab.output / "scan" / "summary.json").exists()
            monkeypatch.setattr(tables, "write", real)
            lab.scan()
            assert {p.name: p.read_bytes() for p in (lab.output / "scan").rglob("*") if p.is_file()} == undisturbed

    def test_another_unit_gathers_what_belongs_together(self, lab):
        lab.add(*(f"P_B{w:02d}_s1_w{c}.tif" for c in (1, 2) for w in (3, 4)))
        lab.scan(shard_objects=1)
        assert len(lab.shards()) == 4
        lab.scan(unit="site")
        assert lab.shards() == {
            "00000": ["P_B03_s1_w1.tif", "P_B03_s1_w2.tif"],
            "00002": ["P_B04_s1_w1.tif", "P_B04_s1_w2.tif"],
        }

    def test_files_of_a_folder_out_of_sight_stay(self, lab, monkeypatch):
        lab.add("a.tif", "locked/b.tif", "locked/deep/c.tif", "lockedout.tif")
        lab.scan()
        real = os.scandir

        def scandir(path):
            if os.fsdecode(path).endswith("/locked"):
                raise PermissionError(13, "Permission denied", path)
            return real(path)

        monkeypatch.setattr(os, "scandir", scandir)
        (lab.input / "lockedout.tif").unlink()
        summary = lab.scan()
        assert lab.shards() == {"00000": ["a.tif", "locked/b.tif", "locked/deep/c.tif"]}
        assert (summary["unseen"], summary["vanished"]) == (2, 1)
        assert any("can't be listed" in warning for warning in summary["warnings"])


class TestMovedFiles:
    def test_rows_of_moved_files_stay_unchanged(self, lab, moved):
        lab.add("P_B03_s1_w1.tif", "P_B04_s1_w1.tif")
        lab.scan(shard_objects=1)
        rows, before = lab.rows(), lab.stamps()
        (lab.input / "P_B03_s1_w1.tif").unlink()
        moved[rows[0]["object_id"]] = lab.output / "tiers" / "A" / "P_B03_s1_w1.tif"
        summary = lab.scan()
        assert lab.rows() == rows
        assert lab.stamps() == before
        assert (summary["relocated"], summary["vanished"], summary["objects"]) == (1, 0, 2)

    def test_an_input_emptied_by_moving_is_no_error(self, lab, moved):
        lab.add("a.tif")
        lab.scan()
        moved[lab.rows()[0]["object_id"]] = lab.output / "tiers" / "A" / "a.tif"
        (lab.input / "a.tif").unlink()
        assert lab.scan()["objects"] == 1

    def test_a_new_file_at_the_same_place_is_preferred(self, lab, moved):
        lab.add("a.tif")
        lab.scan()
        moved[lab.rows()[0]["object_id"]] = lab.output / "tiers" / "A" / "a.tif"
        lab.add("a.tif", data=b"another")
        summary = lab.scan()
        assert (lab.rows()[0]["bytes"], summary["relocated"]) == (7, 0)

    def test_the_data_set_can_not_be_renamed_once_files_were_moved(self, lab, moved):
        lab.add("a.tif")
        lab.scan()
        moved[lab.rows()[0]["object_id"]] = lab.output / "tiers" / "A" / "a.tif"
        lab.dataset = "other"
        with pytest.raises(ConfigError, match="set `dataset: plate 7`"):
            lab.scan()

    def test_the_journal_of_an_output_that_moved_nothing_is_empty(self, lab):
        lab.add("a.tif")
        lab.scan()
        (lab.input / "a.tif").rename(lab.input / "b.tif")
        assert lab.scan()["vanished"] == 1


class TestWrongInput:
    def test_missing(self, lab):
        shutil.rmtree(lab.input)
        with pytest.raises(InputMissingError, match="not found: check the path"):
            lab.scan()

    def test_a_file(self, lab):
        shutil.rmtree(lab.input)
        lab.input.write_bytes(b"x")
        with pytest.raises(ConfigError, match=r"is a file, expected a folder: .*tierflow measure"):
            lab.scan()

    def test_the_output_itself(self, lab):
        lab.output = lab.input
        with pytest.raises(ConfigError, match="same folder"):
            lab.scan()

    def test_no_input(self, tmp_path):
        config_io.write(tmp_path / "config.yaml", Config())
        with pytest.raises(ConfigError, match="`input` is missing"):
            run(summary=tmp_path / "scan" / "summary.json", config=tmp_path / "config.yaml")

    def test_no_images(self, lab):
        lab.add(*(f"{i}.txt" for i in range(10)), "a_thumb.tif", "b_thumb.tif")
        with pytest.raises(InputMissingError, match=r"12 skipped \(10 \.txt, 2 thumbnails\).*scan\.include"):
            lab.scan()
        assert not (lab.output / "scan" / "summary.json").exists()

    def test_an_empty_folder(self, lab):
        with pytest.raises(InputMissingError, match="nothing skipped"):
            lab.scan()

    def test_patterns_that_match_nothing(self, lab):
        lab.add("a.TIF")
        with pytest.raises(InputMissingError, match=r"1 not matched by scan\.include.*check scan\.include"):
            lab.scan(include=("*.tif",))

    def test_a_share_that_is_away_loses_nothing(self, lab):
        lab.add("a.tif")
        lab.scan()
        before = lab.stamps()
        (lab.input / "a.tif").unlink()
        with pytest.raises(InputMissingError):
            lab.scan()
        assert lab.stamps() == before


def test_names_that_are_not_utf8_get_through(lab):
    path = Path(os.fsdecode(os.fsencode(lab.input) + b"/d\xff_B03_s1_w1.tif"))
    path.touch()
    lab.add("new\nline 'q' \"r\".tif", "ünï/😀.tif")
    summary = lab.scan()
    rows = {row["path"]: row for row in lab.rows()}
    assert set(rows) == {"d\\xff_B03_s1_w1.tif", "new\nline 'q' \"r\".tif", "ünï/😀.tif"}
    strange = rows["d\\xff_B03_s1_w1.tif"]
    assert strange["path_bytes"] == b"d\xff_B03_s1_w1.tif"
    assert strange["object_id"] == object_id("plate 7", b"d\xff_B03_s1_w1.tif")
    assert (strange["plate"], strange["well"]) == ("d\\xff", "B03")
    assert summary["objects"] == 3


def test_results_in_the_input_are_not_scanned(lab):
    lab.output = lab.input / "results"
    lab.add("a.tif", "results/tiers/A/a.tif")
    assert lab.scan()["objects"] == 1
    assert lab.scan()["skipped"] == {"own_folder": 1}


def test_misfits_are_counted_with_examples(lab):
    lab.add(*(f"P_B03_s{i}_w1.tif" for i in range(30)), "overview.tif")
    summary = lab.scan()
    assert (summary["unparsed"], summary["unparsed_examples"]) == (1, ["overview.tif"])
    assert "1 of 31 names" in summary["warnings"][0]


@pytest.mark.shared
def test_headers_are_read_once(lab, monkeypatch, shared_images):
    for i, path in enumerate(sorted((shared_images / "imagexpress_multisite_embl").glob("*.TIF"))):
        shutil.copyfile(path, lab.input / f"renamed {i}.tif")
    lab.add("bad.tif")
    assert {row["well"] for row in lab.rows()} == set()
    summary = lab.scan(read_headers=True)
    rows = lab.rows()
    assert [row["layout"] for row in rows] == ["generic"] + ["metamorph"] * 4
    assert [(row["plate"], row["well"], row["site"]) for row in rows[1:]] == [
        ("IM-Assays-EXP2", "A01", "1"),
        ("IM-Assays-EXP2", "A01", "1"),
        ("IM-Assays-EXP2", "A02", "4"),
        ("IM-Assays-EXP2", "A02", "4"),
    ]
    assert summary["headers_read"] == 5
    opened = []
    monkeypatch.setattr("tierflow.steps.scan.read_header", lambda path: opened.append(path) or {})
    before = lab.stamps()
    lab.scan()
    assert [path.rpartition(b"/")[2] for path in opened] == [b"bad.tif"]
    assert lab.stamps() == before


def test_former_shards_know_their_objects(lab):
    lab.add("a.tif", "b.tif")
    lab.scan(shard_objects=1)
    assert sorted(store.load(lab.output / "scan" / "shards").home.values()) == [0, 1]


@pytest.mark.shared
def test_shared_images_are_scanned_whole(lab, shared_images):
    lab.input = shared_images
    summary = lab.scan(unit="site", shard_objects=50)
    assert summary["objects"] == 265
    assert sum(shard["objects"] for shard in summary["shards"]) == 265
    assert summary["skipped"] == {"side_file": 3}
    stack = {
        row["unit_id"] for row in lab.rows() if row["well"] == "E07" and row["site"] == "1" and "faim" in row["path"]
    }
    assert len(stack) == 1


def test_tables_of_a_shard_that_became_empty_are_removed(tmp_path):
    folder, output = tmp_path / "plate", tmp_path / "out"
    folder.mkdir()
    for name in ("a.tif", "b.tif"):
        (folder / name).write_bytes(b"x")
    config = tmp_path / "config.yaml"
    config_io.write(config, config_io.validate({"input": str(folder), "scan": {"shard_objects": 1}}))
    run(summary=output / "scan" / "summary.json", config=config)
    for place in ("extract/00000.parquet", "extract/00001.parquet", "index/00001.json", "catalogue/00001.parquet"):
        (output / place).parent.mkdir(parents=True, exist_ok=True)
        (output / place).write_bytes(b"x")
    (folder / "b.tif").unlink()
    run(summary=output / "scan" / "summary.json", config=config)
    assert (output / "extract/00000.parquet").exists()
    assert not [p for folder in ("extract", "index", "catalogue") for p in (output / folder).glob("00001.*")]

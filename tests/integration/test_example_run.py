"""The example plate from nothing to the report, and what a user does with the results."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from integration_cli import ROOT, tierflow

CSV_COLUMNS = [
    *("path", "object_id", "status", "reason", "interestingness", "tier", "flags", "destination", "sha256", "bytes"),
    *("plate", "well", "row", "column", "site", "channel", "z", "timepoint", "acquired_at"),
]


def objects(output: Path) -> list[dict[str, str]]:
    with (output / "objects.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_tier_and_the_quarantine_are_used(example):
    rows = objects(example.output)
    assert list(rows[0]) == CSV_COLUMNS
    assert len(rows) == 19
    assert {row["tier"] for row in rows} == {"A", "B", "C", "D", "quarantine"}


def test_the_planted_troubles_are_found(example):
    rows = {row["well"]: row for row in objects(example.output) if row["well"] in ("D07", "D08", "E09")}
    assert "saturated" in rows["D07"]["flags"]
    assert (rows["D08"]["tier"], rows["D08"]["flags"], rows["D08"]["status"]) == ("quarantine", "truncated", "failed")
    assert "copy it again" in rows["D08"]["reason"]
    assert float(rows["E09"]["interestingness"]) < 0.1, "blank never scores high"
    assert "blank" in rows["E09"]["flags"]


def test_sharp_planes_rank_above_planes_28_um_out_of_focus(example):
    rows = [row for row in objects(example.output) if row["well"] in ("E07", "E08")]
    scores = {z: [float(r["interestingness"]) for r in rows if r["z"] == z] for z in ("5", "8", "9", "10")}
    assert min(scores["5"]) > max(scores["10"])
    assert min(scores["5"]) > max(scores["8"])


def test_files_are_in_their_tier_folders_and_the_plate_is_untouched(example):
    for row in objects(example.output):
        placed = example.output / row["destination"]
        assert placed.parts[len(example.output.parts) : len(example.output.parts) + 2] == ("tiers", row["tier"])
        assert hashlib.sha256(placed.read_bytes()).hexdigest() == row["sha256"]
        assert placed.stat().st_size == int(row["bytes"])
        assert (example.input / row["path"]).exists()


def test_the_end_of_the_run_tells_tiers_failures_and_where_the_report_is(example):
    assert "19 objects" in example.printed
    assert "quarantine" in example.printed
    assert "it was probably cut off" in example.printed
    assert str(example.output / "report.html") in example.printed


def test_a_second_run_does_nothing(example):
    before = {path: path.stat().st_mtime_ns for path in example.output.rglob("*.parquet")}
    done = tierflow("run", example.input, "--config", example.config, "--output", example.output, "--cores", 2)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in example.output.rglob("*.parquet")} == before
    assert "Nothing to be done" in (example.output / "logs" / "snakemake.log").read_text()


def test_another_score_opens_no_image(example, tmp_path):
    output = tmp_path / "results"
    shutil.copytree(example.output, output)
    measured = {path.name: path.read_bytes() for path in (output / "extract").iterdir()}
    done = tierflow("score", output, "--set", "score.function=constant")
    assert done.returncode == 0, done.stderr
    assert json.loads((output / "policy.json").read_text())["counts"]["A"] == 18
    assert {path.name: path.read_bytes() for path in (output / "extract").iterdir()} == measured
    # Carrying it out starts where the score ended: nothing is scored twice.
    scored = (output / "score" / "00000.parquet").stat().st_mtime_ns
    assert tierflow("place", output).returncode == 0
    assert (output / "score" / "00000.parquet").stat().st_mtime_ns == scored
    assert len(list((output / "tiers" / "A").rglob("*.tif"))) == 18
    assert "rule extract" not in (output / "logs" / "snakemake.log").read_text()
    # And with the settings of before, everything is as before.
    assert tierflow("run", example.input, "--config", example.config, "--output", output).returncode == 0
    assert {r["path"]: r["tier"] for r in objects(output)} == {r["path"]: r["tier"] for r in objects(example.output)}


def test_a_new_file_is_measured_and_the_old_ones_are_not(tmp_path):
    plate, output = tmp_path / "plate", tmp_path / "results"
    shutil.copytree(ROOT / "examples" / "plate", plate)
    assert tierflow("run", plate, "--output", output, "--cores", 2).returncode == 0
    first = (output / "extract" / "00000.parquet").stat().st_mtime_ns
    source = next(plate.rglob("*_E07_s1*.tif"))
    shutil.copyfile(source, source.with_name(source.name.replace("E07", "F07")))
    assert tierflow("run", plate, "--output", output, "--cores", 2).returncode == 0
    assert (output / "extract" / "00000.parquet").stat().st_mtime_ns == first
    rows = objects(output)
    assert len(rows) == 20
    assert sum("duplicate" in row["flags"] for row in rows) == 1


def test_dry_run_writes_nothing(tmp_path):
    output = tmp_path / "results"
    done = tierflow("run", ROOT / "examples" / "plate", "--output", output, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "scan" in done.stderr
    assert not output.exists()


def test_snakemake_by_hand_gives_the_same_tables(example, tmp_path):
    import subprocess
    import sys

    from tierflow import tables

    output = tmp_path / "by hand"
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", str(example.config), "--config",
         f"input={example.input}", f"output={output}"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for step in ("extract", "score", "place", "catalogue"):
        for path in (example.output / step).glob("*.parquet"):
            found = [tables.read(table).to_pylist() for table in (path, output / step / path.name)]
            assert without_origin(found[0]) == without_origin(found[1]), path


def without_origin(rows):
    """Leave out what tells two runs over the same images apart."""
    return [{k: v for k, v in row.items() if k not in ("run", "measured_at", "scored_at")} for row in rows]


@pytest.mark.parametrize(
    ("arguments", "code", "texts"),
    [
        (["run", "no such folder"], 66, ["no such folder", "does not exist", "mounted"]),
        (["run"], 78, ["no input", "tierflow run my_plate"]),
        (["run", "{plate}", "--set", "scan.unit=files"], 78, ["scan.unit", "'files'", "'site'"]),
        (["run", "{plate}", "--set", "score.functoin=haste"], 78, ["score.functoin", "function"]),
        (["run", "{plate}", "--set", "score.function=hastee"], 78, ["hastee", "haste"]),
        (["run", "{plate}", "--set", "tiers.A.driver=lnk"], 78, ["lnk", "link"]),
        (["run", "{plate}", "--config", "nope.yaml"], 66, ["nope.yaml", "not found"]),
        (["run", "{plate}", "--outptu", "x"], 78, ["--outptu", "--help"]),
        (["rnu"], 78, ["rnu", "run"]),
        (["score", "{plate}"], 66, ["holds no run"]),
    ],
)
def test_mistakes_are_named_with_their_remedy(tmp_path, arguments, code, texts):
    plate = tmp_path / "plate"
    plate.mkdir()
    (plate / "a.tif").write_bytes(b"x")
    done = tierflow(*(a.format(plate=plate) for a in arguments), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    for text in texts:
        assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_folder_says_what_was_left_out(tmp_path):
    (tmp_path / "plate").mkdir()
    (tmp_path / "plate" / "notes.txt").write_text("x")
    done = tierflow("run", tmp_path / "plate", "--output", tmp_path / "out", "--cores", 1)
    assert done.returncode == 66, done.stderr
    assert ".txt" in done.stderr


def test_two_runs_on_one_output_refuse_each_other(example):
    from tierflow.lock import run_lock

    with run_lock(example.output):
        done = tierflow("run", example.input, "--config", example.config, "--output", example.output)
    assert done.returncode == 75
    assert "in use by another tierflow run" in done.stderr


def test_undo_brings_back_what_move_took(tmp_path):
    plate, output = tmp_path / "plate", tmp_path / "results"
    shutil.copytree(ROOT / "examples" / "plate", plate)
    before = {p.relative_to(plate): p.read_bytes() for p in plate.rglob("*.tif")}
    moves = [x for tier in "ABCD" for x in ("--set", f"tiers.{tier}.driver=move")]
    assert tierflow("run", plate, "--output", output, *moves, "--set", "quarantine.driver=move").returncode == 0
    assert not list(plate.rglob("*.tif"))
    assert tierflow("verify", output).returncode == 0
    shown = tierflow("undo", output, "--dry-run")
    assert shown.returncode == 0
    assert not list(plate.rglob("*.tif"))
    assert tierflow("undo", output).returncode == 0
    assert {p.relative_to(plate): p.read_bytes() for p in plate.rglob("*.tif")} == before
    assert {row["destination"] for row in objects(output)} == {""}
    paths = tierflow("search", "tier:A", "--from", output, "--format", "paths").stdout.splitlines()
    assert paths
    assert all(Path(path).parent.is_relative_to(plate) and Path(path).exists() for path in paths)
    # And it can be placed again.
    assert tierflow("run", plate, "--output", output, *moves).returncode == 0
    assert len(list((output / "tiers").rglob("*.tif"))) == len(before)


def test_verify_finds_a_changed_file(example, tmp_path):
    output = tmp_path / "results"
    assert tierflow("run", example.input, "--output", output, "--set", "tiers.A.driver=copy").returncode == 0
    victim = next((output / "tiers" / "A").rglob("*.tif"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"!")
    done = tierflow("verify", output)
    assert done.returncode == 70
    assert victim.name in done.stdout


def test_a_missing_table_is_made_again_and_unfinished_ones_are_removed(example, tmp_path):
    output = tmp_path / "results"
    shutil.copytree(example.output, output)
    leftovers = [output / name for name in (".objects.csv.00000000.part", "extract/.00000.parquet.00000000.part")]
    for leftover in leftovers:
        leftover.write_bytes(b"half")
    for table in ("place/00000.parquet", "score/00000.parquet"):
        (output / table).unlink()
    done = tierflow("run", example.input, "--config", example.config, "--output", output)
    assert done.returncode == 0, done.stderr
    assert (output / "place/00000.parquet").exists()
    assert (output / "score/00000.parquet").exists()
    assert not any(leftover.exists() for leftover in leftovers)


def test_set_changes_one_key_and_keeps_its_neighbours():
    import yaml

    done = tierflow("config", "show", "--set", "tiers.A.driver=copy", "--set", "score.aggregate.channel=w1")
    shown = yaml.safe_load(done.stdout)
    assert {name: tier["driver"] for name, tier in shown["tiers"].items()} == {
        "A": "copy",
        "B": "link",
        "C": "link",
        "D": "link",
    }
    assert shown["score"]["aggregate"] == {"planes": "max", "channels": "mean", "channel": "w1"}


def test_a_second_run_after_a_move_measures_and_scores_nothing_again(tmp_path):
    plate, output = tmp_path / "plate", tmp_path / "results"
    shutil.copytree(ROOT / "examples" / "plate", plate)
    moves = [x for tier in "ABCD" for x in ("--set", f"tiers.{tier}.driver=move")]
    assert tierflow("run", plate, "--output", output, *moves).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.parquet")}
    rows = objects(output)
    done = tierflow("run", plate, "--output", output, *moves)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*.parquet")} == before
    assert objects(output) == rows

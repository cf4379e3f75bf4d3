"""Plans of real folders, and a plan against the run that follows it."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from cyclopts import App
from integration_cli import ROOT, tierflow

from tierflow.commands.plan import cost, plan
from tierflow.errors import ConfigError, InputMissingError
from tierflow.sizing.keep import kept
from tierflow.testing.hostile import scene

PLATE = ROOT / "examples" / "plate"


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


def call(command, *arguments):
    """Call a command with the words of a command line."""
    app = App(result_action="return_value", exit_on_error=False, print_error=False)
    app.default(command)
    return app([str(argument) for argument in arguments])


def printed(capsys, command, *arguments):
    capsys.readouterr()
    call(command, *arguments, "--format", "json")
    return json.loads(capsys.readouterr().out)


def state_of(folder):
    """Return what a plan must not change: names, numbers of links, times of change and content."""
    stats = {path: path.stat() for path in folder.rglob("*")}
    return {
        path: (stat.st_nlink, stat.st_mtime_ns, stat.st_ctime_ns, path.is_file() and path.read_bytes())
        for path, stat in stats.items()
    }


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Path:
    """A plate of 400 objects of three sizes: real images of the example, tiled to the size, and spots on noise."""
    folder = tmp_path_factory.mktemp("mixed") / "plate"
    folder.mkdir()
    paths = [p for p in sorted(PLATE.rglob("*.tif")) if p.stat().st_size > 300_000]
    images = [tifffile.imread(path, key=0) for path in paths[:6]]
    random = np.random.default_rng(3)
    images = [i.astype(np.uint16) for i in images if i.ndim == 2] + [scene(random, (400, 400)) for _ in range(4)]
    for number in range(400):
        edge = (160, 160, 400, 400, 400, 900)[int(random.integers(6))]
        image = images[number % len(images)]
        tiles = np.tile(image, [-(-edge // n) for n in image.shape])[:edge, :edge]
        well = number // 2
        name = f"plate_{chr(65 + well // 24)}{well % 24 + 1:02}_s1_w{number % 2 + 1}.tif"
        tifffile.imwrite(folder / name, np.roll(tiles, number * 7, axis=1), metadata=None)
    return folder


@pytest.mark.slow
def test_the_plan_agrees_with_the_run_within_a_quarter(mixed, tmp_path, capsys):
    settings = ["--set", "scan.shard_objects=100", "--set", "tiers.D.driver=copy"]
    # On a machine that others use, processor seconds grow with their load. A plan before and a plan after the run say
    # whether the machine was the same; where they don't agree, nothing can be said, and it is tried again.
    for attempt in range(3):
        output = tmp_path / f"out{attempt}"
        before = printed(capsys, plan, mixed, *settings, "--output", output)
        done = tierflow("run", mixed, "--output", output, "--cores", 1, *settings)
        assert done.returncode == 0, done.stderr
        after = printed(capsys, plan, mixed, *settings)
        plans = [each["cpu_hours"]["value"] for each in (before, after)]
        if max(plans) < 1.15 * min(plans):
            break
    actual = printed(capsys, cost, output)
    planned = (plans[0] + plans[1]) / 2
    assert actual["cpu_hours"]["value"] == pytest.approx(planned, rel=0.25)
    assert actual["peak_mb"] == pytest.approx(before["peak_mb"], rel=0.25)
    jobs = [{row["step"]: row["jobs"] for row in each["steps"]} for each in (actual, before)]
    assert jobs[0] == jobs[1]
    assert jobs[0]["extract"] == before["shards"] == actual["shards"] == 4
    assert actual["objects"] == 400
    assert actual["size"] == before["size"] == sum(path.stat().st_size for path in mixed.iterdir())
    assert actual["plan"]["made_at"] == before["made_at"]
    # What a sample says of the tiers holds within its interval for the largest of them, or nearly.
    worst = {row["tier"]: row["size"]["value"] for row in actual["tiers"]}["D"]
    span = {row["tier"]: row["size"] for row in before["tiers"]}["D"]
    assert 0.75 * span["low"] <= worst <= 1.25 * span["high"]


def test_a_policy_by_rank_is_planned_exactly(tmp_path, capsys):
    for number in range(40):
        tifffile.imwrite(tmp_path / f"image{number}.tif", scene(np.random.default_rng(number)), metadata=None)
    policy = "{kind: top_k, parameters: {k: {A: 7, B: 0, C: 0}}}"
    found = printed(capsys, plan, tmp_path, "--set", f"policy={policy}", "--sample", 6)
    assert {row["tier"]: row["objects"] for row in found["tiers"]}["A"] == 7
    assert 6 <= found["sample"]["objects"] <= 10


def test_bad_files_in_the_sample_are_counted_and_nothing_is_touched(tmp_path, capsys):
    plate = tmp_path / "plate"
    shutil.copytree(PLATE, plate)
    settings = [word for tier in "ABCD" for word in ("--set", f"tiers.{tier}.driver=move")]
    before = state_of(plate)
    found = printed(capsys, plan, plate, *settings, "--share", "A=0.5", "D=0.5")
    assert state_of(plate) == before
    assert found["sample"]["failed"] == 1
    assert any("could not be measured" in text for text in found["warnings"])
    assert {row["tier"]: row["objects"] for row in found["tiers"]}["A"] == 9.5


def test_one_image_is_planned_and_shown_as_a_table_and_as_csv(tmp_path, capsys):
    tifffile.imwrite(tmp_path / "one.tif", scene(np.random.default_rng(1)), metadata=None)
    call(plan, tmp_path, "--workers", 1, 4, "--images-per-day", 1000, "--engine", "argo")
    shown = capsys.readouterr().out
    for text in ("1 objects in 1 units and 1 shards", "all were measured", "argo", "storage per month", "per day"):
        assert text in shown
    call(plan, tmp_path, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["section"] for row in rows} == {"input", "step", "run", "tier", "money"}
    assert all(float(row["low"]) <= float(row["value"]) <= float(row["high"]) for row in rows)


def test_the_cost_of_a_run_by_owner_plate_and_tier(example, capsys):
    found = printed(capsys, cost, example.output)
    assert found["objects"] == 19
    assert found["plan"] is None
    assert sum(row["objects"] for row in found["groups"] if row["by"] == "owner") == 19
    plates = [row for row in found["groups"] if row["by"] == "plate"]
    assert sum(row["size"] for row in plates) == found["size"]
    assert sum(row["month"] for row in plates) == pytest.approx(found["money"]["storage_month"])
    assert sum(row["cpu_s"] for row in plates) == pytest.approx(found["cpu_hours"]["value"] * 3600)
    assert {row["step"] for row in found["steps"]} >= {"scan", "extract", "score", "place", "index", "report"}
    assert kept(example.output) is None


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ([], InputMissingError, "no image files"),
        (["--set", "policy.kind=nothing"], ConfigError, "interval"),
        (["--sample", "1"], ConfigError, "--sample is 1"),
        (["--workers", "0"], ConfigError, "--workers is 0"),
        (["--share", "E=1"], ConfigError, "no tier 'E'"),
        (["--share", "A=0.5"], ConfigError, "add up to 1"),
        (["--egress-share", "2"], ConfigError, "from 0 to 1"),
        (["--prices", "none.yaml"], InputMissingError, "none.yaml"),
        (["--offer", "none"], ConfigError, "on-premises"),
    ],
)
def test_mistakes_say_what_to_do(tmp_path, arguments, error, words):
    with pytest.raises(error, match=words):
        call(plan, tmp_path, *arguments)


def test_a_folder_without_a_run_has_no_cost(tmp_path):
    with pytest.raises(InputMissingError, match="config"):
        call(cost, tmp_path)

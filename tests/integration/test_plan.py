"""Plans of real folders, and a plan against the run that follows it."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tifffile
from cyclopts import App
from integration_cli import ROOT, tierflow

from tierflow import config_io, tables
from tierflow.commands.plan import cost, plan
from tierflow.errors import ConfigError, InputMissingError
from tierflow.sizing.actual import read_lines
from tierflow.sizing.engines import ENGINES
from tierflow.sizing.estimate import wall_s
from tierflow.sizing.keep import kept
from tierflow.sizing.listing import list_input, rows_of
from tierflow.sizing.make import _choose
from tierflow.sizing.tier_shares import Population, share_out
from tierflow.steps import STEPS
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
    assert before["sample"]["slowdown"] >= 1.0
    missed_bytes = outside(before["tiers"], actual["tiers"])
    assert missed_bytes < 0.05 * actual["size"], missed_bytes
    # The arithmetic of the wall time, with what the run's own processes took in place of a sample's.
    lines = read_lines(output / "logs")
    took = {step: [line["process_s"] for line in lines if line["step"] == step] for step in STEPS}
    engine = ENGINES["local"]
    expected = wall_s({step: jobs for step, jobs in took.items() if jobs}, engine=engine, workers=1) - engine.run_s
    assert expected == pytest.approx(actual["wall"][0]["seconds"], rel=0.25)


def outside(planned, actual):
    """Return the bytes by which tiers lie outside of their intervals."""
    sizes = {row["tier"]: row["size"]["value"] for row in actual}
    spans = {row["tier"]: row["size"] for row in planned if row["tier"] in sizes}
    assert set(spans) == set(sizes)
    return sum(max(span["low"] - sizes[tier], sizes[tier] - span["high"], 0) for tier, span in spans.items())


@pytest.mark.slow
@pytest.mark.shared
def test_intervals_of_the_tiers_hold_on_real_images(shared_images, tmp_path):
    """Many plans of the same 265 images, whose samples' scores are those of a run that measured all."""
    nothing = [word for tier in "ABCD" for word in ("--set", f"tiers.{tier}.driver=none")]
    done = tierflow("run", shared_images, "--output", tmp_path / "run", "--cores", 2, *nothing)
    assert done.returncode == 0, done.stderr
    config = config_io.load(tmp_path / "run" / "config.yaml")
    score = pa.concat_tables([tables.read(path) for path in sorted((tmp_path / "run" / "score").glob("*.parquet"))])
    listing = list_input(config)
    row_of = {name: row for row, name in enumerate(score["object_id"].to_pylist())}
    rows = [[row_of[row.object_id]] for row in rows_of(config, listing.root, listing.files)]
    assert len(rows) == score.num_rows == 265

    def tiers(samples, seed):
        random = np.random.default_rng(seed)
        chosen = _choose(config, listing, samples, random)
        stratum = np.empty(listing.units, dtype=np.int64)
        for number, each in enumerate(chosen.strata):
            stratum[each.units] = number
        scores = {int(unit): rows[unit] for units in chosen.units for unit in units}
        population = Population(listing.unit, listing.size, stratum, chosen.units, scores)
        return share_out(population, score, config, random=random, seconds=math.inf)[0]

    truth = {tier: span.value for tier, (_, span) in tiers(265, 0).items()}
    size = float(listing.size.sum())
    assert sum(truth.values()) == size
    for samples in (24, 60):
        plans = [tiers(samples, seed) for seed in range(12)]
        held = {tier: sum(p[tier][1].low <= truth[tier] <= p[tier][1].high for p in plans) for tier in truth}
        # Nine of ten intervals hold in the long run; a plan says so of every tier.
        assert sum(held.values()) >= 0.85 * 12 * len(truth), held
        assert min(held.values()) >= 7, held
        assert all(sum(span.value for _, span in plan.values()) == size for plan in plans)
        errors = {tier: np.mean([p[tier][1].value - truth[tier] for p in plans]) / size for tier in truth}
        assert max(map(abs, errors.values())) < 0.06, errors
        widest = max(np.mean([p[tier][1].high - p[tier][1].low for p in plans]) / size for tier in truth)
        assert widest < 0.35


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

"""A run that `tierflow job` began gets another configuration, more images, and a person's answer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tierflow.cli import run_cli

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def plate(tmp_path):
    folder = tmp_path / "plate"
    folder.mkdir()
    for image in sorted((ROOT / "examples" / "plate").rglob("*.tif"))[:3]:
        shutil.copy(image, folder)
    return folder


def job(*arguments, code=0):
    assert run_cli(["job", *map(str, arguments)]) == code


def values(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_another_score_measures_nothing_again(plate, tmp_path, capsys):
    output, said = tmp_path / "out", tmp_path / "values"
    job("summary", output)
    assert "No image was looked at" in capsys.readouterr().out
    job("scan", "--output", output, "--config-text=scan: {shard_objects: 1}", f"--values={said}", "--", plate)
    found = values(said)
    assert (found["shards"], found["place_jobs"], found["publish_jobs"]) == ("3", "1", "0")
    for steps in ("extract", "baseline", "score", "policy"):
        job("run", f"--steps={steps}", "--", output)
    job("configure", "--config-text=score: {function: haste}", f"--values={said}", "--", output)
    assert values(said) == found
    for steps, expected in (("extract", "0 done"), ("baseline", "0 done"), ("score", "3 done"), ("policy", "1 done")):
        capsys.readouterr()
        job("run", f"--steps={steps}", f"--values={said}", "--", output)
        assert expected in capsys.readouterr().err
    assert sum(json.loads((said / "tiers").read_text()).values()) == 3

    job("approve", "--answer=YES", "--", output)
    job("approve", "--answer=NO", "--", output, code=76)
    assert "a person answered NO to placing {" in capsys.readouterr().err
    job("approve", "--answer=maybe", "--", output, code=78)
    assert not (output / "place").exists()

    job("configure", "--config-text=extract: {max_plane_mb: 5}", "--", output, code=78)
    assert "changes extract" in capsys.readouterr().err


def test_a_micro_batch_keeps_configuration_and_shards(plate, tmp_path, capsys):
    output, said = tmp_path / "out", tmp_path / "values"
    scan = ("scan", f"--output={output}", "--keep-config", f"--values={said}")
    late = tmp_path / "late.tif"
    shutil.move(sorted(plate.iterdir())[0], late)
    job(*scan, "--set", "scan.shard_objects=2", "--set", "score.function=haste", "--", plate)
    job("run", "--steps=extract", "--", output)
    before = yaml.safe_load((output / "config.yaml").read_text())
    shutil.move(late, plate / "late.tif")
    job(*scan, "--", plate)
    assert yaml.safe_load((output / "config.yaml").read_text()) == before
    assert values(said)["objects"] == "3"
    capsys.readouterr()
    job("run", "--steps=extract", "--", output)
    assert "1 done, 1 were up to date" in capsys.readouterr().err
    job(*scan, "--", tmp_path / "other", code=78)
    assert "holds a run of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config-text=a: ["], "not readable as YAML"),
        (["--config-text=- a"], "expected keys"),
        (["--config-text=scoer: {}"], "did you mean `score`"),
        (["--shards-per-job", "1", "0", "5"], "at least 1"),
        (["--most-jobs=0"], "at least 1"),
    ],
)
def test_a_wrong_form_says_why(plate, tmp_path, capsys, arguments, words):
    job("scan", f"--output={tmp_path / 'out'}", *arguments, "--", plate, code=78)
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

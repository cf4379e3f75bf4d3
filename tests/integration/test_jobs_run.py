"""A run done by `tierflow job` alone has the tables of a run by Snakemake."""

from __future__ import annotations

import shutil
from pathlib import Path

import integration_cli
import pytest

from comparing import same_tables

ROOT = Path(__file__).resolve().parents[2]


def tierflow(*arguments, expect=0):
    done = integration_cli.tierflow(*arguments)
    assert done.returncode == expect, done.stderr
    return done


def test_jobs_give_the_tables_of_a_run(tmp_path):
    plate = tmp_path / "plate"
    shutil.copytree(ROOT / "examples" / "plate", plate)
    same = ["--set", "scan.shard_objects=4", "--set", "catalogue.run=same", "--set", "tiers.C.driver=copy"]
    by_jobs, by_snakemake = tmp_path / "jobs", tmp_path / "snakemake"
    tierflow("run", plate, "--output", by_snakemake, *same)
    values = tmp_path / "values"
    tierflow("job", "scan", plate, "--output", by_jobs, *same, "--values", values, "--shards-per-job", 1, 3, 2)
    said = {path.name: path.read_text() for path in values.iterdir()}
    shards = int(said["shards"])
    assert shards >= 4
    assert said["extract_jobs"] == str(shards)
    assert said["score_jobs"] == str(-(-shards // 3))
    plan = [
        ("extract", said["extract_jobs"]), ("baseline", None), ("score", said["score_jobs"]), ("policy", None),
        ("place,index,publish", said["place_jobs"]), ("report", None),
    ]  # fmt: skip
    for steps, jobs in plan:
        for number in range(1, int(jobs or 1) + 1):
            part = ["--part", f"{number}/{jobs}"] if jobs else []
            done = tierflow("job", "run", by_jobs, "--steps", steps, *part, "--values", values)
            assert ", 0 were up to date" in done.stderr
    assert 0 < float((values / "removed_share").read_text()) < 0.5
    again = tierflow("job", "run", by_jobs, "--steps", "extract,score,place,index")
    assert "0 done" in again.stderr
    assert same_tables(by_snakemake, by_jobs)
    assert (by_jobs / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--steps", "extract,policy"], 78, "not both"),
        (["--steps", "blend"], 78, "expected one of"),
        (["--steps", "extract"], 66, "config.yaml"),
    ],
)
def test_a_wrong_job_says_why(tmp_path, arguments, code, words):
    done = tierflow("job", "run", tmp_path, *arguments, expect=code)
    assert words in done.stderr

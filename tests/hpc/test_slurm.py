"""The example plate on a real Slurm: the same tables as on this machine, whatever happens to the jobs.

The tests skip where `sinfo` doesn't answer.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hpc_running import IMPATIENT, PLATE, SETTINGS, Running

from comparing import same_tables

# One process: a local run is compared with by several tests.
pytestmark = pytest.mark.xdist_group("slurm")
SLOW = """\
import os, sys, time
from pathlib import Path

marker = Path(os.environ["SLOW_ONCE"])
if {"step", "extract"} <= set(sys.orig_argv) and not marker.exists():
    marker.touch()
    time.sleep(600)
"""


@pytest.fixture(scope="session")
def slurm() -> None:
    """A Slurm that answers."""
    if shutil.which("sinfo") is None:
        pytest.skip("no Slurm: sinfo is not installed")
    try:
        found = subprocess.run(["sinfo", "--noheader"], capture_output=True, text=True, timeout=30)
    except subprocess.TimeoutExpired:
        pytest.skip("no Slurm: sinfo does not answer")
    if found.returncode or not found.stdout.strip():
        pytest.skip(f"no Slurm: sinfo says {found.stderr.strip() or 'nothing'}")


@pytest.fixture
def begin(slurm, tmp_path) -> Iterator:
    """A function that begins a run of the example plate by a profile, in a folder whose name holds a space."""
    begun: list[Running] = []

    def _begin(profile: str, *, changes: dict | None = None, settings=SETTINGS, env: dict | None = None) -> Running:
        site = tmp_path / "site"
        site.mkdir()
        (site / "profile.yaml").write_text(yaml.safe_dump(IMPATIENT[profile] | (changes or {})))
        folder = tmp_path / "my runs"
        folder.mkdir()
        argv = [sys.executable, "-m", "tierflow", "run", str(PLATE), "--output", "results", "--profile", profile]
        argv += ["--profile", "../site", *(text for setting in settings for text in ("--set", setting))]
        process = subprocess.Popen(
            argv,
            cwd=folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
        )
        begun.append(Running(process, folder / "results"))
        return begun[-1]

    yield _begin
    for running in begun:
        if running.process.poll() is None:
            # Snakemake takes its jobs along.
            running.process.send_signal(signal.SIGINT)
            running.process.communicate(timeout=120)


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("local") / "results"
    argv = [sys.executable, "-m", "tierflow", "run", str(PLATE), "--output", str(output)]
    argv += [text for setting in SETTINGS for text in ("--set", setting)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return output


def placed(output: Path) -> dict[str, str]:
    files = [path for path in (output / "tiers").rglob("*") if path.is_file()]
    return {str(f.relative_to(output)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def slurm_job(line: str) -> str:
    return re.search(r"(?:SLURM jobid |external jobid ')(\d+)", line)[1]


@pytest.mark.slow
def test_a_cancelled_job_is_tried_again_and_the_tables_are_those_of_a_local_run(begin, local):
    run = begin("slurm")
    victim = slurm_job(run.wait_for("rule_extract/00001/"))
    subprocess.run(["scancel", victim], check=True)
    printed = run.end()
    log = run.log()
    assert re.search(rf"SLURM-job '{victim}' failed, SLURM status is: 'CANCELLED", log)
    assert log.count("rule_extract/00001/") >= 2
    assert len(same_tables(run.output, local)) >= 3 * 5
    assert placed(run.output) == placed(local)
    assert "measured" in printed, "the display of progress works from the files that the nodes write"
    # Short steps share jobs: three shards scored by one job, and placed and indexed by one.
    assert len(re.findall(r"submitted with SLURM jobid \d+ \(log: .*/group_score_", log)) == 1
    assert len(re.findall(r"submitted with SLURM jobid \d+ \(log: .*/group_place_", log)) == 1


@pytest.mark.slow
def test_without_the_plug_in_the_tables_are_the_same(begin, local):
    run = begin("cluster-generic")
    run.wait_for("with external jobid")
    names = subprocess.run(
        ["squeue", "--states=all", "--noheader", "--format=%j"], check=True, capture_output=True, text=True
    ).stdout
    assert "tierflow-scan" in names
    run.end()
    assert len(same_tables(run.output, local)) >= 3 * 5
    assert placed(run.output) == placed(local)


@pytest.mark.slow
def test_a_job_over_its_time_limit_is_tried_again_with_more(begin, tmp_path):
    """Slurm counts whole minutes, so this takes two."""
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "sitecustomize.py").write_text(SLOW)
    run = begin(
        "slurm",
        changes={"set-resources": {"extract": {"runtime": "1 if attempt == 1 else 10"}}},
        settings=("scan.shard_objects=100",),
        env={"PYTHONPATH": str(tmp_path / "slow"), "SLOW_ONCE": str(tmp_path / "was slow")},
    )
    victim = slurm_job(run.wait_for("rule_extract/00000/"))
    assert "TIMEOUT" in run.wait_for(f"SLURM-job '{victim}' failed")
    # What follows is the same as ever; the fixture ends the run.
    run.wait_for("rule baseline:")
    assert re.search(r"^(?=.*\bruntime=10\b)(?=.*\bmem_mb=2000\b)", run.log(), re.MULTILINE)
    assert (run.output / "extract" / "00000.parquet").exists()

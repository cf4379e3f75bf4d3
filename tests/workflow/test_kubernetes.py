"""The workflow of pods that share nothing but an object store, here with a stand-in for `tierflow job`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tierflow.commands.run import run
from tierflow.errors import ConfigError
from tierflow.kubernetes_run import SHARDS_PER_JOB
from tierflow.steps import STEPS

ROOT = Path(__file__).resolve().parents[2]
SNAKEFILE = ROOT / "workflows" / "kubernetes.smk"
# Notes how it was called; what concerns the second part of `extract` fails, as the file `code` says.
STAND_IN = """#!/bin/sh
echo "$*" >> calls
case "$*" in
*"--steps extract --part 2/3"*) echo "tierflow: no such bucket" >&2; exit $(cat code) ;;
esac
"""


@pytest.fixture
def folder(tmp_path):
    shutil.copy(SNAKEFILE, tmp_path / "Snakefile")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tierflow").write_text(STAND_IN)
    (tmp_path / "bin" / "tierflow").chmod(0o755)
    tree = {
        "input": "s3://b/my plate", "output": "s3://b/run", "tierflow": '{"dataset": "it\'s"}', "attempt": 2,
        "jobs": {"extract": 3, "score": 1, "place": 2, "publish": 0},
    }  # fmt: skip
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    return tmp_path


def make(folder: Path) -> None:
    path = f"{folder / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--configfile", "run.yaml", "--cores", "2", "--workflow-profile", "none"],
        cwd=folder, capture_output=True, text=True, env={**os.environ, "PATH": path, "XDG_CACHE_HOME": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def marks(folder: Path) -> dict[str, str]:
    return {f"{path.parent.name}/{path.name}": path.read_text() for path in folder.glob("*/*[0-9al]") if path.is_file()}


def test_every_job_is_done_once_and_a_failure_is_a_mark_and_stops_what_needs_it(folder):
    (folder / "code").write_text("75")
    make(folder)
    found = marks(folder)
    assert found.pop("extract/2-3") == "75\ntierflow: no such bucket\n"
    waits = [mark for mark, text in found.items() if text]
    assert sorted(waits) == ["baseline/all", "place/1-2", "place/2-2", "policy/all", "report/all", "score/1-1"]
    assert {found[mark] for mark in waits} == {"a step before it failed\n"}
    for mark in (*waits, "extract/2-3"):
        (folder / mark).unlink()
    (folder / "code").write_text("0")
    (folder / "calls").unlink()
    make(folder)
    assert not any(marks(folder).values())
    assert (folder / "calls").read_text().splitlines()[0] == "job run s3://b/run --steps extract --part 2/3"
    calls = (folder / "calls").read_text().splitlines()
    assert len(calls) == 7
    assert calls[-1] == "job run s3://b/run --steps report"
    assert {"job run s3://b/run --steps place,index --part 1/2", "job run s3://b/run --steps baseline"} < set(calls)


def test_it_holds_every_step():
    text = SNAKEFILE.read_text()
    assert {name for said in re.findall(r'steps="([\w,]+)"', text) for name in said.split(",")} == {*STEPS} - {"scan"}
    assert set(re.findall(r'STEPS\["(\w+)"\]', text)) == {*STEPS} - {"index"}
    assert set(SHARDS_PER_JOB) < set(re.findall(r"^rule (\w+):", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("output", "options", "said"),
    [
        ("results", {}, "s3://BUCKET/RUN"),
        (None, {}, "s3://BUCKET/RUN"),
        ("s3://b/run", {"dry_run": True}, "--dry-run has no meaning"),
        ("s3://b/run", {"cores": 2}, "--cores has no meaning"),
        ("s3://b/run", {}, r"tiers\.A\.root is None"),
    ],
)
def test_what_pods_cannot_do_is_told_before_any_is_begun(output, options, said):
    with pytest.raises(ConfigError, match=said):
        run("s3://b/plate", output=output, profile=["kubernetes"], **options)

"""Profiles are found, laid over each other, and plan the same jobs; no batch system is needed for that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tierflow.errors import ConfigError
from tierflow.render.profiles import find, profile_arguments
from tierflow.render.snakemake import snakefile
from tierflow.steps import STEPS

ROOT = Path(__file__).resolve().parents[2]
PROFILES = sorted(path.parent.name for path in (ROOT / "profiles").glob("*/profile.yaml"))
BATCH = ("cluster-generic", "slurm")


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / "profiles" / name / "profile.yaml").read_text())


def test_the_profiles_are_these():
    assert PROFILES == ["cluster-generic", "default", "kubernetes", "slurm"]
    assert (snakefile().parent / "profiles").is_dir()


@pytest.mark.parametrize("name", BATCH)
def test_every_profile_plans_the_run(tmp_path, name):
    plate, site = tmp_path / "a plate", tmp_path / "site"
    plate.mkdir()
    (plate / "a.tif").write_bytes(b"x")
    site.mkdir()
    (site / "profile.yaml").write_text("default-resources:\n  slurm_partition: short\n  slurm_account: my_group\n")
    done = subprocess.run(
        [sys.executable, "-m", "tierflow", "run", "a plate", "--profile", name, "--profile", "site", "--dry-run"],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "scan" in done.stderr
    assert "report" in done.stderr


@pytest.mark.parametrize("name", [name for name in PROFILES if name != "default"])
def test_only_profiles_say_how_often_to_try_again_and_groups_hold_steps(name):
    profile = read(name)
    assert profile["retries"] >= 1
    groups = profile.get("groups", {})
    assert set(groups) <= {step.name for step in STEPS.values() if step.scope == "shard"}
    assert set(profile.get("group-components", {})) <= set(groups.values())


def test_resources_grow_with_each_attempt():
    for step in STEPS.values():
        assert [step.mem_mb_of(None, attempt) for attempt in (1, 2)] == [step.mem_mb, 2 * step.mem_mb]
        assert [step.runtime_of(None, attempt) for attempt in (1, 3)] == [step.runtime_min, 3 * step.runtime_min]
        assert step.disk_mb > 0


def test_profiles_are_laid_over_default_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "profile.yaml").write_text("jobs: 3\n")
    arguments = profile_arguments(["slurm", "site"])
    assert arguments[:2] == ["--workflow-profile", "none"]
    assert [Path(arguments[i]).name for i in (3, 5, 7)] == ["default", "slurm", "site"]
    assert arguments[7] == str(tmp_path / "site")


def test_a_name_is_the_project_s_even_where_a_folder_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "profile.yaml").write_text("jobs: 3\n")
    assert find("slurm") == snakefile().parent / "profiles" / "slurm"
    assert find("./slurm") == tmp_path / "slurm"


def test_a_profile_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(ConfigError, match=r"'slrum'.*cluster-generic, default, kubernetes, slurm"):
        profile_arguments(["slrum"])


def test_a_missing_plug_in_is_named_with_its_remedy(tmp_path, monkeypatch):
    (tmp_path / "profile.yaml").write_text("executor: lsf\n")
    monkeypatch.setattr("tierflow.render.profiles.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'tierflow\[hpc\]'"):
        profile_arguments(["slurm"])
    with pytest.raises(ConfigError, match="pip install snakemake-executor-plugin-lsf"):
        profile_arguments([str(tmp_path)])


@pytest.mark.parametrize(
    ("answer", "code", "state"),
    [
        ("COMPLETED", 0, "success"),
        *((word, 0, "running") for word in ("RUNNING", "PENDING", "COMPLETING", "CONFIGURING", "REQUEUED")),
        *((word, 0, "failed") for word in ("TIMEOUT", "OUT_OF_MEMORY", "CANCELLED", "PREEMPTED", "NODE_FAIL", "")),
        ("slurm_load_jobs error: Invalid job id specified", 1, "failed"),
        ("slurm_load_jobs error: Unable to contact slurm controller", 1, "running"),
    ],
)
def test_the_status_script_reads_what_slurm_says(tmp_path, answer, code, state):
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\necho '{answer}' >&{2 if code else 1}\nexit {code}\n")
    squeue.chmod(0o755)
    script = snakefile().parent / "profiles" / "cluster-generic" / "slurm-status"
    done = subprocess.run(
        [str(script), "7"], capture_output=True, text=True, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    )
    assert (done.returncode, done.stdout) == (0, f"{state}\n")

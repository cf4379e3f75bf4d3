"""A real Slurm for the tests of this folder; they skip where `sinfo` doesn't answer."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hpc_running import IMPATIENT, PLATE, SETTINGS, Running

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items):
    """Keep these tests in one process: a run of each engine is looked at by several of them."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.xdist_group("slurm"))


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
            running.process.communicate(timeout=60)

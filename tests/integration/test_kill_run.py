"""A run that moves files is killed at random moments; afterwards every file is in one place and whole."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tierflow import tables
from tierflow.testing.hostile import scene, tiff

KILLS = 20
CONFIG = """
scan: {shard_objects: 12}
score: {function: random}
tiers:
  A: {driver: move}
  B: {driver: move, root: %s}
  C: {driver: copy}
  D: {driver: trash}
quarantine: {driver: move}
"""
TABLES = ("extract", "score", "place", "catalogue")


def make_input(folder: Path) -> dict[str, str]:
    """Write 60 small images (one of them cut off) and return the SHA-256 of each by relative path."""
    generator = np.random.default_rng(5)
    sums = {}
    for number in range(60):
        path = folder / f"day {number % 3}" / f"image_{number:03}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = tiff(scene(generator))
        path.write_bytes(data[:900] if number == 7 else data)
        sums[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return sums


def start(folder: Path, output: Path, config: Path) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "tierflow", "run", str(folder), "--output", str(output), "--config", str(config)]
    return subprocess.Popen(
        [*argv, "--cores", "2"], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def finish(folder: Path, output: Path, config: Path) -> None:
    process = start(folder, output, config)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill every process of the session that `start` made, and nothing else."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                session = int((entry / "stat").read_text().rpartition(")")[2].split()[3])
            except (OSError, ProcessLookupError):
                continue
            if session == process.pid:
                with suppress(ProcessLookupError):
                    os.kill(int(entry.name), signal.SIGKILL)
    process.communicate()


def timed(folder: Path, output: Path, config: Path) -> float:
    started = time.monotonic()
    finish(folder, output, config)
    return time.monotonic() - started


def forget_places(output: Path) -> None:
    """Make the next run place everything again, so that there is something to interrupt."""
    for table in (output / "place").glob("*.parquet"):
        table.unlink()


def rows(output: Path, step: str) -> list[dict]:
    found = []
    for path in sorted((output / step).glob("*.parquet")):
        found += tables.read(path).to_pylist()
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_is_lost_when_the_whole_tree_is_killed(tmp_path):
    outside = tmp_path / "other tier"
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG % f"'{outside}'")

    quiet_input, quiet_output = tmp_path / "quiet" / "plate", tmp_path / "quiet" / "output"
    make_input(quiet_input)
    whole_s = timed(quiet_input, quiet_output, config)
    forget_places(quiet_output)
    placing_s = timed(quiet_input, quiet_output, config)

    folder, output = tmp_path / "killed" / "plate", tmp_path / "killed" / "output"
    config_killed = tmp_path / "config_killed.yaml"
    config_killed.write_text(CONFIG % f"'{tmp_path / 'killed tier'}'")
    sums = make_input(folder)
    moments = random.Random(11)
    killed = 0
    for number in range(KILLS):
        process = start(folder, output, config_killed)
        try:
            # The first moments hit scanning and measuring; after that only placing is left.
            process.wait(timeout=moments.uniform(0.1, 0.9) * (whole_s if number < 5 else placing_s))
        except subprocess.TimeoutExpired:
            killed += 1
        kill_tree(process)
        forget_places(output)
    assert killed >= KILLS // 2, "most runs ended before they were killed: the test has lost its point"
    finish(folder, output, config_killed)

    places: dict[str, list[Path]] = {path: [] for path in sums}
    roots = [
        folder,
        output / "tiers" / "A",
        tmp_path / "killed tier",
        output / "trash",
        output / "tiers" / "quarantine",
    ]
    for root in roots:
        for path in root.rglob("*.tif"):
            relative = str(path.relative_to(root)).removeprefix("D/")
            places[relative].append(path)
    copies = {str(path.relative_to(output / "tiers" / "C")) for path in (output / "tiers" / "C").rglob("*.tif")}
    for relative, found in places.items():
        assert len(found) == 1, f"{relative} is in {found}"
        assert hashlib.sha256(found[0].read_bytes()).hexdigest() == sums[relative]
    for relative in copies:
        assert hashlib.sha256((output / "tiers" / "C" / relative).read_bytes()).hexdigest() == sums[relative]
    assert not list(output.rglob("*.part"))
    assert not list((tmp_path / "killed tier").rglob("*.part"))

    for step in TABLES:
        assert [normal(row, tmp_path) for row in rows(output, step)] == [
            normal(row, tmp_path) for row in rows(quiet_output, step)
        ]


def normal(row: dict, root: Path) -> dict:
    """Blank the two runs' own names and folders, their times, and what derives from the configuration's paths."""
    own = {"mtime_ns", "config_digest", "run", "measured_at", "scored_at"}
    text = {"destination": lambda v: v and v.replace("killed tier", "other tier")}
    kept = {key: text.get(key, lambda v: v)(value) for key, value in row.items() if key not in own}
    return {key: value for key, value in kept.items() if value == value}  # NaN differs from itself

"""Real `kill -9` of real processes that place and undo, on two devices where the machine has them."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from placing_world import World, files, parts, tree
from tierflow.tiers.undo import undo
from tierflow.tiers.verify import verify

MEMORY = Path("/dev/shm")
OBJECTS = 300
KILLS = 20
TIERS = ("A", "B", "C", "D", "quarantine")
PLACE = """
import sys, pathlib
from tierflow.steps import place
place.run(**{key: pathlib.Path(value) for key, value in (text.split("=", 1) for text in sys.argv[1:])})
"""
UNDO = """
import sys, pathlib
from tierflow.tiers.undo import undo
undo(pathlib.Path(sys.argv[1]), dry_run=False)
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def far(tmp_path):
    """A folder on another device, or the temporary folder where there is none."""
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)):
        yield tmp_path / "far"
        return
    folder = Path(tempfile.mkdtemp(dir=MEMORY))
    yield folder / "far"
    shutil.rmtree(folder)


def make(base: Path, far: Path) -> World:
    for folder in (base, far):
        shutil.rmtree(folder, ignore_errors=True)
    world = World(base)
    world.drivers = {"A": "move", "B": "copy", "C": "move", "D": "trash", "quarantine": "link"}
    world.roots = {"C": str(far)}
    for number in range(OBJECTS):
        content = random.Random(number).randbytes(2000 + number)
        world.add(f"plate{number % 3}/s{number}.tif", content, tier=TIERS[number % len(TIERS)])
    world.measure()
    return world


@dataclass
class Program:
    """A program that is killed at random moments of its work, which begins when `works` becomes true."""

    code: str
    arguments: list[str]
    works: Callable[[], bool]
    work_s: float = 0.0
    killed: int = 0

    def start(self) -> subprocess.Popen[bytes]:
        """Start it in a session of its own, so that the whole of it can be killed, and wait for its work to begin."""
        command = [sys.executable, "-c", self.code, *self.arguments]
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)
        while process.poll() is None and not self.works():
            time.sleep(0.001)
        return process

    def finish(self) -> None:
        process = self.start()
        begin = time.monotonic()
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
        self.work_s = time.monotonic() - begin

    def kill(self, chance: random.Random) -> None:
        process = self.start()
        time.sleep(chance.uniform(0, self.work_s))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        _, errors = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), errors.decode()
        self.killed += process.returncode != 0


def state(world: World, far: Path):
    return tree(world.input), files(world.output / "tiers"), files(world.output / "trash"), files(far)


def test_place_and_undo_survive_kill_9_at_random_moments(tmp_path, far):
    base = tmp_path / "run"
    world = make(base, far)
    before = tree(world.input)
    contents = files(world.input)
    arguments = [f"{key}={value}" for key, value in world.arguments().items()]
    place = Program(PLACE, arguments, works=(base / "out/journal/00000.jsonl").exists)
    back = Program(UNDO, [str(world.output)], works=lambda: not list((base / "out/place").glob("*.parquet")))
    place.finish()
    rows, layout = world.rows(), state(world, far)
    back.finish()
    assert tree(world.input) == before

    chance = random.Random(20)
    for _ in range(KILLS // 2):
        world = make(base, far)
        place.kill(chance)
        _, *placed = state(world, far)
        assert set(files(world.input).values()).union(*(found.values() for found in placed)) >= set(contents.values())
        place.kill(chance)
        assert world.place() == rows
        assert state(world, far) == layout
        assert verify(world.output).ok
        assert not parts(base)
        assert not parts(far)
        back.kill(chance)
        assert undo(world.output, dry_run=False).conflicts == []
        assert tree(world.input) == before
        assert files(world.output / "tiers") == files(world.output / "trash") == files(far) == {}
    assert place.killed
    assert back.killed

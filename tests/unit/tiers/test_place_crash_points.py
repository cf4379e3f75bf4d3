"""Kill placing, re-tiering and undoing at every single system call, in three ways; nothing is ever lost."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from killing import MODES, Killer, armed, moments
from placing_world import files, parts, tree
from tierflow import plugins
from tierflow.tiers import acts
from tierflow.tiers.acts import Want
from tierflow.tiers.carry import carry
from tierflow.tiers.journal import open_journal
from tierflow.tiers.undo import undo
from tierflow.tiers.verify import verify

MEMORY = Path("/dev/shm")
FIRST = {"link": "A", "copy": "B", "move": "C", "trash": "D", "away": "E", "pointer": "C", "dangling": "C"}
SECOND = {"link": "C", "copy": "A", "move": "D", "trash": "A", "away": "B", "pointer": "D", "dangling": "A"}
DRIVERS = {"A": "link", "B": "copy", "C": "move", "D": "trash", "E": "move"}
TIME_NS = 1_600_000_000_123_456_789
SHARD = "00000"

pytestmark = pytest.mark.slow


@pytest.fixture
def quick(monkeypatch):
    """Small groups, so that few objects show what happens between two of them."""
    monkeypatch.setattr(acts, "BATCH", 3)
    # What a sync would keep is for the killer to say; waiting for a disk adds nothing.
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def stage(tmp_path, quick):
    """Folders on two devices: memory, where syncing costs nothing, and the disk of the temporary folder."""
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)):
        yield tmp_path / "near", tmp_path / "far"
        return
    near = Path(tempfile.mkdtemp(dir=MEMORY))
    yield near, tmp_path / "far"
    shutil.rmtree(near)


class Small:
    """Every kind of source in an input folder, without the tables of a run; tier E lies on the other device."""

    def __init__(self, near: Path, far: Path) -> None:
        self.input, self.output, self.far, self.target = near / "in", near / "out", far, near / "target.tif"
        for folder in (near, far):
            shutil.rmtree(folder, ignore_errors=True)
        (self.input / "p").mkdir(parents=True)
        self.output.mkdir()
        self.contents = {name: f"content of {name}".encode() for name in FIRST if name not in ("pointer", "dangling")}
        for name, content in self.contents.items():
            path = self.input / "p" / name
            path.write_bytes(content)
            os.utime(path, ns=(TIME_NS, TIME_NS))
        self.target.write_bytes(b"content of target")
        for name, text in (("pointer", self.target), ("dangling", "nowhere")):
            path = self.input / "p" / name
            path.symlink_to(text)
            os.utime(path, ns=(TIME_NS, TIME_NS), follow_symlinks=False)

    def carry(self, tiers):
        """Place as the step does, without its tables."""
        wants = [self._want(name, tier) for name, tier in tiers.items()]
        drivers = {name: plugins.load("tiers", name)() for name in DRIVERS.values()}
        with open_journal(self.output, SHARD, cut="one", ids=[want.object_id for want in wants]) as journal:
            return carry(journal, wants, drivers)

    def _want(self, name: str, tier: str) -> Want:
        content = self.contents.get(name, b"content of target" if name == "pointer" else None)
        return Want(
            object_id=hashlib.sha256(name.encode()).hexdigest()[:32],
            source=self.input / "p" / name,
            tier=tier,
            driver=DRIVERS[tier],
            wanted=(self.far if tier == "E" else self.output / "tiers" / tier) / "p" / name,
            sha256=None if content is None else hashlib.sha256(content).hexdigest(),
            size=None if content is None else len(content),
            mtime_ns=TIME_NS,
        )

    @property
    def journals(self) -> Path:
        return self.output / "journal"

    def layout(self):
        return tree(self.input), files(self.output / "tiers"), files(self.far)

    def require_everything(self) -> None:
        """Every content stands whole under a real name, whatever the moment of the kill."""
        found = [files(folder) for folder in (self.input, self.output / "tiers", self.far)]
        finished = {content for tree in found for name, content in tree.items() if not name.endswith(".part")}
        assert finished >= set(self.contents.values())
        assert self.target.read_bytes() == b"content of target"

    def require_one_place(self) -> None:
        report = verify(self.output)
        assert report.ok, report
        assert not report.foreign
        assert not parts(self.output)
        assert not parts(self.input)
        assert not parts(self.far)

    def require_undone(self, before) -> None:
        assert tree(self.input) == before
        assert files(self.output / "tiers") == files(self.far) == {}
        assert not (self.output / "tiers").exists()
        assert not self.far.exists()


def prepared(stage, scenario: str) -> tuple[Small, dict[str, str]]:
    small = Small(*stage)
    if scenario == "first placement":
        return small, FIRST
    small.carry(FIRST)
    return small, SECOND


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scenario", ["first placement", "another tier"])
def test_place_killed_at_every_system_call(scenario, mode, stage, monkeypatch):
    small, tiers = prepared(stage, scenario)
    outcomes = []
    points = moments(lambda: outcomes.extend(small.carry(tiers)), mode, monkeypatch, small.journals)
    layout = small.layout()
    assert {outcome.placement for outcome in outcomes} == {"placed"}
    assert len(points) > (10 if mode == "torn" else 70)
    for at in points:
        small, tiers = prepared(stage, scenario)
        with armed(Killer(at, mode), monkeypatch, small.journals):
            small.carry(tiers)
        small.require_everything()
        assert small.carry(tiers) == outcomes, at
        assert small.layout() == layout, at
        small.require_one_place()


@pytest.mark.parametrize("mode", MODES)
def test_undo_killed_at_every_system_call(mode, stage, monkeypatch):
    small = Small(*stage)
    before = tree(small.input)
    outcomes = small.carry(FIRST)
    points = moments(lambda: undo(small.output, dry_run=False), mode, monkeypatch, small.journals)
    small.require_undone(before)
    assert len(points) > (5 if mode == "torn" else 40)
    for at in points:
        for then in ("undo", "place"):
            small = Small(*stage)
            small.carry(FIRST)
            with armed(Killer(at, mode), monkeypatch, small.journals):
                undo(small.output, dry_run=False)
            small.require_everything()
            if then == "undo":
                assert undo(small.output, dry_run=False).conflicts == [], at
                small.require_undone(before)
            else:
                assert small.carry(FIRST) == outcomes, at
                small.require_one_place()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scenario", ["first placement", "another tier"])
def test_undo_after_a_killed_place_brings_everything_back(scenario, mode, stage, monkeypatch):
    before = tree(Small(*stage).input)
    small, tiers = prepared(stage, scenario)
    points = moments(lambda: small.carry(tiers), mode, monkeypatch, small.journals)
    for at in points:
        small, tiers = prepared(stage, scenario)
        with armed(Killer(at, mode), monkeypatch, small.journals):
            small.carry(tiers)
        assert undo(small.output, dry_run=False).conflicts == [], at
        small.require_undone(before)


@pytest.mark.parametrize("mode", ["before", "power"])
def test_a_second_kill_while_the_first_is_mended(mode, stage, monkeypatch):
    small, tiers = prepared(stage, "another tier")
    outcomes = []
    points = moments(lambda: outcomes.extend(small.carry(tiers)), mode, monkeypatch, small.journals)
    for at in points[::9]:
        for again in range(1, 80, 6):
            small, tiers = prepared(stage, "another tier")
            for moment in (at, again):
                with armed(Killer(moment, mode), monkeypatch, small.journals):
                    small.carry(tiers)
                small.require_everything()
            assert small.carry(tiers) == outcomes, (at, again)
            small.require_one_place()


def test_the_killer_kills(stage, monkeypatch):
    small = Small(*stage)
    killer = Killer(9)
    with armed(killer, monkeypatch, small.journals):
        small.carry(FIRST)
    assert killer.dead
    assert killer.count == 9
    assert files(small.output / "tiers") == {}

"""Kill placing into an object store at every system call and every request; nothing is ever lost."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from functools import partial

import pytest

from killing import MODES, Killer, armed
from placing_world import files, parts, tree
from tierflow import plugins
from tierflow.objectstore.connect import connect, place_at
from tierflow.tiers import acts
from tierflow.tiers.acts import Want
from tierflow.tiers.carry import carry
from tierflow.tiers.journal import open_journal
from tierflow.tiers.undo import undo
from tierflow.tiers.verify import verify

ROOT = "memory://tiers"
DRIVERS = {"A": "copy", "B": "move", "C": "trash", "D": "move"}
FIRST = {"kept": "A", "moved": "B", "pointer": "B", "local": "D"}
SECOND = {"kept": "B", "moved": "D", "pointer": "C", "local": "B"}
TIME_NS = 1_600_000_000_123_456_789
REQUESTS = ("put", "delete", "head")
ALL_MODES = (*MODES, "answer lost")

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_at_a_time(monkeypatch):
    monkeypatch.setattr(acts, "BATCH", 3)
    monkeypatch.setattr(acts, "TRANSFERS", 1)
    monkeypatch.setattr(os, "fsync", lambda handle: None)


class Small:
    """Files and a link in an input folder; tiers A to C lie in a store, D in the output."""

    def __init__(self, base) -> None:
        self.input, self.output, self.target = base / "in", base / "out", base / "target.tif"
        for folder in (self.input, self.output):
            _empty(folder)
        for key in stored():
            connect(ROOT).delete(key)
        self.output.mkdir(parents=True)
        (self.input / "p").mkdir(parents=True)
        self.contents = {name: f"content of {name}".encode() for name in FIRST if name != "pointer"}
        for name, content in self.contents.items():
            path = self.input / "p" / name
            path.write_bytes(content)
            os.utime(path, ns=(TIME_NS, TIME_NS))
        self.target.write_bytes(b"content of target")
        pointer = self.input / "p" / "pointer"
        pointer.symlink_to(self.target)
        os.utime(pointer, ns=(TIME_NS, TIME_NS), follow_symlinks=False)

    def carry(self, tiers):
        wants = [self._want(name, tier) for name, tier in tiers.items()]
        drivers = {name: plugins.load("tiers", name)() for name in DRIVERS.values()}
        with open_journal(self.output, "00000", cut="one", ids=[want.object_id for want in wants]) as journal:
            return carry(journal, wants, drivers)

    def _want(self, name, tier):
        content = self.contents.get(name, b"content of target")
        folder = self.output / "tiers" / tier if tier == "D" else place_at(f"{ROOT}/{tier}")
        return Want(
            object_id=hashlib.sha256(name.encode()).hexdigest()[:32],
            source=self.input / "p" / name,
            tier=tier,
            driver=DRIVERS[tier],
            wanted=folder / "p" / name,
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
            mtime_ns=TIME_NS,
        )

    @property
    def journals(self):
        return self.output / "journal"

    def layout(self):
        return tree(self.input), files(self.output / "tiers"), stored()

    def require_everything(self):
        """Every content stands whole under a real name, whatever the moment of the kill."""
        found = {**files(self.input), **files(self.output / "tiers"), **stored()}
        finished = [content for name, content in found.items() if not name.endswith(".part")]
        local = [c for folder in (self.input, self.output / "tiers") for c in files(folder).values()]
        assert {*finished, *local} >= set(self.contents.values())
        assert self.target.read_bytes() == b"content of target"

    def require_one_place(self):
        report = verify(self.output)
        assert report.ok, report
        assert not report.foreign
        assert not report.leftovers
        assert not [key for key in stored() if key.endswith(".part")]
        assert not parts(self.output)
        assert not parts(self.input)

    def require_undone(self, before):
        assert tree(self.input) == before
        assert not (self.output / "tiers").exists()
        assert stored() == {}


def _empty(folder):
    for path in sorted(folder.rglob("*"), reverse=True) if folder.exists() else ():
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    if folder.exists():
        folder.rmdir()


def stored():
    store = connect(ROOT)
    try:
        return {head.key: b"".join(store.chunks(head.key)) for head in list(store.scan(""))}
    except FileNotFoundError:
        return {}


@contextmanager
def killing(killer, monkeypatch, journals):
    """Like `armed`, and between the program and the store: before a request, or after it, its answer unheard."""
    store = connect(ROOT)
    with monkeypatch.context() as patch:
        for name in REQUESTS:
            patch.setattr(store, name, partial(killer.call, name, getattr(store, name)))
        with armed(killer, monkeypatch, journals):
            yield


def moments(act, mode, monkeypatch, journals):
    killer = Killer(at=0)
    with killing(killer, monkeypatch, journals):
        act()
    wanted = {"torn": ("write",), "answer lost": REQUESTS}.get(mode)
    found = [at for at, name in enumerate(killer.names, start=1) if wanted is None or name in wanted]
    # What a power cut adds is the loss of lines that weren't synced, which many calls in a row have in common.
    return found[::3] if mode == "power" else found


def killer_of(at, mode):
    # Behind a request the whole process is gone; what it did at the store stands.
    return Killer(at, "after" if mode == "answer lost" else mode)


def prepared(base, scenario):
    small = Small(base)
    if scenario == "first placement":
        return small, FIRST
    small.carry(FIRST)
    return small, SECOND


@pytest.mark.parametrize("mode", ALL_MODES)
@pytest.mark.parametrize("scenario", ["first placement", "another tier"])
def test_place_killed_at_every_call(scenario, mode, tmp_path, monkeypatch):
    small, tiers = prepared(tmp_path, scenario)
    outcomes = []
    points = moments(lambda: outcomes.extend(small.carry(tiers)), mode, monkeypatch, small.journals)
    layout = small.layout()
    assert {outcome.placement for outcome in outcomes} == {"placed"}
    assert len(points) > (4 if mode == "torn" else 15)
    for at in points:
        small, tiers = prepared(tmp_path, scenario)
        with killing(killer_of(at, mode), monkeypatch, small.journals):
            small.carry(tiers)
        small.require_everything()
        assert small.carry(tiers) == outcomes, at
        assert small.layout() == layout, at
        small.require_one_place()


@pytest.mark.parametrize("mode", ALL_MODES)
def test_undo_killed_at_every_call(mode, tmp_path, monkeypatch):
    small = Small(tmp_path)
    before = tree(small.input)
    outcomes = small.carry(FIRST)
    points = moments(lambda: undo(small.output, dry_run=False), mode, monkeypatch, small.journals)
    small.require_undone(before)
    for number, at in enumerate(points):
        small = Small(tmp_path)
        small.carry(FIRST)
        with killing(killer_of(at, mode), monkeypatch, small.journals):
            undo(small.output, dry_run=False)
        small.require_everything()
        if number % 2:
            assert undo(small.output, dry_run=False).conflicts == [], at
            small.require_undone(before)
        else:
            assert small.carry(FIRST) == outcomes, at
            small.require_one_place()


@pytest.mark.parametrize("mode", ALL_MODES)
def test_undo_after_a_killed_place_brings_everything_back(mode, tmp_path, monkeypatch):
    before = tree(Small(tmp_path).input)
    small, tiers = prepared(tmp_path, "another tier")
    points = moments(lambda: small.carry(tiers), mode, monkeypatch, small.journals)
    for at in points:
        small, tiers = prepared(tmp_path, "another tier")
        with killing(killer_of(at, mode), monkeypatch, small.journals):
            small.carry(tiers)
        assert undo(small.output, dry_run=False).conflicts == [], at
        small.require_undone(before)

"""Contract suite of tier drivers for object stores: subclass `StoreDriverContract`, set `driver`, give a root."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

import pytest

from tierflow.errors import ObjectError
from tierflow.objectstore.connect import StorePath, place_at
from tierflow.objectstore.uploads import FOLDER
from tierflow.testing.tiers import CONTENT, MODE, NAMES, OBJECT_ID, SHA256, carry_all, make_origin
from tierflow.tiers.base import Order, Placed
from tierflow.tiers.files import look
from tierflow.tiers.undo import undo
from tierflow.tiers.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

    from tierflow.tiers.acts import Outcome
    from tierflow.tiers.base import Made, TierDriver


class StoreDriverContract:
    """What every driver that takes URLs keeps. `driver` is the class that the entry point names."""

    driver: ClassVar[type[TierDriver]]

    @pytest.fixture
    def root(self) -> StorePath:
        """Give an empty place in a store; a subclass overrides this.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("give the fixture `root`: an empty place in a store")

    def test_says_that_it_takes_urls(self) -> None:
        """Only drivers that say so are given places in stores."""
        assert getattr(self.driver, "takes_urls", False) is True

    def test_content_arrives_and_origin_stays(self, tmp_path: Path, root: StorePath) -> None:
        """The content stands under the key, nothing else does, and the origin stays."""
        origin = make_origin(tmp_path)
        made = self._publish(origin, root / "x.tif")
        assert (root / "x.tif").read_bytes() == CONTENT
        assert origin.read_bytes() == CONTENT
        assert (made.how, made.sha256, made.mode) == ("copy", SHA256, MODE)
        assert _keys(root) == ["x.tif"]

    def test_never_overwrites(self, tmp_path: Path, root: StorePath) -> None:
        """A key that is taken keeps what it holds."""
        (tmp_path / "other").write_bytes(b"someone else's")
        self.driver().publish(Order("f" * 32, tmp_path / "other", root / "x.tif"))
        with pytest.raises(FileExistsError):
            self._publish(make_origin(tmp_path), root / "x.tif")
        assert (root / "x.tif").read_bytes() == b"someone else's"
        assert _keys(root) == ["x.tif"]

    def test_refuses_what_it_can_not_hold(self, tmp_path: Path, root: StorePath) -> None:
        """A pipe, a folder, a vanished file and a link that leads nowhere are refused; nothing is left."""
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "folder").mkdir()
        (tmp_path / "dangling").symlink_to("nowhere")
        for name in ("pipe", "folder", "gone", "dangling"):
            with pytest.raises((OSError, ObjectError), match=name):
                self.driver().publish(Order(OBJECT_ID, tmp_path / name, root / name))
        assert _keys(root) == []

    def test_changed_content_is_not_placed(self, tmp_path: Path, root: StorePath) -> None:
        """A file that isn't the measured one is refused; nothing is left."""
        origin = make_origin(tmp_path)
        origin.write_bytes(b"another content")
        with pytest.raises(ObjectError, match="changed"):
            self._publish(origin, root / "x.tif")
        assert _keys(root) == []

    def test_verify_tells_right_from_wrong(self, tmp_path: Path, root: StorePath) -> None:
        """Verification passes at first, and finds damage and absence."""
        origin, destination = make_origin(tmp_path), root / "x.tif"
        made = self._publish(origin, destination)
        placed = Placed(origin, destination, made.how, made.sha256, made.stamp, made.link_text)
        driver = self.driver()
        assert driver.verify(placed, hash_files=True) is None
        assert driver.verify(placed, hash_files=False) is None
        destination.store.delete(destination.key)
        (tmp_path / "damaged").write_bytes(b"D" + CONTENT[1:])
        driver.publish(Order("f" * 32, tmp_path / "damaged", destination))
        assert "SHA-256" in str(driver.verify(placed, hash_files=True))
        destination.store.delete(destination.key)
        assert "missing" in str(driver.verify(placed, hash_files=False))

    def test_hostile_names_come_and_go(self, tmp_path: Path, root: StorePath) -> None:
        """Place through the journal, again without effect, then undo: everything is back, byte for byte."""
        for name in NAMES:
            make_origin(tmp_path, name)
        before = {path: _facts(path) for path in (tmp_path / "in").iterdir()}
        first = self._carry(tmp_path, root)
        assert [outcome.problem for outcome in first] == [None] * len(NAMES)
        journal = (tmp_path / "out/journal/00000.jsonl").read_bytes()
        assert self._carry(tmp_path, root) == first
        assert (tmp_path / "out/journal/00000.jsonl").read_bytes() == journal
        for name, outcome in zip(NAMES, first, strict=True):
            assert isinstance(outcome.destination, StorePath)
            assert outcome.destination.read_bytes() == CONTENT
            assert (look(tmp_path / "in" / name) is None) == self.driver.consumes
        report = verify(tmp_path / "out")
        assert report.ok
        assert report.foreign == []
        assert undo(tmp_path / "out", dry_run=False).conflicts == []
        assert {path: _facts(path) for path in (tmp_path / "in").iterdir()} == before
        assert _keys(root) == []

    def _publish(self, origin: Path, destination: StorePath) -> Made:
        ledger = origin.parent.parent / "out" / FOLDER
        return self.driver().publish(Order(OBJECT_ID, origin, destination, SHA256, ledger=ledger))

    def _carry(self, base: Path, root: StorePath) -> list[Outcome]:
        return carry_all(self.driver(), base, {name: root / "A" / name for name in NAMES})


def fresh_root(url: str) -> StorePath:
    """Return a place in a store.

    Args:
        url: Its URL, which must lie in an object store.
    """
    place = place_at(url)
    assert isinstance(place, StorePath)
    return place


def _keys(root: StorePath) -> list[str]:
    prefix = f"{root.key}/" if root.key else ""
    try:
        return [head.key.removeprefix(prefix) for head in root.store.scan(prefix)]
    except FileNotFoundError:
        return []


def _facts(path: Path) -> tuple[object, ...]:
    info = path.lstat()
    return path.read_bytes(), info.st_mode, info.st_mtime_ns

"""Contract suite of tier drivers: subclass `TierDriverContract`, set `driver`, and pytest runs it.

```python
class TestMyDriver(TierDriverContract):
    driver = my_package.MyDriver
```
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from typing import TYPE_CHECKING, ClassVar

from tierflow.errors import ObjectError
from tierflow.tiers.acts import Want
from tierflow.tiers.base import Made, Order, Placed
from tierflow.tiers.carry import carry
from tierflow.tiers.files import look
from tierflow.tiers.journal import open_journal
from tierflow.tiers.undo import undo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tierflow.objectstore.connect import Place
    from tierflow.tiers.acts import Outcome
    from tierflow.tiers.base import TierDriver

CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MTIME_NS = 1_234_567_890_000_000_000
"""Whole seconds, so that a tier whose file system keeps no fractions passes."""
MODE = 0o640
OBJECT_ID = hashlib.sha256(b"object").hexdigest()[:32]
NAMES = ("plain.tif", "with space.tif", "quote'\".tif", "new\nline.tif", "ünï😀.tif", "-rf", "a" * 200 + ".tif")
"""Names that broke a program somewhere."""


class TierDriverContract:
    """What every driver that makes destinations keeps. `driver` is the class that the entry point names."""

    driver: ClassVar[type[TierDriver]]

    def test_says_what_it_is(self) -> None:
        """Name, traits and folder are such that the configuration and the output can hold them."""
        driver = self.driver()
        assert re.fullmatch(r"[a-z][a-z0-9_]*", driver.name)
        assert driver.places is True
        assert isinstance(driver.consumes, bool)
        assert driver.folder
        assert os.sep not in driver.folder

    def test_destination_has_the_content_and_origin_stays(self, tmp_path: Path) -> None:
        """Content, time and permission bits arrive; the origin stays; nothing else is left in the folder."""
        origin, destination = make_origin(tmp_path), tmp_path / "tier" / "x.tif"
        made = self._publish(origin, destination)
        assert destination.read_bytes() == CONTENT
        assert origin.read_bytes() == CONTENT
        assert destination.stat().st_mtime_ns == MTIME_NS
        assert stat.S_IMODE(destination.stat().st_mode) == MODE
        assert made.sha256 == SHA256
        assert made.mode == MODE
        assert [path.name for path in destination.parent.iterdir()] == ["x.tif"]

    def test_never_overwrites(self, tmp_path: Path) -> None:
        """A file, a link and a folder that has the name stay as they are."""
        origin, destination = make_origin(tmp_path), tmp_path / "tier" / "x.tif"
        destination.parent.mkdir()
        for make in (_put_file, _put_dangling_link, _put_folder):
            make(destination)
            before = os.lstat(destination)
            try:
                self._publish(origin, destination)
            except FileExistsError:
                pass
            else:
                raise AssertionError(f"{make.__name__}: no FileExistsError although the name is taken")
            assert os.path.samestat(before, os.lstat(destination))
            assert origin.read_bytes() == CONTENT
            assert [path.name for path in destination.parent.iterdir()] == ["x.tif"]
            (destination.rmdir if make is _put_folder else destination.unlink)()

    def test_refuses_what_is_not_a_file(self, tmp_path: Path) -> None:
        """A pipe and a folder are refused by name, without blocking."""
        (tmp_path / "tier").mkdir()
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "folder").mkdir()
        for name in ("pipe", "folder"):
            message = _refusal(self.driver(), tmp_path / name, tmp_path / "tier" / name)
            assert name in message
            assert not list((tmp_path / "tier").iterdir())

    def test_vanished_origin_leaves_nothing(self, tmp_path: Path) -> None:
        """An origin that is gone is an error and leaves no name behind."""
        (tmp_path / "tier").mkdir()
        assert _refusal(self.driver(), tmp_path / "gone", tmp_path / "tier" / "gone")
        assert not list((tmp_path / "tier").iterdir())

    def test_link_that_leads_nowhere_is_kept_as_it_is(self, tmp_path: Path) -> None:
        """A dangling and a looping link are made again to the letter."""
        (tmp_path / "tier").mkdir()
        for text in ("nowhere//at all", "loop"):
            origin, destination = tmp_path / "loop", tmp_path / "tier" / "loop"
            origin.symlink_to(text)
            made = self.driver().publish(Order(OBJECT_ID, origin, destination, None))
            assert os.readlink(destination) == text  # noqa: PTH115  (pathlib would tidy the text)
            assert made.link_text == text
            origin.unlink()
            destination.unlink()

    def test_link_is_followed_and_its_target_stays(self, tmp_path: Path) -> None:
        """A link to a file is placed as that file; link and target stay."""
        target, origin, destination = make_origin(tmp_path), tmp_path / "pointer", tmp_path / "tier" / "pointer"
        origin.symlink_to("in/x.tif")
        made = self._publish(origin, destination)
        assert destination.read_bytes() == CONTENT
        assert made.link_text == "in/x.tif"
        assert target.read_bytes() == CONTENT
        assert origin.is_symlink()

    def test_verify_tells_right_from_wrong(self, tmp_path: Path) -> None:
        """Verification passes at first, and finds damage and absence."""
        origin, destination = make_origin(tmp_path), tmp_path / "tier" / "x.tif"
        made = self._publish(origin, destination)
        placed = Placed(origin, destination, made.how, made.sha256, made.stamp, made.link_text)
        driver = self.driver()
        assert driver.verify(placed, hash_files=True) is None
        assert driver.verify(placed, hash_files=False) is None
        with destination.open("r+b") as stream:
            stream.write(b"damage")
        assert driver.verify(placed, hash_files=True)
        destination.unlink()
        assert driver.verify(placed, hash_files=False)

    def test_hostile_names_come_and_go(self, tmp_path: Path) -> None:
        """Place through the journal, again without effect, then undo: everything is back, byte for byte."""
        for name in NAMES:
            make_origin(tmp_path, name)
        (tmp_path / "in" / "pointer").symlink_to("plain.tif")
        before = {path: _facts(path) for path in (tmp_path / "in").iterdir()}
        names = [*NAMES, "pointer"]
        first = self._carry(tmp_path, names)
        assert [outcome.problem for outcome in first] == [None] * len(names)
        journal = (tmp_path / "out/journal/00000.jsonl").read_bytes()
        assert self._carry(tmp_path, names) == first
        assert (tmp_path / "out/journal/00000.jsonl").read_bytes() == journal
        for name, outcome in zip(names, first, strict=True):
            source = tmp_path / "in" / name
            assert outcome.destination is not None
            assert outcome.destination.read_bytes() == CONTENT
            assert (look(source) is None) == self.driver.consumes
        assert undo(tmp_path / "out", dry_run=False).conflicts == []
        assert {path: _facts(path) for path in (tmp_path / "in").iterdir()} == before
        assert not (tmp_path / "out" / self.driver.folder).exists()

    def _publish(self, origin: Path, destination: Path) -> Made:
        destination.parent.mkdir(exist_ok=True)
        return self.driver().publish(Order(OBJECT_ID, origin, destination, SHA256))

    def _carry(self, base: Path, names: Sequence[str]) -> list[Outcome]:
        driver = self.driver()
        return carry_all(driver, base, {name: base / "out" / driver.folder / "A" / name for name in names})


def _refusal(driver: TierDriver, origin: Path, destination: Path) -> str:
    try:
        driver.publish(Order(OBJECT_ID, origin, destination, None))
    except (OSError, ObjectError) as error:
        return str(error)
    raise AssertionError(f"{origin} was placed")


def carry_all(driver: TierDriver, base: Path, wanted: Mapping[str, Place]) -> list[Outcome]:
    """Place files of folder `in` of a folder through the journal of its folder `out`.

    Args:
        driver: The driver.
        base: The folder.
        wanted: Destination of each file, by name.
    """
    wants = [
        Want(
            object_id=hashlib.sha256(name.encode()).hexdigest()[:32],
            source=base / "in" / name,
            tier="A",
            driver=driver.name,
            wanted=destination,
            sha256=SHA256,
            size=len(CONTENT),
            mtime_ns=MTIME_NS,
        )
        for name, destination in wanted.items()
    ]
    with open_journal(base / "out", "00000") as journal:
        return carry(journal, wants, {driver.name: driver})


def make_origin(base: Path, name: str = "x.tif") -> Path:
    """Make a file with known content, time and permission bits in folder `in` of a folder; return its path."""
    path = base / "in" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(CONTENT)
    path.chmod(MODE)
    os.utime(path, ns=(MTIME_NS, MTIME_NS))
    return path


def _facts(path: Path) -> tuple[object, ...]:
    info = path.lstat()
    return path.read_bytes(), path.is_symlink(), stat.S_IMODE(info.st_mode), info.st_mtime_ns


def _put_file(path: Path) -> None:
    path.write_bytes(b"someone else's")


def _put_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def _put_folder(path: Path) -> None:
    path.mkdir()

"""The simulated instrument: order, times, manners of writing, and that nothing is ever overwritten."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tierflow.cli import run_cli
from tierflow.errors import ConfigError
from tierflow.io.layouts.base import Names
from tierflow.stream.simulate import Frame, acquisition_order, frames, parse_rate, repeated, schedule
from tierflow.stream.simulate_write import PIECES, Instrument

if TYPE_CHECKING:
    from pathlib import Path

    from tierflow.stream.simulate import Writer


def test_rates_are_read_in_any_unit() -> None:
    """Images per second come out; nonsense is refused with an example."""
    assert [parse_rate(text) for text in ("20/s", "90/min", "1800 / h", "max")] == [20, 1.5, 0.5, None]
    for text in ("", "20", "0/s", "-1/s", "fast", "1/w"):
        with pytest.raises(ConfigError, match="20/s"):
            parse_rate(text)


def test_order_is_that_of_a_microscope() -> None:
    """Time points first, then wells in serpentine order, sites as numbers, then z and channel."""
    wanted = [
        Names("p", "A01", 1, 1, "2", "w1", timepoint=1),
        Names("p", "A01", 1, 1, "2", "w2", timepoint=1),
        Names("p", "A01", 1, 1, "10", "w1", timepoint=1),
        Names("p", "A02", 1, 2, "1", "w1", timepoint=1),
        Names("p", "B02", 2, 2, "1", "w1", timepoint=1),
        Names("p", "B01", 2, 1, "1", "w1", timepoint=1),
        Names("p", "A01", 1, 1, "2", "w1", timepoint=2),
    ]
    mixed = [wanted[i] for i in (3, 6, 0, 5, 2, 4, 1)]
    order = acquisition_order(mixed, [b"%d" % i for i in range(7)])
    assert [mixed[i] for i in order] == wanted


def test_patterns_have_the_same_mean_rate() -> None:
    """All files come once; bursts come together, wells fast; the last group begins when its turn is."""
    names = [Names("p", f"A{well:02d}", 1, well, str(site)) for well in range(1, 5) for site in range(5)]
    once = frames(names, [b"%02d" % i for i in range(20)], [1] * 20)
    steady = [at for at, _ in schedule(iter(once), rate=2, pattern="steady", burst=5)]
    burst = [at for at, _ in schedule(iter(once), rate=2, pattern="burst", burst=5)]
    plate = [at for at, _ in schedule(iter(once), rate=2, pattern="plate", burst=5)]
    assert steady == [number / 2 for number in range(20)]
    assert burst == [0.0] * 5 + [2.5] * 5 + [5.0] * 5 + [7.5] * 5
    assert plate == pytest.approx([well * 2.5 + site / 10 for well in range(4) for site in range(5)])
    assert [at for at, _ in schedule(iter(once), rate=None, pattern="plate", burst=5)] == [0.0] * 20


def test_a_source_that_is_too_small_is_told_again_under_other_names() -> None:
    """Every target name is unique, and the count is exact."""
    once = [Frame(b"a.tif", b"a.tif", "g", 1), Frame(b"b.tif", b"b.tif", "g", 1)]
    assert [frame.target for frame in repeated(once, 5)] == [
        b"a.tif",
        b"b.tif",
        b"repeat_0002/a.tif",
        b"repeat_0002/b.tif",
        b"repeat_0003/a.tif",
    ]
    assert list(repeated(once, None)) == list(repeated(once, 2))


@pytest.mark.parametrize("writer", ["rename", "slow", "append"])
def test_every_manner_of_writing_ends_with_the_same_bytes(tmp_path: Path, writer: Writer) -> None:
    """Slow writers show half files on the way, renaming ones never."""
    (tmp_path / "in").mkdir()
    content = bytes(range(256)) * 40
    (tmp_path / "in" / "ä b.tif").write_bytes(content)
    sizes: set[int] = set()
    seen = threading.Event()

    def look() -> None:
        path = tmp_path / "out" / "ä b.tif"
        while not seen.is_set():
            if path.exists():
                sizes.add(path.stat().st_size)
            time.sleep(0.002)

    watcher = threading.Thread(target=look)
    watcher.start()
    frame = Frame("ä b.tif".encode(), "ä b.tif".encode(), "g", len(content))
    player = Instrument(tmp_path / "in", tmp_path / "out", writer=writer, write_s=0.5, on_file=lambda _: None)
    done = player.play(iter([(0.0, frame)]), stop=threading.Event())
    time.sleep(0.05)
    seen.set()
    watcher.join()
    assert (tmp_path / "out" / "ä b.tif").read_bytes() == content
    assert (done.written, done.bytes, done.there) == (1, len(content), 0)
    assert (len(sizes) == 1) == (writer == "rename")
    assert all(size in {len(content) * n // PIECES for n in range(PIECES + 1)} for size in sizes)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["ä b.tif"]


def test_the_command_goes_on_where_it_stopped_and_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second call leaves what is there, also when somebody changed it."""
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for number in range(3):
        (source / f"x{number}.tif").write_bytes(b"%d" % number)
    assert run_cli(["simulate", str(source), str(target), "--rate", "max", "--dry-run"]) == 0
    assert not target.exists()
    assert run_cli(["simulate", str(source), str(target), "--rate", "max", "--count", "2"]) == 0
    (target / "x0.tif").write_bytes(b"someone else's")
    assert run_cli(["simulate", str(source), str(target), "--rate", "max", "--count", "4"]) == 0
    found = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*.tif")}
    assert found == {"x0.tif": b"someone else's", "x1.tif": b"1", "x2.tif": b"2", "repeat_0002/x0.tif": b"0"}
    assert "2 were there already" in capsys.readouterr().err


def test_a_link_that_leads_nowhere_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "links").mkdir()
    for name, target in (("away.tif", "none.tif"), ("ring.tif", "ring.tif")):
        link = tmp_path / "links" / name
        link.symlink_to(target)
        assert run_cli(["simulate", str(tmp_path / "links"), str(tmp_path / "out"), "--rate", "max"]) == 66
        assert f"{name} is a link, and what it leads to can't be read" in capsys.readouterr().err
        link.unlink()


def test_wrong_folders_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A source that is missing or empty, and folders in each other."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    assert run_cli(["simulate", str(tmp_path / "none"), str(tmp_path / "out")]) == 66
    assert run_cli(["simulate", str(tmp_path / "in"), str(tmp_path / "in" / "deep")]) == 78
    assert run_cli(["simulate", str(tmp_path / "in"), str(tmp_path / "out")]) == 66
    messages = capsys.readouterr().err
    assert "lie in each other" in messages
    assert "no image files" in messages

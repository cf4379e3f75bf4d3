"""A start while the input is away, after a process that was killed amid its work: it waits, and then goes on."""

from __future__ import annotations

import pytest
from exact import hashes_below, require_exact

from stream_world import StreamWorld
from tierflow.stream.states import State
from tierflow.stream.status import status_of


@pytest.fixture
def unfinished(watching, tmp_path):
    """Make an output in which one batch is measured and not yet recorded, and take the input away."""
    world = StreamWorld(tmp_path)
    for name in ("a.tif", "b.tif"):
        world.write(name)
    world.commit("a.tif")
    world.measured("b.tif")
    world.ledger.close()
    here = watching({"dataset": "in"})
    here.root.rename(tmp_path / "away")
    here.root.mkdir()
    return here


def problem(here):
    return status_of(here.output)["service"].get("problem")


def test_it_goes_on_when_the_input_is_back(unfinished, tmp_path):
    here = unfinished
    here.start()
    here.until(lambda: "went away" in (problem(here) or ""))
    assert here.counts()[State.LOST_SOURCE] == 0
    here.root.rmdir()
    (tmp_path / "away").rename(here.root)
    here.write("c.tif")
    here.until_done(3)
    here.until(lambda: problem(here) is None)
    assert here.stop() == 0
    require_exact(here.output, hashes_below(here.root))


def test_it_ends_when_told_to(unfinished):
    here = unfinished
    here.start()
    here.until(lambda: "went away" in (problem(here) or ""))
    assert here.stop() == 0
    assert here.counts()[State.RUNNING] == 1


def test_what_is_to_end_by_itself_does_so_at_once(unfinished):
    """A person, or a job of a cluster, is told instead of waiting for nobody knows how long."""
    here = unfinished
    assert here.start("--once").wait() == 75
    assert "went away" in here.said()

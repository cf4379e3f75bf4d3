"""A full disk under the output or a tier, and a share that is unmounted and mounted again: seen, survived, exact."""

from __future__ import annotations

import shutil
import subprocess
import time

import pytest
from arriving import Arriving
from exact import hashes_below, require_exact
from mounting import fill, mount, small_disk, unmount

from misbehaving import SLOW, install_misbehaving
from tierflow.stream.states import ENDED, State
from tierflow.stream.status import status_of

pytestmark = pytest.mark.slow

SETTINGS = {
    "stream": {
        "batches": {"workers": 1},
        "rescan_s": 1.0,
        "complete": {"quiet_s": 0.5},
        "retry": {"backoff_s": 0.3, "backoff_most_s": 2.0},
    },
    "score": {"function": "random"},
}


def settled(here, written):
    """Return whether everything that was written came to an end."""
    counts = here.counts()
    return sum(counts.values()) == len(written) == sum(counts[state] for state in ENDED)


def drain(here):
    """Let it end by itself."""
    here.ask("drain")
    assert here.wait() == 0


def statuses(here, seconds):
    """Return how it stood, seen from outside, from moment to moment."""
    end, found = time.monotonic() + seconds, []
    while time.monotonic() < end:
        found.append(status_of(here.output))
        time.sleep(0.25)
    return found


def test_a_tier_that_is_full_for_10_s(watching, tmp_path):
    with small_disk(tmp_path / "tier", mb=4) as tier:
        tiers = {name: {"driver": driver, "root": str(tier / name)} for name, driver in (("A", "copy"), ("B", "move"))}
        tiers |= {"C": {"driver": "link"}, "D": {"driver": "move"}}
        here = watching(SETTINGS | {"tiers": tiers}).start()
        with Arriving(here.root, seed=1, rate=4.0) as arriving:
            here.until(lambda: here.counts()[State.DONE] >= 8)
            ballast = fill(tier)
            seen = statuses(here, 10)
            ballast.unlink()
            done = here.counts()[State.DONE]
            here.until(lambda: here.counts()[State.DONE] > done)
        problems = {status["service"]["problem"] for status in seen} - {None}
        assert any("make room" in problem or "No space left" in problem for problem in problems), problems
        here.until(lambda: settled(here, arriving.written))
        here.until(lambda: status_of(here.output)["service"]["problem"] is None)
        drain(here)
        require_exact(here.output, arriving.written)


def test_an_output_that_is_full_for_10_s(watching, tmp_path):
    with small_disk(tmp_path / "out", mb=24) as disk:
        # What a tier has taken can't be measured again when its record couldn't be written.
        here = watching(SETTINGS | {"tiers": {name: {"driver": "move"} for name in "ABCD"}}).start()
        with Arriving(here.root, seed=2, rate=4.0) as arriving:
            here.until(lambda: here.counts()[State.DONE] >= 8)
            ballast = fill(disk)
            seen = statuses(here, 10)
            assert here.process is not None
            assert here.process.poll() is None, here.said()
            ballast.unlink()
            done = here.counts()[State.DONE]
            here.until(lambda: here.counts()[State.DONE] > done)
        here.until(lambda: settled(here, arriving.written))
        # The ledger lies on that disk too: either the reason could still be written down, or the silence shows.
        shown = [s["service"].get("problem") or s["service"]["silent_s"] > 5 for s in seen]
        assert any(shown), [s["service"] for s in seen]
        assert "make room" in here.said()
        drain(here)
        require_exact(here.output, arriving.written)


@pytest.mark.parametrize("device", ["same", "other"])
def test_a_share_that_is_away_for_a_while(watching, tmp_path, may_mount, device):
    """Unmounted amid the measuring of a batch; when it comes back, some file systems have another device number."""
    share, other = tmp_path / "share", tmp_path / "other"
    share.mkdir()
    here = watching(
        SETTINGS | {"extract": {"extractors": ["image_quality", "misbehaving"]}},
        {"PYTHONPATH": install_misbehaving(tmp_path / "plugin")},
    )
    with small_disk(other, mb=8):
        assert mount("--bind", share, here.root)
        try:
            here.write(*(f"p/quick{n}.tif" for n in range(4)))
            here.start()
            here.until_done(4)
            for n in range(3):
                here.write(f"p/slow{n}.tif", value=SLOW)
            here.until(lambda: here.counts()[State.RUNNING] == 3)
            # Others are begun when their files are out of reach already.
            here.write(*(f"p/next{n}.tif" for n in range(3)))
            here.until(lambda: here.counts()[State.READY] == 3)
            unmount(here.root, lazily=True)
            here.until(lambda: status_of(here.output)["watcher"]["state"] == "root_lost")
            # An instrument goes on writing to the server.
            back = share
            if device == "other":
                shutil.copytree(share, other, dirs_exist_ok=True)
                back = other
            for n in range(5):
                with Arriving(back, seed=n, rate=1.0) as instrument:
                    instrument.one(f"p/later{n}.tif", (share / "p" / f"quick{n % 4}.tif").read_bytes() + bytes([n]))
            # Longer than what a worker has under way.
            time.sleep(5)
            counts = here.counts()
            assert counts[State.LOST_SOURCE] == counts[State.QUARANTINED] == 0
            assert sum(counts.values()) == 10
            assert mount("--bind", back, here.root)
            here.write("p/last.tif")
            written = hashes_below(here.root)
            assert len(written) == 16
            here.until(lambda: settled(here, written))
            here.until(lambda: status_of(here.output)["watcher"]["state"] == "ok")
            assert not here.news("lost_source", "quarantined", "failed")
            # What vanishes from now on is really gone, whatever the number of the device.
            (brief,) = here.write("p/brief.tif", value=SLOW)
            here.until(lambda: here.counts()[State.RUNNING] > 0)
            brief.unlink()
            here.until(lambda: here.counts()[State.LOST_SOURCE] == 1)
            here.write("p/brief.tif")
            written = hashes_below(here.root)
            here.until(lambda: settled(here, written))
            drain(here)
            require_exact(here.output, written)
        finally:
            here.kill()
            subprocess.run(["umount", "--lazy", str(here.root)], check=False, capture_output=True)

"""A worker that hangs, one that is stopped, and a watcher that is stopped: only what is at fault is given up."""

from __future__ import annotations

import os
import signal
import time

import pytest
from exact import hashes_below, require_exact

from misbehaving import HANGS, install_misbehaving
from tierflow import open as open_results
from tierflow.stream.states import State

pytestmark = pytest.mark.slow

SETTINGS = {
    "extract": {"extractors": ["image_quality", "misbehaving"]},
    "stream": {
        "batches": {"workers": 2},
        "rescan_s": 1.0,
        "retry": {"backoff_s": 0.1, "attempts": 2, "hang_s": 2.0},
    },
}


def test_an_image_that_hangs_its_worker_is_given_up_and_no_other(watching, tmp_path):
    here = watching(SETTINGS, {"PYTHONPATH": install_misbehaving(tmp_path / "plugin")})
    here.write("hangs.tif", value=HANGS)
    here.write(*(f"good{n}.tif" for n in range(3)))
    here.start("--once")
    assert here.wait() == 0
    require_exact(here.output, hashes_below(here.root), quarantined=frozenset({"hangs.tif"}))
    found = open_results(here.output).search("tier:quarantine flag:poison", columns=["path", "reason"], limit=None)
    (record,) = found.to_arrow().to_pylist()
    assert record["path"] == "hangs.tif"
    assert "silent" in record["reason"]


def test_processes_that_are_stopped_and_go_on_cost_nothing(watching, tmp_path):
    """SIGSTOP for longer than a worker may be silent: what didn't run for a while is not what hangs."""
    here = watching(SETTINGS, {"PYTHONPATH": install_misbehaving(tmp_path / "plugin")}).start()
    here.write(*(f"a{n}.tif" for n in range(3)))
    here.until_done(3)
    pids = [here.pid, *here.workers()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    here.write(*(f"b{n}.tif" for n in range(30)))
    time.sleep(4)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    here.until_done(33)
    # A worker alone: it is ended, its images are measured by another.
    for pid in here.workers():
        os.kill(pid, signal.SIGSTOP)
    here.write(*(f"c{n}.tif" for n in range(10)))
    here.until_done(43)
    assert here.counts()[State.DONE] == 43
    here.ask("drain")
    assert here.wait() == 0
    require_exact(here.output, hashes_below(here.root))

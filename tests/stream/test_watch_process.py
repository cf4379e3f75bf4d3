"""`tierflow watch` as a process: what arrives ends in the catalogue, once, whatever happens to the processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from misbehaving import KILLS, SLOW, install_misbehaving
from tierflow import open as open_results
from tierflow.stream.states import State

pytestmark = pytest.mark.slow

ONE_WORKER = {"stream": {"batches": {"workers": 1}, "rescan_s": 2.0, "retry": {"backoff_s": 0.1, "attempts": 2}}}


def catalogue_of(here) -> list[str]:
    """Return the paths in the catalogue, each as often as it is there."""
    return sorted(open_results(here.output).search("", columns=["path"], limit=None).to_arrow()["path"].to_pylist())


def test_what_is_there_is_handled_and_then_it_ends(watching):
    here = watching()
    here.write(*(f"p1/A01_s{n}.tif" for n in range(5)))
    here.start("--once")
    assert here.wait() == 0
    assert here.counts()[State.DONE] == 5
    assert catalogue_of(here) == [f"p1/A01_s{n}.tif" for n in range(5)]
    assert here.news("drained")


def test_what_arrives_is_handled_and_sigterm_ends_it_in_good_order(watching):
    here = watching(ONE_WORKER).start()
    for n in range(6):
        here.write(f"new/{n}.tif")
        time.sleep(0.1)
    here.until_done(6)
    workers = here.workers()
    assert here.stop(signal.SIGTERM) == 0
    assert here.counts()[State.DONE] == 6
    assert not [pid for pid in workers if alive(pid)]
    with here.ledger() as ledger:
        assert ledger.fact("service")["state"] == "stopped"
    assert len(catalogue_of(here)) == 6


def test_a_second_watcher_refuses_and_says_who_is_there(watching):
    here = watching(ONE_WORKER).start()
    here.write("one.tif")
    here.until_done(1)
    done = subprocess.run(here.command(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 75
    assert f"process {here.pid}" in done.stderr
    assert str(here.root) in done.stderr
    run = subprocess.run(
        [*here.command()[:3], "run", str(here.root), "--output", str(here.output)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 75


def test_a_missing_input_is_told(watching):
    here = watching()
    here.root.rmdir()
    done = subprocess.run(here.command(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 66
    assert "--wait-for-input" in done.stderr


def test_pause_resume_and_drain(watching):
    here = watching(ONE_WORKER).start()
    here.write("before.tif")
    here.until_done(1)
    here.ask("pause")
    here.until(lambda: {"paused": True} in here.news("state"))
    here.write("during.tif")
    here.until(lambda: here.counts()[State.READY] == 1)
    # A pause outlives a restart.
    assert here.stop() == 0
    here.start()
    here.until(lambda: here.process is not None and here.workers())
    time.sleep(1.0)
    assert here.counts()[State.READY] == 1
    here.ask("resume")
    here.until_done(2)
    here.write("last.tif")
    here.until(lambda: sum(here.counts().values()) == 3)
    here.ask("drain")
    assert here.wait() == 0
    here.start("--once")
    assert here.wait() == 0
    assert here.counts()[State.DONE] == 3


def test_a_killed_worker_costs_nothing(watching, tmp_path):
    here = watching(
        ONE_WORKER | {"extract": {"extractors": ["image_quality", "misbehaving"]}},
        {"PYTHONPATH": install_misbehaving(tmp_path / "plugin")},
    ).start()
    here.write("slow.tif", value=SLOW)
    here.until(lambda: here.counts()[State.RUNNING] == 1 and here.workers())
    for pid in here.workers():
        os.kill(pid, signal.SIGKILL)
    here.write("other.tif")
    here.until_done(2)
    assert here.counts()[State.DONE] == 2
    assert catalogue_of(here) == ["other.tif", "slow.tif"]


def test_a_poison_object_ends_in_quarantine_with_the_reason(watching, tmp_path):
    here = watching(
        ONE_WORKER | {"extract": {"extractors": ["image_quality", "misbehaving"]}},
        {"PYTHONPATH": install_misbehaving(tmp_path / "plugin")},
    )
    here.write("poison.tif", value=KILLS)
    here.write(*(f"good{n}.tif" for n in range(7)))
    here.start("--once")
    assert here.wait() == 0
    assert {row.path: row.state for row in here.rows()} == {
        b"poison.tif": State.QUARANTINED,
        **{b"good%d.tif" % n: State.DONE for n in range(7)},
    }
    found = open_results(here.output).search("tier:quarantine flag:poison", columns=["path", "reason"]).to_arrow()
    assert found["path"].to_pylist() == ["poison.tif"]
    assert "SIGKILL" in found["reason"][0].as_py()


@pytest.mark.parametrize("pause_s", [0.0, 0.4, 1.1])
def test_kill_9_of_the_watcher_loses_and_doubles_nothing(watching, pause_s):
    here = watching(ONE_WORKER)
    names = [f"P/B{n % 12 + 1:02d}_s{n}.tif" for n in range(60)]
    here.write(*names[:40])
    here.start()
    here.until(lambda: here.counts()[State.RUNNING] > 0)
    time.sleep(pause_s)
    workers = here.workers()
    assert here.stop(signal.SIGKILL) == -signal.SIGKILL
    end = time.monotonic() + 10
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < end, "a worker outlives its coordinator"
        time.sleep(0.05)
    here.write(*names[40:])
    here.start("--once")
    assert here.wait() == 0
    assert here.counts()[State.DONE] == 60
    assert catalogue_of(here) == sorted(names)


def alive(pid: int) -> bool:
    """Tell whether a process is there, and not only waits to be forgotten."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False

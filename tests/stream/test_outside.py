"""Measuring outside the watching process: by `tierflow work`, killed in the middle, and by Snakemake's `from_queue`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tierflow import open as open_results
from tierflow.stream import offers
from tierflow.stream.states import State

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = {"rescan_s": 2.0, "batches": {"where": "outside", "workers": 4, "max_objects": 3}}


class Elsewhere:
    """Programs that run beside the watching one, each with its log."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start one."""
        # Snakemake finds `tierflow` as a user does who has installed it.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with (self._folder / f"elsewhere-{len(self.running)}.log").open("wb") as log:
            self.running.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=os.environ | {"PATH": path},
                    start_new_session=True,
                )
            )
        return self.running[-1]

    def work(self, output: Path, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `tierflow work`."""
        return self.start(sys.executable, "-m", "tierflow", "work", str(output), "--workers", "1", *arguments)

    def snakemake(self, output: Path, *, batches: int) -> subprocess.Popen[bytes]:
        """Start Snakemake as the documentation says."""
        return self.start(
            *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflows" / "stream.smk")),
            *("--config", f"output={output}", f"batches={batches}"),
            *("--cores", "2", "--keep-going", "--queue-input-wait-time", "1"),
        )

    def said(self) -> str:
        """Return what they said."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self._folder.glob("elsewhere-*.log")))


@pytest.fixture
def elsewhere(tmp_path):
    """Make programs that run beside the watching one; those that still run at the end are ended."""
    made = Elsewhere(tmp_path)
    yield made
    for process in made.running:
        if process.poll() is None:
            process.kill()
            process.wait()
    sys.stderr.write(made.said())


def found(output: Path) -> list[str]:
    """Return the paths of all records."""
    return sorted(open_results(output).search("", columns=["path"]).to_arrow()["path"].to_pylist())


def verify(output: Path) -> str:
    """Return what `tierflow verify` says; it must be content."""
    done = subprocess.run(
        [sys.executable, "-m", "tierflow", "verify", str(output)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def until_claimed_by(here, output: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has a batch in hand."""
    here.until(lambda: any((output / offers.CLAIMED).glob("*.json")) and process.poll() is None)


def test_workers_come_and_go_and_one_is_killed(watching, elsewhere):
    here = watching({"stream": OUTSIDE | {"retry": {"backoff_s": 0.1, "hang_s": 4.0}}}).start()
    first = elsewhere.work(here.output, "--wait-for-stream")
    names = [f"P/A{n:02d}_s1.tif" for n in range(30)]
    # Large enough to be in the middle of something.
    here.write(*names[:15], size=1024)
    until_claimed_by(here, here.output, first)
    first.kill()
    first.wait()
    assert here.counts()[State.DONE] < 15
    second, third = (elsewhere.work(here.output) for _ in range(2))
    here.write(*names[15:])
    here.until_done(30)
    for process in (second, third):
        process.terminate()
        assert process.wait(60) == 0
    measured = [int(n) for n in re.findall(r"(\d+) micro-batches measured", elsewhere.said())]
    assert len(measured) == 2
    assert here.stop() == 0
    assert here.counts()[State.DONE] == 30
    assert found(here.output) == names
    verify(here.output)
    assert not list((here.output / ".tierflow" / "stream" / "batches").glob("*"))
    for folder in (offers.OFFERED, offers.CLAIMED, offers.BEGUN, offers.ANSWERED):
        assert not list((here.output / folder).glob("*")), folder


def test_the_death_of_a_process_of_work_is_told_at_once_and_counts(watching, elsewhere):
    """Nobody waits for its silence, which would last two minutes here."""
    here = watching({"stream": OUTSIDE | {"retry": {"backoff_s": 0.1}}}).start()
    worker = elsewhere.work(here.output, "--wait-for-stream")
    here.write("P/A01_s1.tif")
    here.until_done(1)
    [measuring] = children(worker.pid)
    os.kill(measuring, signal.SIGSTOP)
    here.write("P/A02_s1.tif")
    here.until(lambda: any((here.output / offers.CLAIMED).glob("*.json")))
    os.kill(measuring, signal.SIGKILL)
    here.until_done(2)
    assert [row.attempts for row in here.rows()] == [0, 1]
    assert here.counts()[State.DONE] == 2


def test_a_new_watcher_finds_the_workers_of_the_last_one(watching, elsewhere):
    """The watching process is killed; who measures for it neither ends nor answers for the former one."""
    here = watching({"stream": OUTSIDE | {"retry": {"backoff_s": 0.1, "hang_s": 4.0}}}).start()
    worker = elsewhere.work(here.output, "--wait-for-stream")
    names = [f"P/A{n:02d}_s1.tif" for n in range(12)]
    here.write(*names[:8], size=512)
    here.until(lambda: here.counts()[State.DONE] >= 1)
    here.stop(signal.SIGKILL)
    here.write(*names[8:])
    here.start("--once")
    assert here.wait() == 0
    assert worker.poll() is None
    assert here.counts()[State.DONE] == 12
    assert found(here.output) == names


def test_snakemake_measures_and_ends_by_itself(watching, elsewhere):
    here = watching({"stream": OUTSIDE | {"batches": {"where": "outside", "workers": 4, "max_objects": 1}}}).start()
    names = [f"P/A{n:02d}_s1.tif" for n in range(10)]
    here.write(*names[:3])
    here.until(lambda: here.counts()[State.RUNNING] >= 1)
    few = elsewhere.snakemake(here.output, batches=3)
    assert few.wait(300) == 0, elsewhere.said()
    here.until_done(3)
    here.write(*names[3:])
    rest = elsewhere.snakemake(here.output, batches=500)
    here.until_done(10)
    assert rest.poll() is None
    assert here.stop() == 0
    assert rest.wait(120) == 0, elsewhere.said()
    assert found(here.output) == names
    verify(here.output)


def test_a_job_of_snakemake_that_is_killed_costs_one_more_try(watching, elsewhere):
    settings = {"where": "outside", "workers": 4, "max_objects": 1}
    here = watching({"stream": OUTSIDE | {"batches": settings, "retry": {"backoff_s": 0.1, "hang_s": 3.0}}}).start()
    names = [f"P/A{n:02d}_s1.tif" for n in range(3)]
    # Large enough to be killed in the middle.
    here.write(*names, size=3000)
    here.until(lambda: here.counts()[State.RUNNING] >= 1)
    engine = elsewhere.snakemake(here.output, batches=500)
    begun = here.output / offers.BEGUN
    here.until(lambda: any(begun.glob("*.json")))
    [first, *_] = sorted(begun.glob("*.json"))
    os.kill(int(first.read_text()), signal.SIGKILL)
    here.until_done(3)
    assert here.stop() == 0
    # One of its jobs has failed.
    assert engine.wait(120) == 1
    assert here.counts()[State.DONE] == 3
    assert found(here.output) == names

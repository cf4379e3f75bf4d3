"""A warm process that measures micro-batches: extractors are imported and compiled once, then one batch after another.

Jobs come as lines of JSON on standard input, answers go as lines of JSON to standard output. The end of standard input
is the end of the process, whatever it does: nothing may go on measuring for a coordinator that was killed.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import resource
import select
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from tierflow import config_io, tables
from tierflow.clock import utc_now
from tierflow.errors import TierflowError, exit_code_of
from tierflow.io.readers import load
from tierflow.measure import make_extractors, measure_object
from tierflow.steps.extract import extract_shard
from tierflow.stream.getting_on import Progress

if TYPE_CHECKING:
    from tierflow.config import Extract

BEAT_S = 0.5
"""Seconds between two looks whether something was done."""

_NICE = 5
_PR_SET_PDEATHSIG = 1


class Worker:
    """The process's state.

    Args:
        config: Configuration of the stream.
        output: Output folder of the stream, whose journals know where files are now.
        jobs: Where lines come from.
        answers: File descriptor that lines go to.
    """

    def __init__(self, config: Path, output: Path, *, jobs: int, answers: int) -> None:
        self._extract = config_io.load(config).extract
        self._output = output
        self._jobs = jobs
        self._answers = answers
        self._batch: int | None = None
        self._progress = Progress()

    def run(self) -> None:
        """Warm up, then measure until standard input ends."""
        threading.Thread(target=self._end_with_parent, daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()
        warm_up(self._extract)
        self._tell({"ready": os.getpid()})
        with os.fdopen(self._jobs, "rb", closefd=False) as lines:
            for line in lines:
                self._measure(json.loads(line))

    def _measure(self, job: dict[str, Any]) -> None:
        self._batch = job["batch"]
        started = time.perf_counter()
        try:
            shard, table = Path(job["shard"]), Path(job["table"])
            measured = extract_shard(
                tables.read(shard), self._extract, shard=shard.stem, output=self._output, beat=self._progress.count
            )
            # Not waited for: a table that a power cut takes is measured again.
            tables.write_passing(table, measured, at=utc_now())
        except Exception as error:
            if not isinstance(error, TierflowError | OSError):
                traceback.print_exc()
            text = str(error) if isinstance(error, TierflowError | OSError) else repr(error)
            answer: dict[str, Any] = {"failed": self._batch, "code": exit_code_of(error), "message": text}
        else:
            answer = {"done": self._batch, "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}
        self._batch = None
        self._tell(answer | {"seconds": time.perf_counter() - started})

    def _beat(self) -> None:
        """Say that work goes on: planes were measured, or bytes of a large file were read."""
        while True:
            time.sleep(BEAT_S)
            batch = self._batch
            if batch is not None and self._progress.moved():
                self._tell({"beat": batch})

    def _tell(self, answer: dict[str, Any]) -> None:
        # Two threads write. A line shorter than PIPE_BUF is never torn.
        line = json.dumps(answer).encode()
        if len(line) >= select.PIPE_BUF:
            line = json.dumps(answer | {"message": str(answer.get("message"))[:1000]}).encode()
        os.write(self._answers, line + b"\n")

    def _end_with_parent(self) -> None:
        hangup = select.poll()
        # Data aren't waited for, only the end: that is always reported.
        hangup.register(self._jobs, 0)
        hangup.poll()
        os._exit(0)


def warm_up(settings: Extract) -> None:
    """Compile what numba compiles, and prove that measuring works here at all."""
    extractors = make_extractors(settings)
    noise = np.random.default_rng(1).integers(0, 255, (64, 64))
    with TemporaryDirectory(prefix="tierflow-warm-") as folder:
        for kind in (np.uint8, np.uint16):
            path = Path(folder) / f"{np.dtype(kind).name}.tif"
            tifffile.imwrite(path, noise.astype(kind))
            measure_object(load(path), object_id="", extractors=extractors, max_plane_mb=1)


def _end_with_thread_of(parent: int) -> None:
    """On Linux, let the kernel end this process when its parent dies, even while foreign code holds Python's lock."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def main(config: str, output: str, parent: str) -> int:
    """Work until standard input ends.

    Returns:
        An exit code where the process couldn't begin to work; what is wrong was told.
    """
    _end_with_thread_of(int(parent))
    faulthandler.enable()
    # A terminal, or systemd, signals the whole group: the coordinator lets the batch in hand be finished.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        os.nice(_NICE)
    jobs, answers = os.dup(0), os.dup(1)
    # A library that prints must not write between our lines, nor one that asks read them.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    try:
        worker = Worker(Path(config), Path(output), jobs=jobs, answers=answers)
        worker.run()
    except BrokenPipeError:
        return 0
    except Exception as error:
        traceback.print_exc()
        text = str(error) if isinstance(error, TierflowError | OSError) else repr(error)
        broken = {"broken": exit_code_of(error), "message": text[:1000]}
        with suppress(OSError):
            os.write(answers, json.dumps(broken).encode() + b"\n")
        return exit_code_of(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

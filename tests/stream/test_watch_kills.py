"""Watcher and workers are killed at random moments while images arrive: exact counts, nothing twice."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress

import pytest

from tierflow import open as open_results
from tierflow.stream.states import State

pytestmark = pytest.mark.slow

ROUNDS = 4
FILES = 12


@pytest.mark.parametrize("seed", [1, 2])
def test_random_kills_lose_and_double_nothing(watching, seed):
    moments = random.Random(seed)
    here = watching({"stream": {"rescan_s": 2.0, "retry": {"backoff_s": 0.1}, "batches": {"workers": 2}}})
    names = []
    for _ in range(ROUNDS):
        here.start()
        end = time.monotonic() + moments.uniform(1.5, 4.0)
        new = [
            f"P/{moments.choice('ABCDEFGH')}{moments.randint(1, 12):02d}_s{len(names) + n}.tif" for n in range(FILES)
        ]
        here.write(*new)
        names += new
        while time.monotonic() < end:
            if moments.random() < 0.05:
                # Before its first sign of life there is no ledger, or a worker of it has ended meanwhile.
                with suppress(FileNotFoundError, ProcessLookupError, IndexError):
                    os.kill(moments.choice(here.workers()), signal.SIGKILL)
            time.sleep(0.02)
        here.stop(signal.SIGKILL)
    here.start("--once")
    assert here.wait() == 0
    assert here.counts()[State.DONE] == len(names)
    found = open_results(here.output).search("", columns=["path"]).to_arrow()["path"].to_pylist()
    assert sorted(found) == sorted(names)
    assert not list((here.output / ".tierflow" / "stream" / "batches").glob("*"))

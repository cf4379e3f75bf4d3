"""50 times `kill -9` of watcher, workers or both, while files arrive and tiers take them away: exact counts."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from arriving import Arriving
from exact import require_exact

from tierflow.stream.states import State

pytestmark = pytest.mark.slow

KILLS = {"watcher": 10, "workers": 30, "both": 10}
SEED = int(os.environ.get("TIERFLOW_TEST_SEED", "6"))
SETTINGS = {
    "stream": {
        "batches": {"workers": 2, "shard_objects": 40},
        "rescan_s": 2.0,
        "complete": {"quiet_s": 0.5},
        # Whoever is hit by chance time and again isn't at fault.
        "retry": {"backoff_s": 0.1, "attempts": 100},
    },
    # Even shares for all tiers, some of which take files out of the input.
    "score": {"function": "random"},
    "tiers": {"A": {"driver": "move"}, "B": {"driver": "link"}, "C": {"driver": "move"}, "D": {"driver": "copy"}},
}


def test_50_kills_lose_and_double_nothing(watching):
    sys.stderr.write(f"seed {SEED}: TIERFLOW_TEST_SEED sets another\n")
    moments = random.Random(SEED)
    turns = [whom for whom, times in KILLS.items() for _ in range(times)]
    moments.shuffle(turns)
    here = watching(SETTINGS)
    amid_work = 0
    with Arriving(here.root, seed=SEED, rate=4.0) as arriving:
        here.start()
        for whom in turns:
            if whom == "workers" or moments.random() < 0.7:
                here.until(lambda: here.workers() and all(is_child(pid, here.pid) for pid in here.workers()))
                here.until(lambda: here.counts()[State.RUNNING] > 0)
                amid_work += 1
                time.sleep(moments.uniform(0.0, 0.4))
            else:
                time.sleep(moments.uniform(0.1, 1.5))
            workers: list[int] = []
            with suppress(FileNotFoundError):
                workers = [pid for pid in here.workers() if is_child(pid, here.pid)]
            if whom != "watcher":
                for pid in workers:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            if whom != "workers":
                assert here.stop(signal.SIGKILL) == -signal.SIGKILL
                here.start()
    here.stop(signal.SIGKILL)
    sys.stderr.write(f"killed {KILLS}, {amid_work} of them amid work; {len(arriving.written)} files\n")
    here.start("--once")
    assert here.wait() == 0
    require_exact(here.output, arriving.written)


def is_child(pid: int, parent: int) -> bool:
    """Tell whether a process is still the child that it was: numbers are given again."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1]) == parent
    except FileNotFoundError:
        return False

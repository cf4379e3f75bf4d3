"""Workers that can't be started for now: waited for, not counted, and never the end of a stream."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap

import pytest

from tierflow.errors import TierflowError
from tierflow.stream import workers
from tierflow.stream.workers import Pool
from waiting import until

MAIN = """
    import json, pathlib, sys

    turns = pathlib.Path(sys.argv[2]) / "turns"
    turn = len(turns.read_text()) if turns.exists() else 0
    turns.write_text("x" * (turn + 1))
    if turn < {bad}:
        print(json.dumps({{"broken": {code}, "message": "No space left on device"}}), flush=True)
        sys.exit({code})
    print(json.dumps({{"ready": 1}}), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def pool_of(tmp_path, monkeypatch):
    """Give what makes a pool whose workers can't begin for some time."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.setattr(workers, "_FULL_S", 0.01)
    made = []

    def make(*, bad: int, code: int) -> Pool:
        (tmp_path / "stand_in.py").write_text(textwrap.dedent(MAIN.format(bad=bad, code=code)))
        made.append(Pool(tmp_path / "c.yaml", tmp_path, size=1, hang_s=60.0, wake=lambda: None, main="stand_in"))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


def test_want_of_processes_or_room_is_waited_for(pool_of, monkeypatch):
    real, refusals = subprocess.Popen, [errno.EAGAIN, errno.ENOMEM, errno.ENOSPC] * 3

    def refuse(*given, **named):
        if refusals:
            code = refusals.pop()
            raise OSError(code, os.strerror(code))
        return real(*given, **named)

    monkeypatch.setattr(subprocess, "Popen", refuse)
    pool = pool_of(bad=0, code=0)
    pool.start()
    assert pool.pids() == []
    until(lambda: [pool.events(), pool.idle()][1] == 1)
    assert refusals == []


def test_a_full_disk_under_temporary_files_is_waited_for(pool_of):
    pool = pool_of(bad=workers._STARTS + 2, code=75)
    pool.start()
    until(lambda: [pool.events(), pool.idle()][1] == 1)


def test_what_lasts_ends_it(pool_of, monkeypatch):
    monkeypatch.setattr(workers, "_STARTS", 2)
    pool = pool_of(bad=99, code=70)
    pool.start()
    with pytest.raises(TierflowError, match="don't start"):
        until(lambda: pool.events() and False)

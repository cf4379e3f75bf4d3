"""Warm workers: they answer, end with their parent, and are replaced."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from misbehaving import HANGS, install_misbehaving
from tierflow import config_io, tables
from tierflow.config import Config
from tierflow.errors import ConfigError, TierflowError
from tierflow.scan.rows import Row, to_table
from tierflow.stream import workers
from tierflow.stream.workers import Pool
from tierflow.testing.hostile import scene, tiff
from waiting import until


@pytest.fixture
def output(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", install_misbehaving(tmp_path / "plugin"))
    config = Config.model_validate({"input": str(tmp_path / "in"), "extract": {"extractors": ["misbehaving"]}})
    (tmp_path / "in").mkdir()
    config_io.write(tmp_path / "out" / "config.yaml", config)
    return tmp_path / "out"


def job(output: Path, *, value: int) -> tuple[Path, Path]:
    """Write an image and the shard table of a batch of it."""
    pixels = scene(np.random.default_rng(1))
    pixels[0, 0] = value
    path = output.parent / "in" / "a.tif"
    path.write_bytes(tiff(pixels))
    shard = output / "b" / "scan" / "shards" / "00000.parquet"
    row = Row("a", "a.tif", b"a.tif", path.stat().st_size, 1, False, "a", "generic", "p", *[None] * 8)
    tables.write(shard, to_table([row]), input=str(path.parent), dataset="d")
    return shard, output / "b" / "extract" / "00000.parquet"


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def pool_of(output):
    made = []

    def make(**options) -> Pool:
        made.append(
            Pool(output / "config.yaml", output, **({"size": 1, "hang_s": 60.0, "wake": lambda: None} | options))
        )
        made[-1].start()
        return made[-1]

    yield make
    for pool in made:
        pool.close()


def test_a_batch_is_measured(pool_of, output):
    pool = pool_of()
    until(lambda: [event.kind for event in pool.events()] == ["ready"])
    shard, table = job(output, value=7)
    assert pool.send(5, shard=shard, table=table)
    assert not pool.send(6, shard=shard, table=table)
    found = []
    until(lambda: found.extend(pool.events()) or found)
    assert [(event.kind, event.batch) for event in found] == [("done", 5)]
    assert tables.read(table)["misbehaving_first"].to_pylist() == [7.0]


def test_what_a_worker_refuses_is_told_with_its_code(pool_of, output):
    pool = pool_of()
    until(lambda: pool.events() or pool.idle())
    shard, table = job(output, value=7)
    shard.unlink()
    pool.send(5, shard=shard, table=table)
    found = []
    until(lambda: found.extend(pool.events()) or found)
    assert (found[0].kind, found[0].detail["code"]) == ("failed", 66)
    assert str(shard) in found[0].detail["message"]
    assert pool.idle() == 1


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_a_worker_that_measures_ends_when_its_coordinator_is_killed(output):
    """Also in the middle of a batch: its coordinator's successor measures that again."""
    shard, table = job(output, value=HANGS)
    program = (
        "import sys, time; from pathlib import Path; from tierflow.stream.workers import Pool\n"
        f"pool = Pool(Path({str(output / 'config.yaml')!r}), Path({str(output)!r}), size=1, hang_s=600, "
        "wake=lambda: None)\n"
        "pool.start()\n"
        "while not pool.idle(): pool.events(); time.sleep(0.02)\n"
        f"pool.send(1, shard=Path({str(shard)!r}), table=Path({str(table)!r}))\n"
        "print(pool.pids()[0], flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as coordinator:
        assert coordinator.stdout is not None
        worker = int(coordinator.stdout.readline())
        assert not gone(worker)
        coordinator.kill()
    until(lambda: gone(worker))
    assert not table.exists()


def test_a_wrong_configuration_is_told_as_such(pool_of, output):
    tree = json.loads(config_io.load(output / "config.yaml").model_dump_json())
    tree["extract"]["extractors"] = ["nowhere"]
    config_io.write(output / "config.yaml", Config.model_validate(tree))
    pool = pool_of()
    with pytest.raises(ConfigError, match="unknown name 'nowhere'"):
        until(lambda: pool.events() and False)


def test_workers_that_never_start_end_the_stream_with_their_last_words(pool_of, monkeypatch):
    monkeypatch.setattr(workers, "_STARTS", 2)
    pool = pool_of(main="tierflow.no_such_module")
    with pytest.raises(TierflowError, match="2 times one after another"):
        until(lambda: pool.events() and False)


def test_silence_while_the_coordinator_itself_was_stopped_is_nobodys_fault(pool_of, output, monkeypatch):
    pool = pool_of(hang_s=1.0)
    until(lambda: pool.events() or pool.idle())
    shard, table = job(output, value=HANGS)
    pool.send(1, shard=shard, table=table)
    (pid,) = pool.pids()
    pool._looked_at -= 100.0
    next(iter(pool._processes)).heard_at -= 100.0
    assert pool.events() == []
    assert pool.pids() == [pid]
    found = []
    until(lambda: found.extend(pool.events()) or found)
    assert (found[0].kind, found[0].batch) == ("died", 1)
    assert "silent" in found[0].detail["message"]
    until(lambda: gone(pid))

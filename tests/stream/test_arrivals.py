"""Files that grow, are cut, replaced or rewritten: each is recorded once when it is complete, and never by half."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time

import pytest
from arriving import image_bytes
from exact import hashes_below, records, require_exact, sha256_of

from misbehaving import SLOW, install_misbehaving
from tierflow.stream.states import State

pytestmark = pytest.mark.slow

QUICK = {
    "stream": {"batches": {"workers": 1}, "rescan_s": 1.0, "retry": {"backoff_s": 0.2}, "complete": {"quiet_s": 1}}
}


def ended(here) -> list[tuple[str, str, int]]:
    """Return (path, kind, version) of every object that came to an end, each time that it did."""
    with here.ledger() as ledger:
        news = ledger.news(after=0, limit=100_000)
    kinds = ("done", "quarantined")
    return sorted((detail["path"], kind, detail["version"]) for _, _, kind, _, detail in news if kind in kinds)


def drain(here) -> None:
    """Let it end by itself."""
    here.ask("drain")
    assert here.wait() == 0


@pytest.mark.parametrize("writer", ["append", "slow"])
def test_slow_writers_are_waited_for(watching, tmp_path, writer):
    here = watching(QUICK)
    source = tmp_path / "source"
    source.mkdir()
    for number in range(6):
        (source / f"p_A{number + 1:02d}_s1_w1.tif").write_bytes(image_bytes(number))
    here.start()
    here.until(lambda: here.workers())
    command = [sys.executable, "-m", "tierflow", "simulate", str(source), str(here.root), "--rate", "6/s"]
    subprocess.run([*command, "--writer", writer, "--write-s", "4"], check=True, capture_output=True)
    here.until_done(6)
    assert ended(here) == [(name, "done", 1) for name in sorted(hashes_below(source))]
    drain(here)
    require_exact(here.output, hashes_below(source))


def test_a_file_that_is_cut_waits_until_it_is_whole(watching):
    here = watching(QUICK).start()
    whole = image_bytes(1)
    cut = here.root / "cut.tif"
    cut.write_bytes(whole[: len(whole) // 2])
    here.until(
        lambda: [row.state for row in here.rows()] == [State.WAITING] and "strip" in (here.rows()[0].reason or "")
    )
    time.sleep(3 * QUICK["stream"]["complete"]["quiet_s"])
    assert [row.state for row in here.rows()] == [State.WAITING]
    with cut.open("ab") as stream:
        stream.write(whole[len(whole) // 2 :])
    here.until_done(1)
    assert ended(here) == [("cut.tif", "done", 1)]
    drain(here)
    require_exact(here.output, hashes_below(here.root))


@pytest.mark.parametrize("driver", ["link", "copy"])
def test_a_replaced_file_replaces_its_record(watching, driver):
    here = watching(QUICK | {"tiers": {name: {"driver": driver} for name in "ABCD"}}).start()
    here.write("a.tif", "b.tif", "c.tif")
    here.until_done(3)
    old = hashes_below(here.root)
    # One by a rename into place, one deleted and written anew, slowly.
    here.write("a.tif")
    (here.root / "b.tif").unlink()
    new = image_bytes(77, size=80)
    for start in range(0, len(new), 2000):
        with (here.root / "b.tif").open("ab") as stream:
            stream.write(new[start : start + 2000])
        time.sleep(0.3)
    here.until(lambda: len(ended(here)) >= 5)
    here.until_done(3)
    assert ended(here) == [(f"{name}.tif", "done", n) for name, n in [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1)]]
    drain(here)
    final = hashes_below(here.root)
    assert {name for name in final if final[name] != old[name]} == {"a.tif", "b.tif"}
    require_exact(here.output, final)
    # Nobody else has the bytes that were replaced.
    assert set(old.values()) <= {sha256_of(path) for path in (here.output / "tiers").rglob("*.tif")}


def test_a_file_that_was_moved_away_may_come_again_under_its_name(watching):
    """The former file lies in its tier alone: the new one must not take its place, nor get lost itself."""
    tiers = {name: {"driver": "move"} for name in "ABCD"}
    here = watching(QUICK | {"tiers": tiers}).start()
    first = image_bytes(1)
    (here.root / "a.tif").write_bytes(first)
    here.until_done(1)
    here.until(lambda: not (here.root / "a.tif").exists())
    second = image_bytes(2, size=80)
    (here.root / "a.tif").write_bytes(second)
    here.until(lambda: len(ended(here)) == 2)
    drain(here)
    kept = {
        path.read_bytes() for folder in (here.root, here.output) for path in folder.rglob("*.tif*") if path.is_file()
    }
    assert {first, second} <= kept
    [record] = records(here.output)
    assert record["sha256"] == hashlib.sha256(second).hexdigest()
    assert (here.output / record["destination"]).read_bytes() == second
    assert "an older version of the file stays at" in record["problem"]
    assert not (here.root / "a.tif").exists()


@pytest.mark.parametrize("whole", [True, False], ids=["renamed", "written over"])
def test_a_file_that_is_rewritten_while_it_is_measured(watching, tmp_path, whole):
    here = watching(
        QUICK | {"extract": {"extractors": ["image_quality", "misbehaving"]}},
        {"PYTHONPATH": install_misbehaving(tmp_path / "plugin")},
    )
    here.write("slow.tif", value=SLOW)
    here.write("beside.tif")
    here.start()
    here.until(lambda: here.counts()[State.RUNNING] > 0)
    time.sleep(0.5)
    if whole:
        here.write("slow.tif", value=3)
    else:
        new = image_bytes(3, size=96)
        with (here.root / "slow.tif").open("wb") as stream:
            stream.write(new[:2000])
            stream.flush()
            time.sleep(2.5)
            stream.write(new[2000:])
    here.until_done(2)
    final = hashes_below(here.root)
    here.until(lambda: {r["path"]: r["sha256"] for r in records(here.output)} == final)
    drain(here)
    require_exact(here.output, final)
    assert [kind for path, kind, _ in ended(here) if path == "slow.tif"].count("quarantined") == 0

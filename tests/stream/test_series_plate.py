"""A plate of 24 wells x 3 sites x 2 channels comes in the order of an instrument, and one file never comes."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict

import pytest
from arriving import image_bytes
from exact import hashes_below, records, require_exact

pytestmark = pytest.mark.slow

WELLS = [f"{row}{column:02d}" for row in "ABCD" for column in range(1, 7)]
MISSING = "p_C04_s2_w2.tif"


def test_71_units_are_done_and_one_is_released_by_its_time_out(watching, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    names = [f"p_{well}_s{site}_w{channel}.tif" for well in WELLS for site in (1, 2, 3) for channel in (1, 2)]
    for number, name in enumerate(names):
        if name != MISSING:
            (source / name).write_bytes(image_bytes(number, size=32))
    here = watching(
        {
            "scan": {"unit": "site"},
            "stream": {"series": {"expect": "site", "channels": ["w1", "w2"], "timeout_s": 6}, "rescan_s": 2.0},
        }
    ).start()
    here.until(lambda: here.workers())
    command = [sys.executable, "-m", "tierflow", "simulate", str(source), str(here.root), "--rate", "60/s"]
    subprocess.run([*command, "--pattern", "plate"], check=True, capture_output=True)
    here.until_done(143)
    here.ask("drain")
    assert here.wait() == 0
    units = defaultdict(list)
    for record in records(here.output):
        units[record["unit_id"]].append(record)
    assert len(units) == 72
    incomplete = [unit for unit in units.values() if any("incomplete" in record["flags"] for record in unit)]
    assert [[record["path"] for record in unit] for unit in incomplete] == [[MISSING.replace("w2", "w1")]]
    assert "w2" in incomplete[0][0]["reason"]
    assert sorted(len(unit) for unit in units.values()) == [1] + [2] * 71
    (news,) = here.news("incomplete")
    assert (news["path"], news["objects"]) == (MISSING.replace("w2", "w1"), 1)
    # Nothing of a site went before the rest of it was there.
    with here.ledger() as ledger:
        batches = ledger.query("SELECT unit, count(DISTINCT batch) FROM objects GROUP BY unit")
    assert {n for _, n in batches} == {1}
    require_exact(here.output, hashes_below(here.root))

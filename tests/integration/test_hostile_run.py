"""Two hundred bad files beside good ones: the run ends well, every bad file is in quarantine with a reason."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tierflow.testing.hostile import make_hostile

pytestmark = pytest.mark.slow


def tierflow(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run tierflow as a user who may not read everything, even when the tests run as root."""
    argv = [sys.executable, "-m", "tierflow", *map(str, arguments)]
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("running as root without setpriv: file permissions can't be made to count")
        argv = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--", *argv]
    return subprocess.run(argv, capture_output=True, text=True, timeout=300)


def objects(output: Path) -> dict[str, dict[str, str]]:
    with (output / "objects.csv").open(newline="", encoding="utf-8") as stream:
        return {row["path"]: row for row in csv.DictReader(stream)}


def sums(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path)] = f"-> {path.readlink()}"
        elif path.is_file():
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def test_two_hundred_bad_files(tmp_path):
    folder, output = tmp_path / "in put", tmp_path / "out put"
    trouble = make_hostile(folder)
    before = sums(folder)
    done = tierflow("run", folder, "--output", output, "--cores", 2, "--set", "run.max_failed_share=1")
    assert done.returncode == 0, done.stderr
    rows = objects(output)
    names = {kind: [str(p.relative_to(folder)) for p in getattr(trouble, kind)] for kind in ("bad", "odd", "good")}
    assert set(rows) == set(names["bad"]) | set(names["odd"]) | set(names["good"])

    for name in names["bad"]:
        row = rows[name]
        assert (row["status"], row["tier"]) == ("failed", "quarantine"), row
        assert len(row["reason"]) > 15, row
        assert "Traceback" not in row["reason"], row
        assert row["interestingness"] == "", row
    for name in names["good"]:
        assert rows[name]["status"] == "ok", rows[name]
        assert rows[name]["tier"] in "ABCD"
    for name in names["odd"]:
        row = rows[name]
        assert (row["tier"] == "quarantine") == (row["status"] == "failed"), row
        # Nothing can be said about the focus of a single row of pixels; all else must get a score.
        if not name.endswith(("cut.jpg", "one pixel.tif", "row.tif", "column.tif")):
            assert row["status"] == "ok", row
    assert sums(folder) == before, "an input file was changed"
    assert not (tmp_path / "gone").exists()
    assert not Path("gone").exists(), "a file name was run as a command"

    costs = [json.loads(log.read_text().splitlines()[-1]) for log in (output / "logs" / "extract").glob("*.log")]
    assert max(cost["peak_mb"] for cost in costs) < 1000


def test_too_many_failures_place_nothing(tmp_path):
    folder, output = tmp_path / "plate", tmp_path / "out"
    make_hostile(folder, bad=40, odd=0, good=10)
    done = tierflow("run", folder, "--output", output, "--cores", 2)
    assert done.returncode == 76, done.stderr
    assert "80" in done.stderr
    assert "max_failed_share" in done.stderr
    assert not (output / "tiers").exists()
    rows = objects(output)
    assert len(rows) == 50
    assert sum(row["status"] == "failed" for row in rows.values()) == 40
    assert (output / "report.html").exists()

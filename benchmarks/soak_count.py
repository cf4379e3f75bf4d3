"""The exact count at the end of a soak: every file has one record, the bytes written last, and one place."""

from __future__ import annotations

import hashlib
import subprocess
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from watching import TIERFLOW

from tierflow import open as open_results
from tierflow.stream.ledger import Ledger


def check(base: Path, written: dict[str, str]) -> list[tuple[str, int, int]]:
    """Count; returns (what, expected, found) each."""
    output = base / "out"
    with closing(Ledger(output, read_only=True)) as ledger:
        states = {str(state): n for state, n in ledger.counts().items()}
        rows = Counter(state for (state,) in ledger.query("SELECT state FROM objects"))
    columns = ["path", "sha256", "tier", "driver", "destination"]
    records = open_results(output).search("", columns=columns, limit=None).to_arrow().to_pylist()
    good = [record for record in records if record["sha256"] == written.get(record["path"])]
    placed = [record for record in good if is_placed(base, record)]
    verified = subprocess.run([*TIERFLOW, "verify", str(output)], capture_output=True, text=True, check=False)
    if verified.returncode:
        print(verified.stdout + verified.stderr)
    for name in sorted(written.keys() - {record["path"] for record in placed})[:20]:
        print("not in order:", name, [record for record in records if record["path"] == name])
    left = [*(output / ".tierflow/stream/batches").glob("*"), *output.rglob("*.part"), *(base / "tier").rglob("*.part")]
    return [
        ("files written: `done` in the ledger", len(written), states["done"]),
        ("in any other state", 0, sum(states.values()) - states["done"]),
        ("counters that differ from the rows", 0, sum((Counter(states) - rows).values())),
        ("records", len(written), len(records)),
        ("different objects among them", len(written), len({record["path"] for record in records})),
        ("records with the bytes written last", len(written), len(good)),
        ("files in their tier, and only there, with these bytes", len(written), len(placed)),
        ("`tierflow verify`, exit code", 0, verified.returncode),
        ("left over: folders of batches, unfinished files", 0, len(left)),
    ]


def is_placed(base: Path, record: dict[str, Any]) -> bool:
    """Tell whether the file of a record lies where it says, whole, and at its source only where the tier leaves it."""
    path = base / "out" / record["destination"]
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != record["sha256"]:
        return False
    return (base / "share" / record["path"]).exists() == (record["driver"] != "move")

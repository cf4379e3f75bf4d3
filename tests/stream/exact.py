"""What must hold after any fault, to the last file: one record, one place, the right bytes, and nothing left over."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tierflow import open as open_results
from tierflow.stream.ledger import Ledger
from tierflow.stream.states import State

BATCHES = Path(".tierflow") / "stream" / "batches"


def sha256_of(path: Path) -> str:
    """Return the hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hashes_below(root: Path) -> dict[str, str]:
    """Return the hashes of all images below a folder, by path relative to it; hidden files are none."""
    found = {}
    for path in root.rglob("*.tif"):
        if not path.name.startswith("."):
            found[path.relative_to(root).as_posix()] = sha256_of(path)
    return found


def records(output: Path) -> list[dict[str, Any]]:
    """Return what the catalogue says of each object, each record as often as it is there."""
    columns = ["path", "sha256", "tier", "driver", "destination", "problem", "flags", "unit_id", "reason"]
    return open_results(output).search("", columns=columns, limit=None).to_arrow().to_pylist()


def require_exact(output: Path, expected: Mapping[str, str], *, quarantined: frozenset[str] = frozenset()) -> None:
    """Compare ledger, catalogue, tiers and leftovers of a stream that has ended with what was written.

    Args:
        output: Output folder.
        expected: SHA-256 of the last version of every file that was written, by path relative to the input.
        quarantined: Those that must be in quarantine.
    """
    with_ledger(output, expected, quarantined)
    found = records(output)
    counted = Counter(record["path"] for record in found)
    assert not [name for name, n in counted.items() if n != 1], "objects with more than one record"
    assert counted.keys() == expected.keys(), counted.keys() ^ expected.keys()
    # Of an object that was given up, nobody may know the bytes.
    unread = {record["path"] for record in found if record["sha256"] is None}
    assert unread <= quarantined
    wrong = {r["path"]: r["sha256"] for r in found if r["path"] not in unread and r["sha256"] != expected[r["path"]]}
    assert not wrong, "records of other bytes than those that were written last"
    assert {r["path"] for r in found if r["tier"] == "quarantine"} == quarantined
    for record in found:
        in_one_place(output, record, expected[record["path"]])
    assert not list((output / BATCHES).glob("*")), "folders of batches are left"
    assert not list(output.rglob("*.part")), "unfinished files are left"
    done = subprocess.run(
        [sys.executable, "-m", "tierflow", "verify", str(output)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def with_ledger(output: Path, expected: Mapping[str, str], quarantined: frozenset[str]) -> None:
    """Compare the ledger with what was written."""
    ledger = Ledger(output, read_only=True)
    try:
        counts = {str(state): n for state, n in ledger.counts().items() if n}
        states = Counter(str(row.state) for row in ledger.rows("1"))
    finally:
        ledger.close()
    wanted = {State.DONE: len(expected) - len(quarantined), State.QUARANTINED: len(quarantined)}
    assert counts == {str(state): n for state, n in wanted.items() if n}
    assert states == counts, "the counters of the ledger differ from its rows"


def in_one_place(output: Path, record: Mapping[str, Any], sha256: str) -> None:
    """See that a file lies in its tier, and in no other, with its bytes; a tier that takes files leaves no other.

    What a tier held of an older version may be the last copy of it: it stays, and the record says so.
    """
    config = yaml.safe_load((output / "config.yaml").read_text())
    roots = {name: Path(tier.get("root") or output / "tiers" / name) for name, tier in config["tiers"].items()}
    roots["quarantine"] = output / "tiers" / "quarantine"
    places = {name: root / record["path"] for name, root in roots.items()}
    there = [path for path in places.values() if path.exists() and str(path) not in (record["problem"] or "")]
    own = output / record["destination"]
    assert own.is_relative_to(roots[record["tier"]]), record
    assert there in ([own], []), record
    assert sha256_of(own) == sha256, record
    source = Path(config["input"]) / record["path"]
    assert source.exists() == (record["driver"] != "move"), record

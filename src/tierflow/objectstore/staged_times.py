"""Times of change for fetched files, which say to the steps what notes on the store say: what is up to date.

Steps and jobs compare times of change. The clocks of stores and pods mean nothing for that, so fetched files get times
of the year 2001 in the order of the steps; whatever a step writes now is later than all of them.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from tierflow.steps import STEPS

if TYPE_CHECKING:
    from pathlib import Path

    from tierflow.objectstore.base import Head

_NS = 1_000_000_000
_BEGIN = 1_000_000_000 * _NS
_STEP = 10 * _NS
_FOLDERS = {"scan/shards": "scan", **{step: step for step in STEPS}}
_FILES = {
    "baseline.parquet": "baseline",
    "duplicates.parquet": "baseline",
    "history.parquet": "baseline",
    "policy.json": "policy",
    "scan/summary.json": "scan",
}
_ORDER = {step: number for number, step in enumerate(STEPS, start=1)}


def settle(path: Path, key: str, head: Head) -> None:
    """Give a fetched file its time: that of the step that made it; settings and configuration come before all.

    Tables of the scan also differ with their content, because a cut of the data set is told by their sizes and times.

    Args:
        path: The file.
        key: Its path in the output.
        head: What the store says of it.
    """
    folder = key.rpartition("/")[0]
    step = _FILES.get(key) or _FOLDERS.get(folder) or ("index" if folder == "catalogue" else None)
    moment = _BEGIN + (_ORDER[step] * _STEP if step else 0)
    if folder == "scan/shards":
        content = (head.etag or str(head.mtime_ns)).encode()
        moment += int.from_bytes(hashlib.sha256(content).digest()[:8], "big") % _NS
    os.utime(path, ns=(moment, moment))


def mark(path: Path, step: str, *, fresh: bool) -> None:
    """Say by its time whether a result is up to date: later than all that its step reads, or earlier.

    Args:
        path: The file; one that isn't there is passed over.
        step: The step that made it.
        fresh: Whether it is up to date.
    """
    if path.exists():
        moment = _BEGIN + _ORDER[step] * _STEP + 5 * _NS if fresh else _BEGIN - _STEP
        os.utime(path, ns=(moment, moment))

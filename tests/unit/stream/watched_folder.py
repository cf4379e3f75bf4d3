"""A watched folder for tests of readiness: real files, a real ledger, a simulated clock."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import tifffile

from tierflow.config import Config
from tierflow.io.identity import object_id
from tierflow.stream.ledger import Ledger
from tierflow.stream.readiness import Readiness

START = 1_800_000_000.0


def tiff(path: Path, value: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.full((8, 8), value, np.uint16))
    return path


class Folder:
    """A watched folder: what the watcher would write into the ledger, by hand."""

    def __init__(self, tmp_path: Path, stream: dict | None = None, **scan) -> None:
        self.root = tmp_path / "input"
        self.root.mkdir(exist_ok=True)
        self.output = tmp_path / "output"
        self.config = Config.model_validate(
            {"input": str(self.root), "dataset": "d", "scan": scan, "stream": stream or {}}
        )
        self.ledger = Ledger(self.output)
        self.readiness = Readiness(self.ledger, self.config, self.root)

    def see(self, *names: str, now: float, closed: bool = True) -> None:
        with self.ledger.transaction() as db:
            for name in names:
                state = (self.root / name).stat()
                values = (state.st_size, state.st_mtime_ns, state.st_ino, closed)
                raw = os.fsencode(name)
                known = db.execute("SELECT state FROM objects WHERE path = ?", (raw,)).fetchone()
                if known is None:
                    db.execute(
                        "INSERT INTO objects (path, folder, object_id, state, size, mtime_ns, inode, closed, seen_at, "
                        "changed_at) VALUES (?, ?, ?, 'seen', ?, ?, ?, ?, ?, ?)",
                        (raw, raw.rpartition(b"/")[0], object_id("d", raw), *values, now, now),
                    )
                    continue
                again = "version = version + 1, state = 'seen'" if known[0] == "done" else "state = 'waiting'"
                db.execute(
                    "UPDATE objects SET size = ?, mtime_ns = ?, inode = ?, closed = ?, changed_at = ?, "
                    f"not_before = 0, {again} WHERE path = ?",
                    (*values, now, raw),
                )

    def write(self, *names: str, now: float, closed: bool = True) -> None:
        for name in names:
            tiff(self.root / name)
        self.see(*names, now=now, closed=closed)

    def settle(self, now: float) -> float:
        """Let readiness work until nothing is due."""
        for _ in range(100):
            pause = self.readiness.step(now)
            if pause > 0:
                return pause
        raise AssertionError("readiness never rests")

    def row(self, name: str):
        return self.ledger.rows("path = ?", (os.fsencode(name),))[0]

    def done(self) -> int:
        """Handle all that is ready, as a batch would."""
        with self.ledger.transaction() as db:
            return db.execute("UPDATE objects SET state = 'done' WHERE state = 'ready'").rowcount


HTD = """\
"HTSInfoFile", Version 1.0
"Description", "a, b"
"TimePoints", 2
"ZSeries", FALSE
"ZSteps", 1
"XWells", 3
"YWells", 2
"WellsSelection1", FALSE, TRUE, TRUE
"WellsSelection2", FALSE, FALSE, TRUE
"Sites", TRUE
"XSites", 2
"YSites", 2
"SiteSelection1", TRUE, TRUE
"SiteSelection2", TRUE, FALSE
"Waves", TRUE
"NWavelengths", 3
"WaveName1", "DAPI"
"EndFile"
"""

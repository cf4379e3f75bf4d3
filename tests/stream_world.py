"""A stream without a watcher: an input with small images, an output with a ledger, and batches that are measured."""

from __future__ import annotations

import os
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from tierflow import config_io, tables
from tierflow.io.identity import display_path, object_id
from tierflow.render.snakemake import resolve as resolve_run
from tierflow.scan.rows import Row, to_table
from tierflow.steps.extract import extract_shard
from tierflow.stream.batch import Batch
from tierflow.stream.choose import Choice
from tierflow.stream.commit import Committer
from tierflow.stream.fold import table_paths
from tierflow.stream.ledger import Ledger
from tierflow.stream.states import State
from tierflow.stream.window import Window


@dataclass
class StreamWorld:
    """A stream in a folder."""

    base: Path
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.base = self.base.absolute()
        self.input, self.output = self.base / "in", self.base / "out"
        self.input.mkdir(parents=True, exist_ok=True)
        self.output.mkdir(exist_ok=True)
        tree = {"input": str(self.input), "dataset": "in", **self.settings, "output": str(self.output)}
        self.config = resolve_run(tree).config
        config_io.write(self.output / "config.yaml", self.config)
        self.open()

    def open(self) -> None:
        """Begin as a new process would."""
        self.ledger = Ledger(self.output)
        window = Window(self.config)
        window.load(self.output)
        self.committer = Committer(
            self.ledger, self.config, self.output, window, choice=Choice(self.config, self.ledger)
        )

    def write(self, name: str, *, seed: int | None = None, blank: bool = False) -> Path:
        """Write an image; equal seeds give equal pixels."""
        path = self.input / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(zlib.crc32(name.encode()) if seed is None else seed)
        pixels = np.zeros((96, 96), np.uint16)
        if not blank:
            pixels += np.kron(rng.integers(0, 50_000, (24, 24)), np.ones((4, 4))).astype(np.uint16)
            pixels += rng.integers(0, 200, (96, 96), dtype=np.uint16)
        tifffile.imwrite(path, pixels)
        return path

    def see(self, *names: str, state: State = State.READY) -> list[int]:
        """Enter files into the ledger as the watcher would; return their numbers."""
        ids = []
        for name in names:
            info = (self.input / name).stat()
            with self.ledger.transaction() as db:
                found = db.execute("SELECT id FROM objects WHERE path = ?", (os.fsencode(name),)).fetchone()
                if found:
                    db.execute(
                        "UPDATE objects SET state = ?, size = ?, mtime_ns = ?, version = version + 1, attempts = 0 "
                        "WHERE id = ?",
                        (state, info.st_size, info.st_mtime_ns, found[0]),
                    )
                    ids.append(found[0])
                    continue
                made = db.execute(
                    "INSERT INTO objects (path, folder, object_id, state, size, mtime_ns, inode, seen_at, changed_at, "
                    "ready_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        os.fsencode(name),
                        os.fsencode(name).rpartition(b"/")[0],
                        object_id("in", os.fsencode(name)),
                        state,
                        info.st_size,
                        info.st_mtime_ns,
                        info.st_ino,
                        time.time(),
                        time.time(),
                        time.time(),
                    ),
                )
                ids.append(int(made.lastrowid or 0))
        return ids

    def measured(self, *names: str, shard: int = 0, units: dict[str, str] | None = None) -> Batch:
        """Return a batch of files that are there, measured and ready to be committed."""
        batch = self.ledger.begin_batch(self.see(*names), shard=shard)
        rows = []
        for name in names:
            raw, info = os.fsencode(name), (self.input / name).stat()
            own = object_id("in", raw)
            unit = (units or {}).get(name, own)
            given = (own, display_path(raw), raw, info.st_size, info.st_mtime_ns, False, unit, "generic", "P1")
            rows.append(Row(*given, None, None, None, None, None, None, None, None))
        paths = table_paths(batch.folder, batch.shard)
        tables.write(paths["scan"], to_table(rows), input=str(self.input), dataset="in")
        scan = tables.read(paths["scan"])
        extract = extract_shard(scan, self.config.extract, shard=batch.shard, output=batch.folder)
        tables.write(paths["extract"], extract, at="2026-11-21T08:15:30.123Z")
        self.ledger.set_stage(batch.number, "recording")
        return batch

    def commit(self, *names: str, shard: int = 0, units: dict[str, str] | None = None) -> None:
        self.committer.commit(self.measured(*names, shard=shard, units=units))

    def table(self, name: str, shard: int = 0) -> dict[str, list[Any]]:
        return tables.read(table_paths(self.output, f"{shard:05d}")[name]).to_pydict()

    def states(self) -> dict[str, str]:
        return {os.fsdecode(path): state for path, state in self.ledger.query("SELECT path, state FROM objects")}

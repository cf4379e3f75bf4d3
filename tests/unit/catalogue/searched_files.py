"""A catalogue over real files, as few or as odd as a test needs."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from tierflow import tables
from tierflow.catalogue.schema import CATALOGUE_VERSION, catalogue_schema
from tierflow.io.identity import display_path, object_id

FEATURES = {"snr": "", "noise_sigma": "count"}


@dataclass
class Searched:
    """A run whose catalogue is written by hand; `add` makes a file and its record."""

    folder: Path
    rows: list[dict] = field(default_factory=list)

    @property
    def input(self) -> Path:
        return self.folder / "input"

    @property
    def output(self) -> Path:
        return self.folder / "output"

    def add(
        self,
        name: bytes | str,
        content: bytes | None = b"pixels",
        *,
        run: str = "first",
        at: Path | None = None,
        **facts,
    ):
        """Make a file (none when `content` is None) in the input, or at `at`, and record it."""
        raw = name if isinstance(name, bytes) else os.fsencode(name)
        place = at or self.input / os.fsdecode(raw)
        if content is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        row = {
            "object_id": object_id("odd", raw),
            "path": display_path(raw),
            "path_bytes": raw,
            "dataset": "odd",
            "run": run,
            "status": "ok",
            "tier": "A",
            "sha256": hashlib.sha256(content or b"").hexdigest(),
            "bytes": len(content or b""),
            "destination": str(at) if at else None,
        }
        self.rows.append(row | facts)
        return place

    def write(self) -> Path:
        """Write the catalogue and return the output folder."""
        table = pa.Table.from_pylist(self.rows, schema=catalogue_schema(FEATURES))
        path = self.output / "catalogue" / "00000.parquet"
        tables.write(path, table, input=str(self.input), dataset="odd", catalogue_version=CATALOGUE_VERSION)
        return self.output

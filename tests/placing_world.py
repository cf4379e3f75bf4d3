"""A small run, ready to be placed: an input folder with files and the tables that place reads."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tierflow import tables
from tierflow.io.identity import display_path, object_id
from tierflow.policies.base import Cut
from tierflow.policies.choose import Resolved
from tierflow.steps import place

CUTS = (Cut("A", 0.75), Cut("B", 0.5), Cut("C", 0.25), Cut("D", 0.0))
SCORES = {"A": 0.9, "B": 0.6, "C": 0.3, "D": 0.1, "quarantine": None}
CONTENT = ("object_id", "tier", "driver", "placement", "destination", "problem")


@dataclass
class World:
    """An input and an output folder; `tiers` says where each path is to go."""

    base: Path
    drivers: dict[str, str] = field(default_factory=lambda: dict.fromkeys(SCORES, "link"))
    roots: dict[str, str] = field(default_factory=dict)
    tiers: dict[bytes, str] = field(default_factory=dict)
    first: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    hashes: dict[bytes, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.base = self.base.absolute()
        self.input.mkdir(parents=True, exist_ok=True)

    @property
    def input(self) -> Path:
        return self.base / "in"

    @property
    def output(self) -> Path:
        return self.base / "out"

    def add(self, name: str | bytes, content: bytes = b"pixels", *, tier: str = "A") -> Path:
        """Write a file into the input."""
        path = self.source(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
        self.tiers[os.fsencode(name)] = tier
        return path

    def add_link(self, name: str, text: str | Path, *, tier: str = "A") -> Path:
        path = self.source(name)
        path.symlink_to(text)
        os.utime(path, ns=(1_500_000_000_000_000_007, 1_500_000_000_000_000_007), follow_symlinks=False)
        self.tiers[os.fsencode(name)] = tier
        return path

    def source(self, name: str | bytes) -> Path:
        return self.input / os.fsdecode(name)

    def id_of(self, name: str | bytes) -> str:
        return object_id("in", os.fsencode(name))

    def measure(self, shards: dict[str, list[bytes]] | None = None) -> None:
        """Write the tables as scan, extract and score would: of the files as they are now, where they are in sight."""
        for raw in sorted(self.tiers):
            path = self.input / os.fsdecode(raw)
            if os.path.lexists(path):
                info = path.lstat()
                self.first[raw] = (info.st_size, info.st_mtime_ns)
                readable = path.exists() and stat.S_ISREG(path.stat().st_mode) and os.access(path, os.R_OK)
                self.hashes[raw] = hashlib.sha256(path.read_bytes()).hexdigest() if readable else None
        for shard, members in (shards or {"00000": sorted(self.tiers)}).items():
            self._write_shard(shard, members)
        self.configure()

    def configure(self) -> None:
        tiers = {name: self._tier(name) for name in SCORES if name != "quarantine"}
        tree = {"input": str(self.input), "dataset": "in", "tiers": tiers, "quarantine": self._tier("quarantine")}
        self.config.write_text(yaml.safe_dump(tree), encoding="utf-8")
        Resolved("interval", {}, CUTS, {}, {}, 0).save(self.output / "policy.json")

    def _tier(self, name: str) -> dict[str, str]:
        return {"driver": self.drivers[name]} | ({"root": self.roots[name]} if name in self.roots else {})

    @property
    def config(self) -> Path:
        return self.output / "config.yaml"

    def _write_shard(self, shard: str, members: list[bytes]) -> None:
        rows, scores = [], []
        for raw in members:
            size, mtime_ns = self.first[raw]
            value = SCORES[self.tiers[raw]]
            own = {"object_id": self.id_of(raw), "unit_id": self.id_of(raw)}
            rows.append(own | {"path": display_path(raw), "path_bytes": raw, "bytes": size, "mtime_ns": mtime_ns})
            status = "failed" if value is None else "ok"
            scores.append(own | {"status": status, "interestingness": value, "flags": [], "sha256": self.hashes[raw]})
        scan = self.output / "scan/shards" / f"{shard}.parquet"
        tables.write(scan, tables.from_rows(rows, tables.SCAN), input=str(self.input), dataset="in")
        score = self.output / "score" / f"{shard}.parquet"
        tables.write(score, tables.from_rows(scores, tables.SCORE))

    def rescore(self, changes: dict[str, str], shards: dict[str, list[bytes]] | None = None) -> None:
        """Give objects another tier without looking at the files again."""
        self.tiers |= {os.fsencode(name): tier for name, tier in changes.items()}
        for shard, members in (shards or {"00000": sorted(self.tiers)}).items():
            self._write_shard(shard, members)
        self.configure()

    def arguments(self, shard: str = "00000") -> dict[str, Path]:
        return {
            "shard": self.output / "scan/shards" / f"{shard}.parquet",
            "score": self.output / "score" / f"{shard}.parquet",
            "policy": self.output / "policy.json",
            "config": self.config,
            "table": self.output / "place" / f"{shard}.parquet",
        }

    def place(self, shard: str = "00000") -> dict[str, dict[str, str | None]]:
        """Run the step and return its rows by path."""
        place.run(**self.arguments(shard))
        return self.rows(shard)

    def rows(self, shard: str = "00000") -> dict[str, dict[str, str | None]]:
        found = tables.read(self.output / "place" / f"{shard}.parquet").to_pylist()
        names = {self.id_of(raw): os.fsdecode(raw) for raw in self.tiers}
        return {names[row["object_id"]]: {key: row[key] for key in CONTENT} for row in found}

    def journal(self, shard: str = "00000") -> bytes:
        return (self.output / "journal" / f"{shard}.jsonl").read_bytes()


def tree(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything that undo must bring back: names, kinds, contents or link texts, times, permission bits."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()), info.st_mtime_ns)
        elif path.is_file():
            found[name] = ("file", path.read_bytes(), info.st_mtime_ns, stat.S_IMODE(info.st_mode))
        else:
            found[name] = ("folder",)
    return found


def files(folder: Path) -> dict[str, bytes]:
    """Contents of the regular files and links below a folder, by name."""
    if not folder.exists():
        return {}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.exists() and not path.is_dir()
    }


def parts(folder: Path) -> list[Path]:
    """Unfinished files below a folder."""
    return [path for path in folder.rglob("*") if path.name.endswith(".part")]

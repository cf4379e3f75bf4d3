"""Join the tables of a shard into what is wanted for each of its objects."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tierflow import config_io, corrections, plugins, tables
from tierflow.config import QUARANTINE
from tierflow.errors import TableError
from tierflow.policies import choose
from tierflow.tiers.acts import Want
from tierflow.tiers.names import is_safe, require_outside_input, tier_root

if TYPE_CHECKING:
    import pyarrow as pa

    from tierflow.config import Config
    from tierflow.corrections import Decision
    from tierflow.tiers.base import TierDriver


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted for the objects of one shard.

    Attributes:
        wants: One per object, in the order of the shard.
        why: The policy's reason for each, in words; or a person's, who decided against it.
        policy_tiers: Tier that the policy alone chose for each.
        decisions: The decision that holds for each; None where the policy's word stands.
        drivers: Drivers by name.
        cut: What tells this cut of the data set into shards from another.
        durable: Sync copied files.
    """

    wants: list[Want]
    why: list[str]
    policy_tiers: list[str]
    decisions: list[Decision | None]
    drivers: dict[str, TierDriver]
    cut: str
    durable: bool


def read_wanted(*, shard: Path, score: Path, policy: Path, config: Path, output: Path) -> Wanted:
    """Read the tables of a shard and choose tier, driver and destination of each object.

    Raises:
        InputMissingError: if a table isn't there.
        TableError: if one is damaged, or the score table isn't of this shard.
        ConfigError: if a driver isn't installed, a tier lies in the input folder, or a person chose an unknown tier.
    """
    settings = config_io.load(config)
    objects, scores = tables.read(shard), tables.read(score)
    if objects["object_id"].to_pylist() != scores["object_id"].to_pylist():
        raise TableError(f"{score} doesn't hold the objects of {shard} in their order: delete it and run again")
    root = _input_root(objects, shard)
    chosen, why = choose.load(policy).choose_table(scores)
    decisions = corrections.deciding(corrections.read(output), scores)
    corrections.require_known(decisions, [*settings.tiers, QUARANTINE])
    tiers = [d.tier if d and d.tier else tier for d, tier in zip(decisions, chosen, strict=True)]
    why = [
        corrections.words(d, policy_tier=tier) if d else reason
        for d, tier, reason in zip(decisions, chosen, why, strict=True)
    ]
    drivers: dict[str, TierDriver] = {}
    roots: dict[str, tuple[str, Path]] = {}
    for name in dict.fromkeys(tiers):
        driver_name = settings.tier(name).driver
        driver = drivers.setdefault(driver_name, plugins.load("tiers", driver_name)())
        roots[name] = driver_name, _root(settings, output, name, driver=driver, source_root=root)
    columns = [objects[name].to_pylist() for name in ("object_id", "path_bytes", "bytes", "mtime_ns")]
    wants = []
    for object_id, raw, size, mtime_ns, sha256, tier in zip(*columns, scores["sha256"].to_pylist(), tiers, strict=True):
        relative = PurePosixPath(os.fsdecode(raw))
        if not is_safe(relative):
            raise TableError(f"{shard} holds the path {str(relative)!r}, which leads out of the input: scan again")
        driver_name, tier_folder = roots[tier]
        wants.append(
            Want(
                object_id=object_id,
                source=root / relative,
                tier=tier,
                driver=driver_name,
                wanted=tier_folder / relative,
                sha256=sha256,
                size=size,
                mtime_ns=mtime_ns,
            )
        )
    return Wanted(wants, why, chosen, decisions, drivers, cut_of(shard), settings.place.fsync)


def cut_of(shard: Path) -> str:
    """Return a digest that changes when any shard table of the data set is written anew."""
    states = [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(shard.parent.glob("*.parquet"))
    ]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16]


def _input_root(objects: pa.Table, shard: Path) -> Path:
    root = tables.metadata_of(objects).get("input")
    if not root:
        raise TableError(f"{shard} doesn't say where its input folder is: delete it and run again")
    return Path(root).absolute()


def _root(settings: Config, output: Path, name: str, *, driver: TierDriver, source_root: Path) -> Path:
    root = tier_root(output, name, tier=settings.tier(name), driver=driver)
    if driver.places:
        require_outside_input(root, source_root=source_root, output=output, name=name)
    return root

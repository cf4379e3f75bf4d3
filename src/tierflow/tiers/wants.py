"""Join the tables of a shard into what is wanted for each of its objects."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from tierflow import config_io, corrections, plugins, tables
from tierflow.config import QUARANTINE
from tierflow.errors import ConfigError, TableError
from tierflow.io.remote import input_root, key_below
from tierflow.objectstore.base import Labels
from tierflow.objectstore.connect import StorePath, is_url
from tierflow.policies import choose
from tierflow.tiers.acts import Want
from tierflow.tiers.names import is_safe, require_outside_input, takes_urls, tier_root

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from tierflow.config import Config, Tier
    from tierflow.corrections import Decision
    from tierflow.objectstore.connect import Place
    from tierflow.policies.choose import Resolved
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
    return wanted_of(
        objects, scores, choose.load(policy), settings=settings, output=output, name=str(shard), cut=cut_of(shard)
    )


def wanted_of(
    objects: pa.Table, scores: pa.Table, policy: Resolved, *, settings: Config, output: Path, name: str, cut: str = ""
) -> Wanted:
    """Choose tier, driver and destination of each object.

    Args:
        objects: Scan table, stamped with its input.
        scores: Score table of the same objects in the same order.
        policy: The resolved policy.
        settings: Configuration.
        output: Output folder: of relative tiers, and of what people decided.
        name: What the scan table is called in messages.
        cut: What tells this cut of the data set into shards from another.

    Raises:
        TableError: if the scan table isn't stamped, or holds a path that leads out of the input.
        ConfigError: as `read_wanted`.
    """
    root = _input_root(objects, name)
    dataset = tables.metadata_of(objects).get("dataset") or settings.dataset_name
    chosen, why = policy.choose_table(scores)
    decisions = corrections.deciding(corrections.read(output), scores)
    corrections.require_known(decisions, [*settings.tiers, QUARANTINE])
    tiers = [d.tier if d and d.tier else tier for d, tier in zip(decisions, chosen, strict=True)]
    why = [
        corrections.words(d, policy_tier=tier) if d else reason
        for d, tier, reason in zip(decisions, chosen, why, strict=True)
    ]
    drivers: dict[str, TierDriver] = {}
    roots: dict[str, tuple[str, Place]] = {}
    for tier in dict.fromkeys(tiers):
        driver_name = settings.tier(tier).driver
        driver = drivers.setdefault(driver_name, plugins.load("tiers", driver_name)())
        roots[tier] = driver_name, _root(settings, output, tier, driver=driver, source_root=root)
    columns = [objects[column].to_pylist() for column in ("object_id", "path_bytes", "bytes", "mtime_ns")]
    wants = []
    for object_id, raw, size, mtime_ns, sha256, tier in zip(*columns, scores["sha256"].to_pylist(), tiers, strict=True):
        relative = PurePosixPath(os.fsdecode(raw))
        if not is_safe(relative):
            raise TableError(f"{name} holds the path {str(relative)!r}, which leads out of the input: scan again")
        driver_name, tier_folder = roots[tier]
        wants.append(
            Want(
                object_id=object_id,
                source=key_below(root, str(relative)) if isinstance(root, StorePath) else root / relative,
                tier=tier,
                driver=driver_name,
                wanted=tier_folder / relative,
                sha256=sha256,
                size=size,
                mtime_ns=mtime_ns,
                labels=labels_of(settings.tier(tier), tier=tier, object_id=object_id, dataset=dataset),
            )
        )
    return Wanted(wants, why, chosen, decisions, drivers, cut, settings.place.fsync)


def cut_of(shard: Path) -> str:
    """Return a digest that changes when any shard table of the data set is written anew."""
    states = [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(shard.parent.glob("*.parquet"))
    ]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16]


def labels_of(settings: Tier, *, tier: str, object_id: str, dataset: str) -> Labels:
    """Return what an object store is told besides the bytes; nothing where the tier lies in a folder.

    Args:
        settings: The tier's section of the configuration.
        tier: Its name.
        object_id: The object.
        dataset: Name of the data set.
    """
    if not settings.root or not is_url(settings.root):
        return Labels()
    if settings.tags is None:
        return Labels(settings.storage_class)
    own = {"tierflow_tier": tier, "tierflow_object_id": object_id, "tierflow_dataset": dataset}
    return Labels(settings.storage_class, {name: _tag_text(text) for name, text in (own | settings.tags).items()})


def _tag_text(text: str) -> str:
    """Return a value in which each character that S3 doesn't allow in tags is `_`, cut to its 256 characters."""
    return "".join(char if char.isalnum() or char in " +-=._:/@" else "_" for char in text)[:256]


def _input_root(objects: pa.Table, name: str) -> Place:
    root = tables.metadata_of(objects).get("input")
    if not root:
        raise TableError(f"{name} doesn't say where its input folder is: delete it and run again")
    return input_root(root)


def _root(settings: Config, output: Path, name: str, *, driver: TierDriver, source_root: Place) -> Place:
    if driver.places and isinstance(source_root, StorePath) and (driver.consumes or not takes_urls(driver)):
        raise ConfigError(
            f"tiers.{name}: the driver {driver.name!r} can't be used for the input {source_root}: "
            "choose the driver `copy` or `none`"
        )
    root = tier_root(output, name, tier=settings.tier(name), driver=driver)
    if driver.places:
        require_outside_input(root, source_root=source_root, output=output, name=name)
    return root

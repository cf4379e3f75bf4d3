"""Names of destinations: the object's own path below the tier's root, or a second choice when that is taken."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from tierflow.errors import ConfigError
from tierflow.io.identity import display_path
from tierflow.objectstore.connect import StorePath, place_at
from tierflow.tiers.files import NAME_MAX, look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tierflow.config import Tier
    from tierflow.objectstore.connect import Place
    from tierflow.tiers.base import TierDriver

_ID_DIGITS = 8
PlaceT = TypeVar("PlaceT", Path, StorePath, Path | StorePath)


def tier_root(output: Path, name: str, *, tier: Tier, driver: TierDriver) -> Place:
    """Return the folder or URL of a tier: as configured (relative to the output), else its own folder in the output.

    Raises:
        ConfigError: when a URL names no bucket, or the driver can't place into object stores.
    """
    root = place_at(tier.root, base=output) if tier.root else output / driver.folder / name
    if isinstance(root, StorePath) and driver.places and not takes_urls(driver):
        raise ConfigError(
            f"tiers.{name}: the driver {driver.name!r} can't place files at {root}: choose the driver `copy` or "
            "`move`, or make `root` a folder"
        )
    return root


def takes_urls(driver: TierDriver) -> bool:
    """Tell whether a driver can place into, and from, object stores."""
    return bool(getattr(driver, "takes_urls", False))


def require_outside_input(root: Place, *, source_root: Place, output: Path, name: str) -> None:
    """Refuse a tier in the input folder, where the next scan would take its files for new objects.

    Args:
        root: Folder or URL of the tier.
        source_root: Input folder or URL.
        output: Output folder, which scans leave out.
        name: Name of the tier.

    Raises:
        ConfigError: naming the key and the remedy.
    """
    if isinstance(root, StorePath):
        if root.is_relative_to(source_root):
            raise ConfigError(f"tiers.{name}.root: {root} lies in the input {source_root}: choose a place outside it")
        return
    if isinstance(source_root, StorePath):
        return
    real, source, results = (Path(os.path.realpath(path)) for path in (root, source_root, output))
    if real.is_relative_to(source) and not real.is_relative_to(results):
        raise ConfigError(f"tiers.{name}.root: {root} lies in the input folder {source_root}: choose one outside it")


def is_safe(relative: PurePosixPath) -> bool:
    """Tell whether a path stays below the folder it is joined to."""
    return not relative.is_absolute() and ".." not in relative.parts and relative.name != ""


def candidates(wanted: PlaceT, object_id: str) -> Iterator[PlaceT]:
    """Yield names for a destination, always the same in the same order: `x.tif`, `x~1a2b3c4d.tif`, `x~1a2b3c4d-2.tif`.

    Args:
        wanted: The first choice.
        object_id: Its first 8 digits make the second choice.

    >>> [path.name for path, _ in zip(candidates(Path("t/x.tif"), "1a2b3c4d5e"), range(3))]
    ['x.tif', 'x~1a2b3c4d.tif', 'x~1a2b3c4d-2.tif']
    """
    yield wanted
    for number in count(1):
        mark = f"~{object_id[:_ID_DIGITS]}" + (f"-{number}" if number > 1 else "")
        yield wanted.with_name(_fit(wanted.stem, mark + wanted.suffix))


def free_name(wanted: PlaceT, object_id: str, *, own: Place | None = None) -> PlaceT:
    """Return the first candidate that is free.

    Args:
        wanted: The first choice.
        object_id: The object.
        own: A name that counts as free, because what stands there is the object's own.
    """
    return next(path for path in candidates(wanted, object_id) if path == own or look(path) is None)


def shown(path: Place, output: Path) -> str:
    """Return a path for tables and people: relative to the output folder when inside it, always valid text."""
    if isinstance(path, StorePath):
        return str(path)
    short = path.relative_to(output) if path.is_relative_to(output) else path
    return display_path(os.fsencode(short))


def valid_text(text: str) -> str:
    """Return a message that may hold undecodable bytes of a path as text that any table can keep."""
    return text.encode("utf-8", "backslashreplace").decode()


def _fit(stem: str, end: str) -> str:
    """Shorten the stem, character by character, until the whole name fits into a folder entry."""
    while stem and len(os.fsencode(stem + end)) > NAME_MAX:
        stem = stem[:-1]
    return stem + end

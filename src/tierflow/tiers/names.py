"""Names of destinations: the object's own path below the tier's root, or a second choice when that is taken."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tierflow.errors import ConfigError
from tierflow.io.identity import display_path
from tierflow.tiers.files import NAME_MAX, look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tierflow.config import Tier
    from tierflow.tiers.base import TierDriver

_ID_DIGITS = 8


def tier_root(output: Path, name: str, *, tier: Tier, driver: TierDriver) -> Path:
    """Return the folder of a tier: as configured (relative to the output), else its own folder in the output."""
    return output / Path(tier.root).expanduser() if tier.root else output / driver.folder / name


def require_outside_input(root: Path, *, source_root: Path, output: Path, name: str) -> None:
    """Refuse a tier in the input folder, where the next scan would take its files for new objects.

    Args:
        root: Folder of the tier.
        source_root: Input folder.
        output: Output folder, which scans leave out.
        name: Name of the tier.

    Raises:
        ConfigError: naming the key and the remedy.
    """
    real, source, results = (Path(os.path.realpath(path)) for path in (root, source_root, output))
    if real.is_relative_to(source) and not real.is_relative_to(results):
        raise ConfigError(f"tiers.{name}.root: {root} lies in the input folder {source_root}: choose one outside it")


def is_safe(relative: PurePosixPath) -> bool:
    """Tell whether a path stays below the folder it is joined to."""
    return not relative.is_absolute() and ".." not in relative.parts and relative.name != ""


def candidates(wanted: Path, object_id: str) -> Iterator[Path]:
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


def free_name(wanted: Path, object_id: str, *, own: Path | None = None) -> Path:
    """Return the first candidate that is free.

    Args:
        wanted: The first choice.
        object_id: The object.
        own: A name that counts as free, because what stands there is the object's own.
    """
    return next(path for path in candidates(wanted, object_id) if path == own or look(path) is None)


def shown(path: Path, output: Path) -> str:
    """Return a path for tables and people: relative to the output folder when inside it, always valid text."""
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

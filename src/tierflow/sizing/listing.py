"""What a folder holds, before anything is opened: sizes, units and, where they are needed, names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tierflow.errors import ConfigError, InputMissingError
from tierflow.io.identity import display_path, object_id
from tierflow.io.layouts.headers import read_header
from tierflow.io.walk import Found, own_folders, walk
from tierflow.scan.naming import read_names
from tierflow.scan.rows import Row
from tierflow.scan.units import unit_id
from tierflow.scan.words import skipped_in_words
from tierflow.tables import NAME_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tierflow.config import Config


@dataclass(frozen=True, slots=True)
class Listing:
    """The objects of an input folder, in the order of their paths.

    Attributes:
        root: The input folder.
        files: Every file that a scan would take.
        size: Bytes of each object, shape (object,).
        unit: Unit of each object, numbered in the order of first appearance, shape (object,).
        warnings: What a person should act on.
    """

    root: Path
    files: Sequence[Found]
    size: NDArray[np.int64]
    unit: NDArray[np.int64]
    warnings: Sequence[str]

    @property
    def units(self) -> int:
        """Number of units."""
        return int(self.unit.max()) + 1

    @property
    def unit_objects(self) -> NDArray[np.int64]:
        """Objects of each unit, shape (unit,)."""
        return np.bincount(self.unit, minlength=self.units)

    @property
    def unit_bytes(self) -> NDArray[np.int64]:
        """Bytes of each unit, shape (unit,)."""
        return np.bincount(self.unit, weights=self.size, minlength=self.units).astype(np.int64)


def list_input(config: Config, *, output: Path | None = None) -> Listing:
    """Walk the input folder as a scan would; no file is opened unless units need its header.

    Args:
        config: Configuration with `input`.
        output: Folder of the results, which is never entered.

    Raises:
        InputMissingError: if the input isn't there or holds no image.
        ConfigError: if it is a file.
        TryAgainError: if its storage fails in a way that passes.
    """
    root = Path(config.input or "").expanduser().absolute()
    if root.is_file():
        raise ConfigError(f"input {root} is a file, expected a folder: `tierflow measure {root}` measures one file")
    found = walk(root, config.scan, skip_folders=own_folders(config, output) if output else ())
    if not found.files:
        why = skipped_in_words(found.skipped, found.extensions)
        raise InputMissingError(
            f"no image files in {root}: {why}; check the path, or scan.include and scan.exclude in the configuration"
        )
    size = np.fromiter((file.size for file in found.files), dtype=np.int64, count=len(found.files))
    if config.scan.unit == "file":
        unit = np.arange(len(found.files))
    else:
        numbers: dict[str, int] = {}
        rows = rows_of(config, root, found.files)
        unit = np.array([numbers.setdefault(row.unit_id, len(numbers)) for row in rows], dtype=np.int64)
    return Listing(root, found.files, size, unit, found.warnings)


def rows_of(config: Config, root: Path, files: Sequence[Found]) -> list[Row]:
    """Return the scan rows of some files, in their order; the same as a scan gives when it sees the same folders."""
    paths = [display_path(file.path) for file in files]
    base = os.fsencode(root)
    naming = read_names(paths, config.scan, lambda position: read_header(base + b"/" + files[position].path))
    rows = []
    for file, path, names, layout in zip(files, paths, naming.names, naming.layouts, strict=True):
        own = object_id(config.dataset_name, file.path)
        unit = unit_id(config.scan.unit, dataset=config.dataset_name, object_id=own, names=names)
        shown = names[: len(NAME_COLUMNS)]
        rows.append(Row._make((own, path, file.path, file.size, file.mtime_ns, file.is_link, unit, layout, *shown)))
    return rows


def shard_sizes(listing: Listing, *, max_objects: int, max_bytes: int) -> list[tuple[int, int]]:
    """Return objects and bytes of the shards that a scan would cut; see `tierflow.scan.shards.plan`."""
    shards: list[tuple[int, int]] = []
    objects = size = 0
    for more, added in zip(listing.unit_objects.tolist(), listing.unit_bytes.tolist(), strict=True):
        if objects and (objects + more > max_objects or size + added > max_bytes):
            shards.append((objects, size))
            objects = size = 0
        objects, size = objects + more, size + added
    return [*shards, (objects, size)]

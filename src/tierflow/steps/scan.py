"""scan: find the images of the input folder, read their names, cut shards. No pixel is read."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tierflow import config_io, plugins
from tierflow.config import QUARANTINE
from tierflow.errors import ConfigError, InputMissingError
from tierflow.io.identity import display_path, object_id
from tierflow.io.layouts.detect import header_layouts
from tierflow.io.layouts.headers import read_header, read_header_of
from tierflow.io.remote import input_root, input_text, key_below
from tierflow.io.walk import Found, Walk, walk_input
from tierflow.objectstore.connect import StorePath
from tierflow.output_folder import require_two_folders
from tierflow.scan import store
from tierflow.scan.naming import Naming, read_names
from tierflow.scan.rows import Row
from tierflow.scan.shards import plan, shard_name
from tierflow.scan.summary import part_of_rows, save, together
from tierflow.scan.units import unit_id
from tierflow.scan.words import skipped_in_words
from tierflow.steps._ports import Out, Param
from tierflow.tables import NAME_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from tierflow.config import Config
    from tierflow.objectstore.connect import Place

_LOG = logging.getLogger(__name__)
_BYTES_PER_MB = 1_000_000
_UNPARSED_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class _Input:
    """Files of this scan: those found, and those of a former scan that are known to be elsewhere or out of sight."""

    files: list[Found]
    vanished: int
    relocated: int
    unseen: int


def run(*, summary: Out, config: Param) -> None:
    """Scan the input folder into shard tables and a summary.

    Every shard table is complete before the summary appears. Objects of a former scan of the same output keep their
    shard; rows of files that a former run moved stay.

    Args:
        summary: `scan/summary.json` in the output folder; the shard tables go to `shards/` beside it.
        config: Configuration file.

    Raises:
        InputMissingError: if the input isn't there or holds no image.
        ConfigError: if the input is a file or the output itself, or the configuration is wrong.
    """
    settings = config_io.load(config)
    output = summary.parent.parent
    root = _input_folder(settings, output)
    former = store.load(summary.parent / "shards")
    found = walk_input(root, settings, output=output)
    known = _with_former(found, former, _relocated(output, former, settings))
    if not known.files:
        raise InputMissingError(_no_images(root, settings, found))
    paths = [display_path(file.path) for file in known.files]
    naming = read_names(paths, settings.scan, _header_reader(root, known.files, former))
    rows = _rows(settings, known.files, paths, naming)
    shards = plan(
        rows,
        former.home,
        first_new=former.first_new,
        max_objects=settings.scan.shard_objects,
        max_bytes=settings.scan.shard_mb * _BYTES_PER_MB,
    )
    store.save(summary.parent / "shards", shards, former, source=input_text(root), dataset=settings.dataset_name)
    _remove_tables(output, {shard_name(number) for number in shards})
    parts = {number: part_of_rows(members) for number, members in shards.items()}
    counts = together(parts, source=input_text(root), dataset=settings.dataset_name)
    content = counts | _report(found, known, naming, paths)
    for warning in content["warnings"]:
        _LOG.warning("%s", warning)
    save(summary, content)


def _remove_tables(output: Path, shards: Collection[str]) -> None:
    """Remove what later steps made of shards that no longer exist: searches and the report read whole folders."""
    for folder in ("extract", "score", "place", "catalogue", "index", "publish"):
        for table in (output / folder).glob("*"):
            if table.stem.isdigit() and table.stem not in shards:
                table.unlink(missing_ok=True)


def _input_folder(settings: Config, output: Path) -> Place:
    if not settings.input:
        raise ConfigError("`input` is missing: give the folder of images")
    root = input_root(settings.input)
    if isinstance(root, StorePath):
        _require_drivers(settings, root)
        return root
    if not os.path.lexists(root):
        raise InputMissingError(
            f"input folder {root} not found: check the path, and that its disk or network share is mounted"
        )
    if root.is_file():
        raise ConfigError(
            f"input {root} is a file, expected a folder: give the folder that holds it, or use "
            f"`tierflow measure {root}`"
        )
    require_two_folders(root, output)
    return root


def _require_drivers(settings: Config, root: StorePath) -> None:
    """Refuse before the long work what can't be placed after it."""
    tiers = {name: settings.tier(name).driver for name in (*settings.tiers, QUARANTINE)}
    wrong = [
        name
        for name, driver in tiers.items()
        if driver == "link" or getattr(plugins.load("tiers", driver), "consumes", False)
    ]
    if wrong:
        keys = ["quarantine.driver" if name == QUARANTINE else f"tiers.{name}.driver" for name in wrong]
        raise ConfigError(
            f"{', '.join(f'{key} is {tiers[name]!r}' for key, name in zip(keys, wrong, strict=True))}: "
            f"objects of {root} can't be linked, and tierflow takes nothing away from a store it reads from. Use the "
            "driver `none` (only the record says the tier) or `copy`: " + " ".join(f"--set {key}=none" for key in keys)
        )


def _relocated(output: Path, former: store.Former, settings: Config) -> Collection[str]:
    # Imported here: placing is another part of tierflow, and the first scan of an output needs none of it.
    from tierflow.tiers.whereabouts import relocated

    moved = relocated(output).keys() if former.rows else ()
    if moved and former.dataset != settings.dataset_name:
        raise ConfigError(
            f"dataset is {settings.dataset_name!r}, but {len(moved)} files of {former.dataset!r} were moved from the "
            f"input by runs of this output: set `dataset: {former.dataset}`, or use a new output folder"
        )
    return moved


def _with_former(found: Walk, former: store.Former, relocated: Collection[str]) -> _Input:
    """Add files of the former scan that aren't in the input now but aren't lost either."""
    missing = former.rows.keys() - {file.path for file in found.files}
    moved, hidden = [], []
    for path in missing:
        row = former.rows[path]
        file = Found(path, row.bytes, row.mtime_ns, row.is_link)
        if row.object_id in relocated:
            moved.append(file)
        elif any(path.startswith(folder + b"/") for folder in found.unseen):
            hidden.append(file)
    return _Input(
        files=sorted(found.files + moved + hidden),
        vanished=len(missing) - len(moved) - len(hidden),
        relocated=len(moved),
        unseen=len(hidden),
    )


def _header_reader(root: Place, files: Sequence[Found], former: store.Former) -> Callable[[int], Mapping[str, str]]:
    """Return a reader that opens a file only when the former scan didn't read the same header."""
    from_headers = {layout.name for layout in header_layouts()}
    open_header = _opener(root)

    def read(position: int) -> Mapping[str, str]:
        file = files[position]
        row = former.rows.get(file.path)
        if row is not None and row.layout in from_headers and (row.bytes, row.mtime_ns) == (file.size, file.mtime_ns):
            said = {name: str(value) for name in NAME_COLUMNS if (value := getattr(row, name)) is not None}
            return {"kind": row.layout} | said
        return open_header(file.path)

    return read


def _opener(root: Place) -> Callable[[bytes], Mapping[str, str]]:
    if isinstance(root, StorePath):
        return lambda path: read_header_of(key_below(root, path.decode()).open, path)
    base = os.fsencode(root)
    return lambda path: read_header(base + b"/" + path)


def _rows(settings: Config, files: Sequence[Found], paths: Sequence[str], naming: Naming) -> list[Row]:
    dataset, kind = settings.dataset_name, settings.scan.unit
    rows = []
    for file, path, names, layout in zip(files, paths, naming.names, naming.layouts, strict=True):
        own_id = object_id(dataset, file.path)
        unit = unit_id(kind, dataset=dataset, object_id=own_id, names=names)
        shown = names[: len(NAME_COLUMNS)]
        rows.append(Row._make((own_id, path, file.path, file.size, file.mtime_ns, file.is_link, unit, layout, *shown)))
    return rows


def _no_images(root: Place, settings: Config, found: Walk) -> str:
    remedy = (
        "check scan.include and scan.exclude"
        if settings.scan.include or settings.scan.exclude
        else "name other endings in scan.include, such as ['*.dat']"
    )
    skipped = skipped_in_words(found.skipped, found.extensions)
    return "\n".join([f"no image files in {root}: {skipped}; check the path, or {remedy}", *found.warnings])


def _report(found: Walk, known: _Input, naming: Naming, paths: Sequence[str]) -> dict[str, Any]:
    warnings = list(found.warnings)
    if naming.unparsed:
        warnings.append(
            f"{len(naming.unparsed)} of {len(paths)} names don't fit the naming layout of the others, such as "
            f"{paths[naming.unparsed[0]]!r}: `tierflow layouts` shows what is read from each name"
        )
    if known.vanished:
        warnings.append(
            f"{known.vanished} files of the former scan are gone from the input and left this run: "
            "if that is a surprise, check that the whole disk or network share is mounted, then run again"
        )
    return {
        "skipped": dict(found.skipped),
        "skipped_extensions": dict(found.extensions),
        "examples": dict(found.examples),
        "layouts": naming.summary(),
        "unparsed": len(naming.unparsed),
        "unparsed_examples": [paths[i] for i in naming.unparsed[:_UNPARSED_EXAMPLES]],
        "headers_read": naming.headers,
        "vanished": known.vanished,
        "relocated": known.relocated,
        "unseen": known.unseen,
        "warnings": warnings,
    }

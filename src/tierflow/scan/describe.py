"""Show which naming layout fits a folder and what would be read from its names, before anything is run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierflow.io.identity import display_path
from tierflow.io.layouts import generic
from tierflow.io.layouts.base import Names, split_path
from tierflow.io.layouts.detect import Fit, candidates, detect
from tierflow.io.layouts.headers import read_header
from tierflow.io.walk import walk
from tierflow.scan.naming import read_names
from tierflow.scan.words import skipped_in_words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tierflow.config import Scan

_SAMPLE = 5000


@dataclass(frozen=True, slots=True)
class Example:
    """What would be read from one name.

    Attributes:
        path: Path relative to the folder.
        layout: Layout that reads it.
        names: What it says.
        files: Files in the same folder.
    """

    path: str
    layout: str
    names: Names
    files: int


@dataclass(frozen=True, slots=True)
class Description:
    """What `tierflow layouts FOLDER` shows.

    Attributes:
        files: Image files found.
        skipped: What was left out, in words.
        fits: Layouts that read some of the names of the whole tree, the best first; `generic` reads all.
        layouts: Layouts that a scan would use: name, objects, confidence.
        examples: One name per folder, then names that don't fit the layout of their folder.
        more_folders: Folders that `examples` doesn't show.
        unparsed: Names that don't fit.
        warnings: What a person should act on.
    """

    files: int
    skipped: str
    fits: list[Fit]
    layouts: list[dict[str, object]]
    examples: list[Example]
    more_folders: int
    unparsed: int
    warnings: list[str]


def describe(folder: Path, config: Scan, *, limit: int = 20) -> Description:
    """Find out how a folder's files are named.

    Args:
        folder: Folder of images.
        config: Section `scan` of the configuration.
        limit: Folders to show, and names that don't fit to show, at most.

    Raises:
        InputMissingError: if the folder isn't there or can't be listed.
        ConfigError: if the layout isn't installed or the pattern is wrong.
    """
    found = walk(folder, config)
    paths = [display_path(file.path) for file in found.files]
    base = os.fsencode(folder)

    def header(position: int) -> Mapping[str, str]:
        return read_header(base + b"/" + found.files[position].path)

    naming = read_names(paths, config, header)
    first: dict[str, int] = {}
    count: dict[str, int] = {}
    for position, path in enumerate(paths):
        place = split_path(path)[0]
        first.setdefault(place, position)
        count[place] = count.get(place, 0) + 1
    # Of a folder without a layout one name is enough.
    misfits = [i for i in naming.unparsed if naming.fits.get(split_path(paths[i])[0])]
    shown = dict.fromkeys([*list(first.values())[:limit], *misfits[:limit]])
    return Description(
        files=len(paths),
        skipped=skipped_in_words(found.skipped, found.extensions),
        fits=detect(paths, [*candidates(), generic.LAYOUT], sample=_SAMPLE),
        layouts=naming.summary(),
        examples=[Example(paths[i], naming.layouts[i], naming.names[i], count[split_path(paths[i])[0]]) for i in shown],
        more_folders=max(0, len(first) - limit),
        unparsed=len(naming.unparsed),
        warnings=found.warnings,
    )

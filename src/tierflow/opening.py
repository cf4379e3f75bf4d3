"""Look at the files of a search: as a page with pictures, as a folder of links, or in napari."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import webbrowser
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tierflow.catalogue.located import located
from tierflow.errors import ConfigError, InputMissingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierflow.catalogue.base import Catalogue
    from tierflow.catalogue.query import Query

Viewer = Literal["report", "folder", "napari"]
PAGE = "found.html"
MOST = {"report": 200, "folder": 10_000, "napari": 50}
"""Objects that are opened without a limit in the search."""


def open_found(
    catalogue: Catalogue, query: Query, viewer: Viewer, *, folder: Path | None, where: str, told: str
) -> str:
    """Open what a search finds.

    Args:
        catalogue: Where to search.
        query: What to find; without a limit, the first 200 (report), 10,000 (folder) or 50 (napari).
        viewer: `report` writes a page of pictures, `folder` makes symbolic links, `napari` starts napari.
        folder: Where page or links go; a new temporary folder without it.
        where: What is searched, in words.
        told: The query as it was written.

    Returns:
        A sentence that says what was opened or, where there is no screen, where it is.

    Raises:
        ConfigError: if napari isn't installed, or `folder` goes with it.
        InputMissingError: if nothing is found.
    """
    total = catalogue.count(query.filters)
    if total == 0:
        raise InputMissingError(f"nothing found for {told!r} in {where}: there is nothing to open")
    query = replace(query, limit=query.limit or MOST[viewer])
    if viewer == "napari":
        return _napari(catalogue, query, total=total, folder=folder)
    folder = Path(tempfile.mkdtemp(prefix="tierflow-found-")) if folder is None else folder.absolute()
    if viewer == "folder":
        return _links(catalogue, query, folder, total=total)
    return _page(catalogue, query, folder, total=total, where=where, told=told)


def _page(catalogue: Catalogue, query: Query, folder: Path, *, total: int, where: str, told: str) -> str:
    # The page brings its template engine and the decoders.
    from tierflow.report.found import write_found

    fields = catalogue.fields()
    features = [field.column for name, field in fields.items() if name.startswith("features.")]
    records = [found.record for found in located(catalogue, replace(query, columns=()))]
    page = folder / PAGE
    write_found(
        page,
        records,
        folders={run: catalogue.folders(run) for run in {record["run"] for record in records}},
        features=features,
        where=where,
        query=told,
        total=total,
    )
    if has_screen() and webbrowser.open(page.as_uri()):
        return f"opened {page}"
    return f"{_some(len(records), total)} in {page}: open it in a browser"


def _links(catalogue: Catalogue, query: Query, folder: Path, *, total: int) -> str:
    # Most searches open nothing, and needn't wait for what copies and links.
    from tierflow.catalogue.fetch import fetch, wanted

    files = wanted(catalogue, query)
    report = fetch(files, folder, how="link", verify=False)
    told = f"{_some(len(files) - len(report.bad), total)} as links in {folder}"
    if report.bad:
        told += f"; {len(report.bad):,} could not be linked, see {report.manifest}"
    opener = shutil.which({"darwin": "open", "win32": "explorer"}.get(sys.platform, "xdg-open"))
    if has_screen() and opener is not None:
        _start([opener, str(folder)])
    return told


def _napari(catalogue: Catalogue, query: Query, *, total: int, folder: Path | None) -> str:
    if folder is not None:
        raise ConfigError("--to goes with --open report or --open folder: napari opens the files where they are")
    if find_spec("napari") is None:
        raise ConfigError(
            "napari isn't installed: `pip install 'napari[all]'` and run the same command again, or use --open folder"
        )
    found = [found.path for found in located(catalogue, query)]
    there = [str(path) for path in found if isinstance(path, Path) and path.is_file()]
    if not there:
        raise InputMissingError(f"none of the {len(found):,} files is there, the first {found[0]}: mount its share")
    if not has_screen():
        raise ConfigError("napari needs a screen, and there is none here: use --open report, or `tierflow fetch`")
    _start([sys.executable, "-m", "napari", *there])
    return f"napari opens {_some(len(there), total)}"


def has_screen() -> bool:
    """Tell whether a window can be shown; without one, a browser for text would take the terminal over."""
    if sys.platform in ("darwin", "win32"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _start(command: Sequence[str]) -> None:
    """Start a program that outlives this one and doesn't write between its lines."""
    subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def _some(shown: int, total: int) -> str:
    return f"{total:,} objects" if shown == total else f"{shown:,} of {total:,} objects (--limit for more)"

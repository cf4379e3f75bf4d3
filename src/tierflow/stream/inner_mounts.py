"""File systems that are mounted inside the watched folder: a plate on a disk of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tierflow.io.identity import display_path
from tierflow.stream.states import OPEN

if TYPE_CHECKING:
    from pathlib import Path

    from tierflow.stream.ledger import Ledger

_FACT = "inner_mounts"


class InnerMounts:
    """Folders inside the root that another file system is mounted on; what lies there isn't lost when it goes.

    Args:
        root: The input folder.
        ledger: Keeps them over restarts.
    """

    def __init__(self, root: Path, ledger: Ledger) -> None:
        self._root = os.fsencode(root)
        self._ledger = ledger
        self._tops = {os.fsencode(name) for name in ledger.fact(_FACT, [])}

    def note(self, folder: bytes, device: int, root_device: int) -> None:
        """Note on which device a folder lies that was just listed."""
        if device == root_device or any(_is_inside(folder, top) for top in self._tops):
            return
        self._tops.add(folder)
        self._ledger.note(**{_FACT: sorted(os.fsdecode(top) for top in self._tops)})

    def is_missing(self, folder: bytes) -> bool:
        """Tell whether a folder belongs to a file system that isn't mounted now."""
        return any(_is_inside(folder, top) and not self._is_mounted(top) for top in self._tops)

    def missing(self) -> list[str]:
        """Return the folders whose file system isn't mounted now, although something there still has to be handled.

        A disk that was taken away when all was done is nobody's trouble.
        """
        away = (top for top in self._tops if not self._is_mounted(top))
        return sorted(display_path(top) for top in away if self._is_waited_for(top))

    def _is_waited_for(self, top: bytes) -> bool:
        marks = ", ".join("?" * len(OPEN))
        # All paths that begin with `top/`: the character after the slash is `0`.
        found = self._ledger.query(
            f"SELECT 1 FROM objects WHERE (folder = ? OR folder > ? AND folder < ?) AND state IN ({marks}) LIMIT 1",  # noqa: S608
            (top, top + b"/", top + b"0", *sorted(OPEN)),
        )
        return bool(found)

    def _is_mounted(self, top: bytes) -> bool:
        try:
            root = os.stat(self._root)  # noqa: PTH116 - pathlib can't hold bytes
            return os.stat(os.path.join(self._root, top)).st_dev != root.st_dev  # noqa: PTH116, PTH118
        except OSError:
            return False


def _is_inside(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder + b"/")

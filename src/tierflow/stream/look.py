"""One look at a file: is it there, is it the one that the ledger knows, does it lack something?"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierflow.io.identity import display_path
from tierflow.stream.complete import sentinel_of
from tierflow.stream.last_strip import missing_end

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tierflow.config_stream import Complete as Settings
    from tierflow.stream.companions import Companions
    from tierflow.stream.ledger import Row

_MODE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at a file's entry found.

    Attributes:
        size: Bytes; of the target where a link leads to a file.
        mtime_ns: Time of last change; the later of link and target.
        inode: Of the entry itself.
        dangling: A symbolic link whose target isn't there.
    """

    size: int
    mtime_ns: int
    inode: int
    dangling: bool = False

    def equals(self, row: Row) -> bool:
        """Tell whether the file is still as the ledger says."""
        return self.size == row.size and self.mtime_ns == row.mtime_ns


def look(path: bytes) -> Seen | None:
    """Look at a file, None when it isn't there.

    Raises:
        OSError: if that can't be told: the share is away, the folder may not be entered.
    """
    try:
        own = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISLNK(own.st_mode):
        return Seen(own.st_size, own.st_mtime_ns, own.st_ino)
    try:
        target = os.stat(path)  # noqa: PTH116 - pathlib can't hold bytes
    except OSError:
        return Seen(own.st_size, own.st_mtime_ns, own.st_ino, dangling=True)
    return Seen(target.st_size, max(own.st_mtime_ns, target.st_mtime_ns), own.st_ino)


class Lacks:
    """Looks for what a file lacks beside its bytes. One instance per step: folders are asked once.

    Args:
        root: The input folder.
        settings: Section `stream.complete`.
        companions: Knows which files come with which.
    """

    def __init__(self, root: Path, settings: Settings, companions: Companions) -> None:
        self._base = os.fsencode(root)
        self._settings = settings
        self._companions = companions
        self._sentinels: dict[bytes, str | None] = {}

    def looks(self, row: Row, seen: Seen, layout: str) -> list[Callable[[], str | None]]:
        """Return the looks that a file needs, the cheapest first; each says what is missing in words, or None."""
        looks: list[Callable[[], str | None]] = []
        if self._settings.sentinel:
            looks.append(lambda: self._sentinel(row.path))
        if self._settings.companions:
            looks.append(lambda: self._companions.missing(row.path, layout))
        if seen.dangling:
            return [lambda: "it is a link, and what it leads to isn't there", *looks]
        if self._settings.read_to_end:
            looks.append(lambda: _end(os.path.join(self._base, row.path)))  # noqa: PTH118 - bytes
        return looks

    def _sentinel(self, path: bytes) -> str | None:
        folder, _, name = path.rpartition(b"/")
        wanted = os.fsencode(sentinel_of(os.fsdecode(name), self._settings.sentinel or ""))
        place = folder + b"/" + wanted if folder else wanted
        if place not in self._sentinels:
            there = os.path.lexists(os.path.join(self._base, place))  # noqa: PTH118 - bytes
            self._sentinels[place] = None if there else f"{display_path(wanted)} isn't there yet"
        return self._sentinels[place]


def _end(path: bytes) -> str | None:
    try:
        # Without waiting, should a pipe have taken the file's place.
        handle = os.fdopen(os.open(path, _MODE), "rb", buffering=0)
    except PermissionError:
        return "it may not be read: give this user read permission"
    with handle:
        return missing_end(handle)

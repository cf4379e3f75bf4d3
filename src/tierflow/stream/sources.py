"""Whether the files of a batch are still those that were measured."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierflow.errors import TryAgainError, is_passing

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at a file found, as a scan sees it.

    Attributes:
        size: Bytes; of the target where a link leads to a file.
        mtime_ns: Time of last change in ns since 1970; the later of link and target.
        inode: Number of the entry itself.
    """

    size: int
    mtime_ns: int
    inode: int


def look(root: bytes, path: bytes) -> Seen | None:
    """Look at a file of the input.

    Args:
        root: The input folder.
        path: Path relative to it, as the file system has it.

    Returns:
        None where nothing is there.

    Raises:
        TryAgainError: if the file system is away.
    """
    whole = os.path.join(root, path)  # noqa: PTH118 - pathlib can't hold bytes
    try:
        own = os.lstat(whole)
    except OSError as error:
        if is_passing(error):
            raise TryAgainError(f"{os.fsdecode(whole)}: {error.strerror}: waiting for the disk or share") from error
        return None
    if not stat.S_ISLNK(own.st_mode):
        return Seen(own.st_size, own.st_mtime_ns, own.st_ino)
    try:
        target = os.stat(whole)  # noqa: PTH116 - as above
    except OSError:
        return Seen(own.st_size, own.st_mtime_ns, own.st_ino)
    return Seen(target.st_size, max(own.st_mtime_ns, target.st_mtime_ns), own.st_ino)


class Root:
    """The input folder, and whether it is the one that it was at the start: an unmounted share leaves an empty folder.

    Args:
        folder: The input folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bytes = os.fsencode(folder)
        self._identity = _identity(folder)

    def require(self) -> None:
        """See that the folder is there.

        Raises:
            TryAgainError: if it isn't, or another file system is there now.
        """
        now = _identity(self.folder)
        if self._identity is None:
            self._identity = now
        if now is None or now != self._identity:
            raise TryAgainError(
                f"input folder {self.folder} went away: nothing is lost, handling goes on when it is mounted again"
            )


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        info = folder.stat()
    except OSError:
        return None
    return info.st_dev, info.st_ino

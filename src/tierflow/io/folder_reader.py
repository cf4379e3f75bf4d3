"""List single folders by the rules of `tierflow.io.walk`, for those who can't wait for the whole tree."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, cast

from tierflow.errors import TryAgainError
from tierflow.io.identity import display_path
from tierflow.io.walk import RUN_MARK, Found, Walk, Walker, folder_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tierflow.config import Scan

CHUNK = 500
"""Entries that are judged between two pauses."""


@dataclass(frozen=True, slots=True)
class FolderState:
    """A folder as it was just before it was listed: another state means that names came or went.

    Attributes:
        device: Number of the device it lies on.
        inode: Its number there.
        mtime_ns: Time of its last change, in ns since 1970.
    """

    device: int
    inode: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Listing:
    """What one folder holds.

    Attributes:
        state: The folder itself, before it was listed.
        files: Files that are taken.
        folders: Real folders to enter, relative to the root.
        linked: Folders behind links to enter after all real ones; empty unless `scan.follow_links`.
    """

    state: FolderState
    files: list[Found]
    folders: list[bytes]
    linked: list[bytes]


class _Skips(Walk):
    """Passes on what is left out: counts and examples are for a scan's report, here they would grow without end."""

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        super().__init__()
        self._tell = tell

    def skip(self, reason: str, path: str) -> None:
        self._tell(reason, path)


class FolderReader(Walker):
    """Lists folders one by one. It remembers which it has entered where links are followed: make one per look.

    Args:
        root: The input folder.
        scan: Section `scan` of the configuration.
        skip_folders: Folders that are never entered, wherever they lie.
        between: Called after every 500 entries, so that other threads get their turn in a folder of 100,000 files.
        skipped: Called with reason and path of each entry of a listed folder that is left out.
    """

    def __init__(
        self,
        root: Path,
        scan: Scan,
        *,
        skip_folders: list[Path],
        between: Callable[[], None] = lambda: None,
        skipped: Callable[[str, str], None] = lambda _reason, _path: None,
    ) -> None:
        super().__init__(root, scan, skip_folders)
        self._between, self._skipped = between, skipped

    def state(self, folder: bytes) -> FolderState:
        """Return what a folder is now.

        Raises:
            OSError: if it can't be reached.
        """
        found = os.stat(self._absolute(folder))  # noqa: PTH116 - pathlib can't hold bytes
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(20, "not a folder", display_path(folder))
        return FolderState(found.st_dev, found.st_ino, found.st_mtime_ns)

    def read(self, folder: bytes) -> Listing | None:
        """List a folder; None when it holds the results of another run and is left out.

        Raises:
            OSError: if it can't be listed, or not to its end.
        """
        # The state comes first: what is made while the folder is listed gives it another one.
        state = self.state(folder)
        self.found = _Skips(self._skipped)
        files, folders, linked = self.found.files, [], []  # type: ignore[var-annotated]
        prefix = folder + b"/" if folder else b""
        with os.scandir(self._absolute(folder)) as listing:
            entries = list(listing)
        if folder and any(entry.name == RUN_MARK for entry in entries):
            return None
        rest = iter(entries)
        while chunk := list(islice(rest, CHUNK)):
            for entry in chunk:
                self._entry(entry, prefix + entry.name, folders, linked)
            self._between()
        self.found = Walk()
        return Listing(state, files, folders, sorted(linked))

    def one(self, path: bytes) -> Found | None:
        """Look at one entry; None when it isn't taken, a folder, or gone.

        Raises:
            TryAgainError: if the file system is away.
        """
        entry = _Entry(self._absolute(path), path.rpartition(b"/")[2])
        files = self.found.files = []
        if entry.mode is None:
            return None
        if entry.is_symlink():
            self._link(cast("os.DirEntry[bytes]", entry), path, [])
        elif not stat.S_ISDIR(entry.mode):
            self._file(cast("os.DirEntry[bytes]", entry), path)
        found = files[0] if files else None
        self.found = Walk()
        return found

    def is_there(self, path: bytes) -> bool:
        """Tell whether an entry exists, whatever it is.

        Raises:
            OSError: if that can't be told.
        """
        try:
            os.lstat(self._absolute(path))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def enters(self, folder: bytes) -> bool:
        """Tell whether a folder that was just announced would be entered by its name and nature."""
        absolute = self._absolute(folder)
        try:
            mode = os.lstat(absolute).st_mode
        except OSError:
            return False
        if stat.S_ISLNK(mode):
            into: list[bytes] = []
            if os.path.isdir(absolute):  # noqa: PTH112 - pathlib can't hold bytes
                self._linked_folder(folder, display_path(folder), into)
            return bool(into)
        if not stat.S_ISDIR(mode) or folder_reason(self.selection, display_path(folder)) is not None:
            return False
        try:
            state = os.stat(absolute)  # noqa: PTH116 - pathlib can't hold bytes
        except OSError:
            return False
        return (state.st_dev, state.st_ino) not in self.own

    def is_new_folder(self, folder: bytes) -> bool:
        """Note that a folder is entered; False when it was before, by another path."""
        return self._is_new(folder)

    def note_entered(self, states: Iterable[FolderState]) -> None:
        """Count folders as entered before: only new ones are then listed as folders, where links are followed."""
        self.seen.update((state.device, state.inode) for state in states)


class _Entry:
    """As much of an `os.DirEntry` as the rules ask of one."""

    def __init__(self, absolute: bytes, name: bytes) -> None:
        self.name = name
        self._path = absolute
        self.mode: int | None
        try:
            self._own = os.lstat(absolute)
        except (FileNotFoundError, NotADirectoryError):
            self.mode = None
        except OSError as error:
            raise TryAgainError(
                f"{display_path(absolute)}: {error.strerror}: check the disk or share; tierflow looks again by itself"
            ) from error
        else:
            self.mode = self._own.st_mode

    def is_symlink(self) -> bool:
        return self.mode is not None and stat.S_ISLNK(self.mode)

    def is_file(self, *, follow_symlinks: bool) -> bool:
        return self.mode is not None and stat.S_ISREG(os.stat(self._path).st_mode if follow_symlinks else self.mode)  # noqa: PTH116

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return os.stat(self._path) if follow_symlinks else self._own  # noqa: PTH116

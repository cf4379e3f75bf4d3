"""Events of the file system, as hints where to look: a bounded set, never the truth."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

MOST = 10_000
"""Paths and folders that are remembered; beyond, it is quicker to look at everything."""


@dataclass(slots=True)
class Taken:
    """Hints since the last time.

    Attributes:
        files: Path of an entry (relative to the root) and whether it was closed by its writer or renamed into place.
        folders: Folders to look at, with all that is new below them.
        gone: Folders that were deleted or moved away.
        everything: Why all folders must be looked at; None when there is no reason to.
    """

    files: dict[bytes, bool] = field(default_factory=dict)
    folders: dict[bytes, None] = field(default_factory=dict)
    gone: set[bytes] = field(default_factory=set)
    everything: str | None = None

    def __bool__(self) -> bool:
        """Tell whether there is anything to do."""
        return bool(self.files or self.folders or self.gone or self.everything)


class Hints:
    """Collects hints from the threads that read events, for the one that looks.

    Args:
        most: Hints that are remembered, at most.
    """

    def __init__(self, *, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._taken = Taken()
        self.news = threading.Event()
        """Set while there are hints."""
        self.overflows = 0
        """How often hints were dropped, here or by the kernel."""
        self.received = 0
        """How many hints came, of any kind."""

    def file(self, path: bytes, *, closed: bool) -> None:
        """Something happened to an entry.

        Args:
            path: The entry, relative to the root.
            closed: It was closed by its writer, or renamed into place.
        """
        with self._lock:
            if self._has_room():
                self._taken.files[path] = closed or self._taken.files.get(path, False)
        self.news.set()

    def folder(self, path: bytes) -> None:
        """A folder is new, or changed in a way that says nothing of its entries."""
        with self._lock:
            if self._has_room():
                self._taken.folders[path] = None
        self.news.set()

    def folder_gone(self, path: bytes) -> None:
        """A folder was deleted or moved away."""
        with self._lock:
            if self._has_room():
                self._taken.gone.add(path)
        self.news.set()

    def everything(self, reason: str) -> None:
        """Events were lost: all folders must be looked at.

        Args:
            reason: Why, in words.
        """
        with self._lock:
            self.received += 1
            if self._taken.everything is None:
                self.overflows += 1
            self._taken = Taken(everything=reason)
        self.news.set()

    def take(self) -> Taken:
        """Return the hints so far and begin anew."""
        with self._lock:
            taken, self._taken = self._taken, Taken()
            self.news.clear()
        return taken

    def _has_room(self) -> bool:
        self.received += 1
        taken = self._taken
        if taken.everything is not None:
            return False
        if len(taken.files) + len(taken.folders) + len(taken.gone) < self._most:
            return True
        self.overflows += 1
        self._taken = Taken(everything=f"more than {self._most:,} events came at once")
        return False


def inside_of(folders: Collection[bytes], paths: Iterable[bytes]) -> list[bytes]:
    """Return the paths that are one of some folders, or lie below one; in one pass, whatever their number.

    >>> inside_of({b"a"}, [b"a", b"a/b/c", b"ab", b"b/a"])
    [b'a', b'a/b/c']
    """
    return [path for path in paths if _has_ancestor(path, folders)]


def _has_ancestor(path: bytes, folders: Collection[bytes]) -> bool:
    while path not in folders:
        if not path:
            return False
        path = path.rpartition(b"/")[0]
    return True

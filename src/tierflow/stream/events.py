"""Sources of hints: inotify on Linux, folder by folder; elsewhere what the library `watchdog` has for the system."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from tierflow.stream.hints import Hints

_LOG = logging.getLogger(__name__)

KERNEL_DROPPED = "the kernel's event queue overflowed (fs.inotify.max_queued_events)"

_LIMITS = {
    errno.ENOSPC: "the limit of watched folders is reached: raise fs.inotify.max_user_watches (sysctl)",
    errno.EMFILE: "the limit of event queues is reached: raise fs.inotify.max_user_instances (sysctl), or ulimit -n",
    errno.ENFILE: "the system has no more open files: raise fs.file-max (sysctl)",
    errno.ENOMEM: "the kernel has no memory for another watch",
    errno.ENOSYS: "the system has no file system events",
}


class LimitError(Exception):
    """Events can't be had for all folders; the message says why and what to do."""


class Source(Protocol):
    """Something that gives hints."""

    def start(self) -> None:
        """Begin. Raises `LimitError` when there are no events to be had."""

    def watch(self, folder: bytes) -> None:
        """Make sure that a folder is watched, before it is listed. Raises `LimitError`."""

    def forget(self, folders: Collection[bytes]) -> None:
        """Folders are gone, with all below them."""

    def stop(self) -> None:
        """End; no hints come afterwards."""

    def alive(self) -> bool:
        """Tell whether hints still come."""


def make_source(root: Path, hints: Hints) -> Source:
    """Return the source for this system, not yet started."""
    if sys.platform == "linux":
        # Imported here: the module fails to load on other systems.
        from tierflow.stream.inotify import InotifySource

        return InotifySource(root, hints)
    return TreeSource(root, hints)


def limit_error(error: OSError) -> LimitError | None:
    """Return what to tell when an error is a limit of the system; None for other errors."""
    text = _LIMITS.get(error.errno or 0)
    return LimitError(text) if text else None


class TreeSource(FileSystemEventHandler):
    """Events of a whole tree by `watchdog`: FSEvents on macOS, kqueue on BSD.

    The system doesn't say when it drops events there: the periodic looks find what they missed.
    """

    def __init__(self, root: Path, hints: Hints) -> None:
        self._root = os.fsencode(root)
        self._hints = hints
        self._observer: Any = None

    def start(self) -> None:
        """See `Source`."""
        self._observer = Observer()
        try:
            self._observer.schedule(self, os.fsdecode(self._root), recursive=True)
            self._observer.start()
        except OSError as error:
            raise limit_error(error) or LimitError(f"events can't be had: {error.strerror}") from error

    def watch(self, folder: bytes) -> None:
        """See `Source`: the whole tree is watched already."""

    def forget(self, folders: Collection[bytes]) -> None:
        """See `Source`."""

    def stop(self) -> None:
        """See `Source`."""
        if self._observer is not None and self._observer.is_alive():
            self._observer.stop()
            self._observer.join(timeout=5)

    def alive(self) -> bool:
        """See `Source`."""
        return self._observer is not None and self._observer.is_alive()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Turn an event into hints; called by `watchdog`."""
        source, target = self._relative(event.src_path), self._relative(event.dest_path)
        if isinstance(event, DirCreatedEvent | DirMovedEvent | DirDeletedEvent):
            if not isinstance(event, DirCreatedEvent) and source:
                self._hints.folder_gone(source)
            if not isinstance(event, DirDeletedEvent) and (place := target or source):
                self._hints.folder(place)
        elif not event.is_directory:
            if source and isinstance(event, FileClosedEvent | FileDeletedEvent | FileMovedEvent | FileModifiedEvent):
                self._hints.file(source, closed=isinstance(event, FileClosedEvent))
            elif source and event.event_type == "created":
                self._hints.file(source, closed=False)
            if target:
                self._hints.file(target, closed=True)

    def _relative(self, path: bytes | str) -> bytes | None:
        raw = os.fsencode(path)
        return raw[len(self._root) + 1 :] if raw.startswith(self._root + b"/") else None


class Numbers:
    """Numbers that no two callers share."""

    def __init__(self) -> None:
        self._next = itertools.count(1)
        self._lock = threading.Lock()

    def new(self) -> int:
        """Return a number."""
        with self._lock:
            return next(self._next)

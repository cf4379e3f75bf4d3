"""Hints from inotify, through the reader of the library `watchdog`, one watch per folder.

`watchdog`'s own recursive observer isn't used: it enters folders that are left out here, says nothing when the limit
of watches is reached below the root, and pairs moves in quadratic time. Folders are watched by the one who lists them,
always before the listing, so that no file falls between the two.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

from watchdog.observers.inotify_c import CallbackId, InotifyConstants, InotifyEvent, InotifyFD, Mask, WatchDescriptor

from tierflow.stream.events import KERNEL_DROPPED, LimitError, Numbers, limit_error
from tierflow.stream.hints import inside_of

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from tierflow.stream.hints import Hints

_LOG = logging.getLogger(__name__)

# Few kinds of events, so that the kernel's queue lasts long: no opening, reading, nor each single write.
MASK = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_EXCL_UNLINK
)

_COMPLETE = InotifyConstants.IN_CLOSE_WRITE | InotifyConstants.IN_MOVED_TO
_LEFT = InotifyConstants.IN_MOVED_FROM | InotifyConstants.IN_DELETE


class InotifySource:
    """Watches folders one by one.

    Args:
        root: The input folder.
        hints: Where hints go.
    """

    def __init__(self, root: Path, hints: Hints) -> None:
        self._root = os.fsencode(root)
        self._hints = hints
        self._numbers = Numbers()
        self._lock = threading.Lock()
        self._folders: dict[bytes, _Folder] = {}
        self._reader: InotifyFD | None = None

    def start(self) -> None:
        """Begin; no folder is watched yet.

        Raises:
            LimitError: if the system has no event queue left.
        """
        try:
            self._reader = InotifyFD()
        except OSError as error:
            raise limit_error(error) or LimitError(f"events can't be had: {error.strerror}") from error
        self._reader.start()

    def watch(self, folder: bytes) -> None:
        """Make sure that a folder is watched; one that is gone or denied is left to the listing to judge.

        Raises:
            LimitError: if no more folders can be watched.
        """
        with self._lock:
            if folder in self._folders or self._reader is None:
                return
            watched = _Folder(folder, self, CallbackId(self._numbers.new()))
            path = os.path.join(self._root, folder) if folder else self._root  # noqa: PTH118 - bytes
            try:
                watched.number = self._reader.add_callback(path, MASK, watched, watched.key)
            except OSError as error:
                if limit := limit_error(error):
                    raise limit from error
                return
            if watched.number < 0:
                # Denied: the library keeps what it couldn't watch, and would keep it once per attempt.
                self._reader.remove_callbacks([(watched.number, watched.key)])
            else:
                self._folders[folder] = watched

    def forget(self, folders: Collection[bytes]) -> None:
        """Stop watching folders and all below them."""
        with self._lock:
            gone = inside_of(folders, self._folders)
            found = [self._folders.pop(path) for path in gone]
            watches = [(watched.number, watched.key) for watched in found]
            if self._reader is not None and watches:
                self._reader.remove_callbacks(watches)

    def stop(self) -> None:
        """End; no hints come afterwards."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.stop()
            reader.join(timeout=5)
        with self._lock:
            self._folders.clear()

    def alive(self) -> bool:
        """Tell whether the reading thread runs."""
        return self._reader is not None and self._reader.is_alive()

    def __len__(self) -> int:
        """Return how many folders are watched."""
        return len(self._folders)

    def hint(self, folder: bytes, event: InotifyEvent) -> None:
        """Turn an event in a folder into hints; called by the reading thread."""
        if event.mask & InotifyConstants.IN_UNMOUNT:
            self._hints.everything("a file system was unmounted")
        elif not event.name:
            # The folder itself: its rights or times changed, or it was removed.
            self._hints.folder(folder)
        else:
            path = folder + b"/" + event.name if folder else event.name
            if not event.mask & InotifyConstants.IN_ISDIR:
                self._hints.file(path, closed=bool(event.mask & _COMPLETE))
            elif event.mask & _LEFT:
                self._hints.folder_gone(path)
            else:
                self._hints.folder(path)

    def dropped(self) -> None:
        """The kernel lost events; called by the reading thread."""
        self._hints.everything(KERNEL_DROPPED)

    def unwatched(self, folder: _Folder) -> None:
        """The kernel ended a watch; called by the reading thread."""
        with self._lock:
            if self._folders.get(folder.path) is folder:
                del self._folders[folder.path]


class _Folder:
    """One watched folder, as the library calls it back.

    One object per folder, not one for all: the same folder may be seen under two paths, after it was moved or through a
    bind mount, and then shares one watch.
    """

    def __init__(self, path: bytes, source: InotifySource, key: CallbackId) -> None:
        self.path = path
        self.key = key
        self.number = WatchDescriptor(-1)
        self._source = source

    def on_event(self, event: InotifyEvent) -> None:
        self._source.hint(self.path, event)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:  # noqa: ARG002 - the library's protocol
        self._source.unwatched(self)

    def on_queue_overflow(self) -> None:
        self._source.dropped()

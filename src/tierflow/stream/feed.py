"""Events or polling for the watched folder: chosen by its file system, and changed when events can't be had."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tierflow.stream.events import LimitError, make_source
from tierflow.stream.mounts import mode_for, mount_of, read_mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from tierflow.stream.events import Source
    from tierflow.stream.hints import Hints

_LOG = logging.getLogger(__name__)


class Feed:
    """Gives hints from events where they can be had for all folders.

    Args:
        root: The input folder.
        hints: Where hints go.
        wanted: `stream.hints`: auto, events or polling.
        make: Makes a source of events.
    """

    def __init__(
        self, root: Path, hints: Hints, *, wanted: str, make: Callable[[Path, Hints], Source] = make_source
    ) -> None:
        self._root, self._hints, self._wanted, self._make = root, hints, wanted, make
        self._source: Source | None = None
        self.mode, self.why = "polling", "not begun"
        self.file_system = "unknown"
        """Type of the root's file system."""
        self.limit: str | None = None
        """Why events can't be had although the file system has them, and what to do."""

    def begin(self) -> bool:
        """Choose, and begin to read events; folders are watched when they are listed.

        Returns:
            False when events were being read already.
        """
        if self._source is not None:
            return False
        mounts = read_mounts()
        path = str(self._root.resolve())
        mount = mount_of(path, mounts)
        self.file_system = mount.kind if mount else "unknown"
        self.mode, self.why = mode_for(path, mounts, wanted=self._wanted)
        if self.mode == "events" and self.limit is None:
            source = self._make(self._root, self._hints)
            try:
                source.start()
            except LimitError as error:
                self.give_up(str(error))
            else:
                self._source = source
        elif self.limit is not None:
            self.give_up(self.limit)
        return True

    def end(self) -> None:
        """Read no more events."""
        source, self._source = self._source, None
        if source is not None:
            source.stop()

    def give_up(self, reason: str) -> None:
        """Poll from now on: to watch some folders and not others would be the worst of both.

        Args:
            reason: Why, and what to do.
        """
        self.end()
        self.mode, self.why, self.limit = "polling", reason, reason

    def died(self) -> bool:
        """Tell whether the thread that reads events has ended by itself."""
        return self._source is not None and not self._source.alive()

    def watch(self, folder: bytes) -> None:
        """Make sure that a folder is watched, before it is listed."""
        if self._source is None:
            return
        try:
            self._source.watch(folder)
        except LimitError as error:
            self.give_up(str(error))

    def forget(self, folders: Collection[bytes]) -> None:
        """Folders are gone."""
        if self._source is not None:
            self._source.forget(folders)

"""Compare the folder tree with the ledger, folder by folder: the truth that events only hint at.

Memory is bounded by the largest folder, plus some hundred bytes per folder. All looks are made by one thread; between
chunks of 500 files it lets others have their turn, and handles the hints that came meanwhile.
"""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierflow.errors import TryAgainError
from tierflow.io.folder_reader import FolderReader, FolderState
from tierflow.io.identity import display_path
from tierflow.io.walk import own_folders
from tierflow.stream.hints import inside_of
from tierflow.stream.inner_mounts import InnerMounts
from tierflow.stream.left_out import LeftOut
from tierflow.stream.sightings import CHUNK, Counted, Known, to_write

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tierflow.config import Config
    from tierflow.io.folder_reader import Listing
    from tierflow.io.walk import Found
    from tierflow.stream.hints import Taken
    from tierflow.stream.sightings import Sightings

RACY_NS = 3_000_000_000
"""A folder that changed so short a time before it was listed may change again without another time of change."""

_EXAMPLES = 3


@dataclass(slots=True)
class Look:
    """What a look found.

    Attributes:
        counted: What changed in the ledger.
        files: Files that were there and are taken.
        left_out: Files of a whole look that aren't taken, by ending; see `LeftOut`.
        folders: Folders that were listed.
        unannounced: New files in folders that were known before: events should have told of them.
        denied: Some of the folders that couldn't be listed, as text.
        denied_count: How many there were.
        unmounted: Folders inside the root that another file system was mounted on, and no longer is.
        away: What the file system said when it failed in a way that passes; the look ended there.
        seconds: How long it took, without the hints that were handled meanwhile.
    """

    counted: Counted = field(default_factory=Counted)
    files: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    folders: int = 0
    unannounced: int = 0
    denied: list[str] = field(default_factory=list)
    denied_count: int = 0
    unmounted: list[str] = field(default_factory=list)
    away: str | None = None
    seconds: float = 0.0


class Rescan:
    """Looks at folders and files and keeps the ledger in step.

    Args:
        root: The input folder.
        config: The configuration.
        output: Output folder, which is never entered.
        sightings: Writes into the ledger.
        healthy: Asked right before files are marked lost.
        watch: Called with each folder before it is listed.
        forget: Called with folders that are gone.
        between: Called between chunks.
    """

    def __init__(
        self,
        root: Path,
        config: Config,
        output: Path,
        *,
        sightings: Sightings,
        healthy: Callable[[], bool],
        watch: Callable[[bytes], None] = lambda _: None,
        forget: Callable[[Collection[bytes]], None] = lambda _: None,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self._root, self._config, self._output = root, config, output
        self._sightings = sightings
        self._healthy, self._watch, self._forget, self._between = healthy, watch, forget, between
        self._tree: dict[bytes, FolderState] = {}
        self._racy: set[bytes] = set()
        # Folders that are being listed: their files may be hinted at before the listing is done.
        self._at: set[bytes] = set()
        self._visited: set[bytes] = set()
        self._inner = InnerMounts(root, sightings.ledger)

    @property
    def folders(self) -> int:
        """How many folders are known."""
        return len(self._tree)

    def full(self) -> Look:
        """Look at every file of every folder, and at every folder that the ledger knows."""
        look, left_out = Look(), LeftOut(self._config)
        reader = self._reader(skipped=left_out.skip)
        started = time.monotonic()
        self._visited = set()
        reader.is_new_folder(b"")
        stack, linked = [b""], deque[bytes]()
        while (stack or linked) and look.away is None:
            if not stack:
                folder = linked.popleft()
                if not reader.is_new_folder(folder):
                    continue
            else:
                folder = stack.pop()
            listing = self._list(reader, folder, look)
            if listing is not None:
                stack += reversed(listing.folders)
                linked += listing.linked
        if look.away is None:
            self._vanished_folders(look)
        look.unmounted = self._inner.missing()
        look.left_out = left_out.counts()
        look.seconds = time.monotonic() - started
        return look

    def quick(self) -> Look:
        """Look at folders that changed since they were listed: names that came or went; sizes aren't looked at."""
        look, reader = Look(), self._reader(known=True)
        started = time.monotonic()
        for number, (folder, former) in enumerate(list(self._tree.items())):
            if number % CHUNK == 0:
                self._between()
            if look.away is not None:
                break
            try:
                changed = folder in self._racy or reader.state(folder) != former
            except OSError:
                changed = True
            if changed:
                self._partial(reader, folder, look)
        look.seconds = time.monotonic() - started
        return look

    def hinted(self, hints: Taken) -> Look:
        """Look at what hints name: files one by one, folders with all that is new below them."""
        look, reader = Look(), self._reader(known=True)
        if hints.gone:
            self._gone(hints.gone, look)
        for folder in hints.folders:
            if look.away is None and (folder in self._tree or self._is_entered(reader, folder)):
                self._partial(reader, folder, look)
        paths = [path for path in hints.files if self._is_known(path.rpartition(b"/")[0])]
        for start in range(0, len(paths), CHUNK):
            self._files(reader, {path: hints.files[path] for path in paths[start : start + CHUNK]}, look)
        return look

    def _files(self, reader: FolderReader, paths: dict[bytes, bool], look: Look) -> None:
        seen: list[tuple[Found, bool]] = []
        gone: list[bytes] = []
        try:
            for path, closed in paths.items():
                found = reader.one(path)
                if found is not None:
                    seen.append((found, closed))
                elif not reader.is_there(path):
                    gone.append(path)
        except PermissionError:
            # The folder says so itself when it is listed next.
            return
        except OSError as error:
            look.away = str(error)
            return
        known = self._sightings.known([found.path for found, _ in seen])
        look.counted.add(self._sightings.see([item for item in seen if self._is_news(known, *item)]))
        lost = [row for row in self._sightings.known(gone).values() if not self._inner.is_missing(row.path)]
        look.counted.add(self._sightings.lose(lost, still=self._healthy))

    def _is_news(self, known: Mapping[bytes, Known], found: Found, closed: bool) -> bool:
        # Each hard link that a tier makes of a file is an event too: those must not cost a transaction.
        row = known.get(found.path)
        return row is None or to_write(row, found, closed=closed, inodes=self._sightings.inodes)

    def _is_known(self, folder: bytes) -> bool:
        return folder in self._tree or folder in self._at

    def _is_entered(self, reader: FolderReader, folder: bytes) -> bool:
        """Tell whether an unknown folder is one to enter: its parent is, and its name isn't left out."""
        return bool(folder) and self._is_known(folder.rpartition(b"/")[0]) and reader.enters(folder)

    def _partial(self, reader: FolderReader, top: bytes, look: Look) -> None:
        """List a folder, and those below it that aren't known, or that belong to another folder of the same name."""
        stack = [top]
        while stack and look.away is None:
            folder = stack.pop()
            former = self._tree.get(folder)
            listing = self._list(reader, folder, look)
            if listing is None:
                continue
            now = (listing.state.device, listing.state.inode)
            replaced = former is not None and (former.device, former.inode) != now
            stack += [child for child in listing.folders if replaced or child not in self._tree]
            stack += [child for child in listing.linked if child not in self._tree and reader.is_new_folder(child)]

    def _list(self, reader: FolderReader, folder: bytes, look: Look) -> Listing | None:
        """List one folder and compare it with the ledger."""
        self._at.add(folder)
        try:
            last, new = self._sightings.last_id(), look.counted.new
            listing = self._read(reader, folder)
            if listing is None:
                return None
            self._visited.add(folder)
            if folder:
                self._inner.note(folder, listing.state.device, self._root_device(reader, listing.state))
            self._compare(reader, folder, listing.files, last, look)
            if self._same_as_before(folder, listing.state):
                look.unannounced += look.counted.new - new
            self._remember(folder, listing.state)
            look.files += len(listing.files)
            look.folders += 1
        except (FileNotFoundError, NotADirectoryError):
            if folder:
                self._gone({folder}, look)
            return None
        except PermissionError:
            look.denied_count += 1
            if len(look.denied) < _EXAMPLES:
                look.denied.append(display_path(folder) or ".")
            return None
        except OSError as error:
            look.away = str(error) if isinstance(error, TryAgainError) else f"{error.strerror}: {display_path(folder)}"
            return None
        finally:
            self._at.discard(folder)
        self._between()
        return listing

    def _read(self, reader: FolderReader, folder: bytes) -> Listing | None:
        if folder in self._tree and not self._same_as_before(folder, reader.state(folder)):
            # Replaced, or something was mounted on it: the watch is on what was there before.
            self._forget({folder})
        self._watch(folder)
        return reader.read(folder)

    def _same_as_before(self, folder: bytes, state: FolderState) -> bool:
        former = self._tree.get(folder)
        return former is not None and (former.device, former.inode) == (state.device, state.inode)

    def _root_device(self, reader: FolderReader, state: FolderState) -> int:
        root = self._tree.get(b"")
        if root is not None and root.device == state.device:
            return root.device
        # Not the one that was remembered: a share has another device after each mount, for all its folders.
        return reader.state(b"").device

    def _remember(self, folder: bytes, state: FolderState) -> None:
        self._tree[folder] = state
        # Also with a clock that is ahead or behind by little; what a larger difference hides, the next full look finds.
        if abs(time.time_ns() - state.mtime_ns) < RACY_NS:
            self._racy.add(folder)
        else:
            self._racy.discard(folder)

    def _compare(self, reader: FolderReader, folder: bytes, files: Sequence[Found], last: int, look: Look) -> None:
        """Bring the ledger's rows of one folder in step with what is there.

        Args:
            reader: Looks again at what differs: the listing may be older than what a hint just wrote.
            folder: The folder.
            files: Its files.
            last: Latest object before the folder was listed; later ones came by hints and aren't in the listing.
            look: Gets the counts.
        """
        there = {found.path: found for found in files}
        for page in self._pages(folder, last):
            other: list[bytes] = []
            missing: list[Known] = []
            for row in page:
                found = there.pop(row.path, None)
                if found is None:
                    missing.append(row)
                elif to_write(row, found, closed=False, inodes=self._sightings.inodes):
                    other.append(row.path)
            self._write(reader, other, look)
            self._lose(reader, folder, missing, look)
            self._between()
        # The order of arrival, as far as times tell it.
        new = sorted(there.values(), key=lambda found: (found.mtime_ns, found.path))
        for start in range(0, len(new), CHUNK):
            part = [(found, False) for found in new[start : start + CHUNK]]
            known = self._sightings.known([found.path for found, _ in part])
            look.counted.add(self._sightings.see([item for item in part if item[0].path not in known]))
            self._between()

    def _pages(self, folder: bytes, last: int) -> Iterator[list[Known]]:
        after = 0
        while page := self._sightings.page(folder, after=after, last=last):
            yield page
            if len(page) < CHUNK:
                return
            after = page[-1].id

    def _write(self, reader: FolderReader, paths: Iterable[bytes], look: Look) -> None:
        found = [(state, False) for path in paths if (state := reader.one(path)) is not None]
        look.counted.add(self._sightings.see(found))

    def _lose(self, reader: FolderReader, folder: bytes, rows: Iterable[Known], look: Look) -> None:
        if self._inner.is_missing(folder):
            return
        gone = [row for row in rows if not reader.is_there(row.path) or reader.one(row.path) is None]
        look.counted.add(self._sightings.lose(gone, still=self._healthy))

    def _gone(self, folders: Collection[bytes], look: Look) -> None:
        """Deal with folders that aren't there any more, and all that the ledger knows in them."""
        for path in inside_of(folders, list(self._tree)):
            del self._tree[path]
            self._racy.discard(path)
        self._forget(folders)
        for folder in folders:
            for path in (folder, *self._sightings.folders_below(folder)):
                if self._is_gone(path):
                    self._lose_folder(path, look)

    def _lose_folder(self, folder: bytes, look: Look) -> None:
        reader = self._reader()
        try:
            for page in self._pages(folder, self._sightings.last_id()):
                self._lose(reader, folder, page, look)
                self._between()
        except OSError as error:
            look.away = str(error)

    def _vanished_folders(self, look: Look) -> None:
        """Deal with folders that a full look didn't come by: gone, left out now, or out of reach."""
        left = self._tree.keys() - self._visited
        for folder in left:
            del self._tree[folder]
            self._racy.discard(folder)
        if left:
            self._forget(left)
        for folder in self._sightings.folders_below(b""):
            if look.away is None and folder not in self._tree and self._is_gone(folder):
                self._lose_folder(folder, look)

    def _is_gone(self, folder: bytes) -> bool:
        try:
            os.stat(os.path.join(os.fsencode(self._root), folder))  # noqa: PTH116, PTH118 - pathlib can't hold bytes
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False
        return False

    def _reader(
        self, *, known: bool = False, skipped: Callable[[str, str], None] = lambda _reason, _path: None
    ) -> FolderReader:
        reader = FolderReader(
            self._root,
            self._config.scan,
            skip_folders=own_folders(self._config, self._output),
            between=self._between,
            skipped=skipped,
        )
        if known and self._config.scan.follow_links:
            reader.note_entered(self._tree.values())
        return reader

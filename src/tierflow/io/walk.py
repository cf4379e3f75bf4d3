"""Find the files of an input folder: everything taken or counted with its reason, nothing opened."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tierflow.config import QUARANTINE
from tierflow.errors import InputMissingError, TryAgainError, is_passing
from tierflow.io.identity import display_path
from tierflow.io.selection import FOREIGN_EXTENSIONS, NOT_IMAGE, SIDE_FILE, Selection, extension

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tierflow.config import Config, Scan
    from tierflow.objectstore.connect import Place

LINKED_FOLDER = "linked_folder"
SEEN_FOLDER = "folder_seen_before"
UNREADABLE_FOLDER = "unreadable_folder"
OWN_FOLDER = "own_folder"
ZARR_FOLDER = "zarr_folder"
SPECIAL_FILE = "special_file"
VANISHED = "vanished_while_scanning"
UNSAFE_KEY = "unsafe_key"

# The folder of the run lock, which every output holds.
RUN_MARK = b".tierflow"

EXAMPLES = 3
"""Names kept per reason, so that a user sees what was meant."""

_Identity = tuple[int, int]


class Found(NamedTuple):
    """A file that was taken.

    Attributes:
        path: Path relative to the root, the file system's own bytes, "/" between parts.
        size: Bytes; of the target where a link leads to a file.
        mtime_ns: Time of last change in ns since 1970; the later of link and target.
        is_link: The entry is a symbolic link, also one that leads nowhere.
        inode: Number of the entry itself in its file system; 0 where there is none.
    """

    path: bytes
    size: int
    mtime_ns: int
    is_link: bool
    inode: int = 0


@dataclass(slots=True)
class Walk:
    """What a walk found.

    Attributes:
        files: Files that were taken, sorted by the bytes of their paths.
        skipped: Entries left out, by reason.
        extensions: Side files and files not named like an image, by ending.
        examples: A few paths per reason.
        warnings: What a person should act on, in words.
        unseen: Folders that couldn't be listed, relative to the root: whether their files still exist isn't known.
    """

    files: list[Found] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    extensions: Counter[str] = field(default_factory=Counter)
    examples: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    warnings: list[str] = field(default_factory=list)
    unseen: list[bytes] = field(default_factory=list)

    def skip(self, reason: str, path: str) -> None:
        """Count an entry that is left out."""
        self.skipped[reason] += 1
        if reason in (SIDE_FILE, NOT_IMAGE):
            self.extensions[extension(path.rpartition("/")[2]) or "no ending"] += 1
        # The smallest names, not the first met: the order of a folder's listing must not show.
        kept = self.examples[reason]
        if len(kept) < EXAMPLES or path < kept[-1]:
            kept.append(path)
            kept.sort()
            del kept[EXAMPLES:]


def walk(root: Path, scan: Scan, *, skip_folders: Iterable[Path] = ()) -> Walk:
    """List the files below `root` that the configuration takes.

    Symbolic links to files are taken as they are, also dangling and looping ones. Folders behind links are entered with
    `scan.follow_links` only, each once, after all real folders, so that a file's real path wins. Pipes, sockets and
    devices are never opened.

    Args:
        root: The input folder.
        scan: Section `scan` of the configuration.
        skip_folders: Folders that are never entered, wherever they lie (the output, the roots of tiers).

    Raises:
        InputMissingError: if the root isn't there or can't be listed.
        TryAgainError: if the file system fails in a way that passes; a half-seen folder is never taken for the whole.
    """
    return Walker(root, scan, skip_folders).run()


def own_folders(config: Config, output: Path) -> list[Path]:
    """Return the folders that tierflow writes to: the output and the roots of all tiers and of the quarantine."""
    roots = (config.tier(name).root for name in (*config.tiers, QUARANTINE))
    return [output, *(output / Path(root).expanduser() for root in roots if root and "://" not in root)]


def walk_input(root: Place, config: Config, *, output: Path) -> Walk:
    """List the files of an input, a folder or a place on a store, that a configuration takes.

    Args:
        root: The input.
        config: The configuration.
        output: Folder of the results.

    Raises:
        InputMissingError: if the root isn't there or can't be listed.
        ConfigError: if credentials or bucket of a store are wrong.
        TryAgainError: if the storage is away.
    """
    if isinstance(root, Path):
        return walk(root, config.scan, skip_folders=own_folders(config, output))
    # Imported here: those who read folders needn't wait for the client of a store.
    from tierflow.io.remote_walk import walk_remote

    roots = (config.tier(name).root for name in (*config.tiers, QUARANTINE))
    return walk_remote(root, config.scan, skip=[text for text in roots if text and "://" in text])


def fingerprint(root: Place, config: Config, *, output: Path) -> str:
    """Return a digest of what a scan would take, to notice new, changed and removed files.

    No file is opened. A root that isn't there has a digest too: it is the scan that says what is wrong.

    Args:
        root: The input folder, or a place on a store.
        config: The configuration.
        output: Folder of the results.
    """
    try:
        files = walk_input(root, config, output=output).files
    except InputMissingError:
        files = []
    lines = (b"%b\0%d\0%d" % (file.path, file.size, file.mtime_ns) for file in files)
    return hashlib.sha256(b"\n".join(lines)).hexdigest()[:32]


class Walker:
    """The rules of `walk`, entry by entry."""

    def __init__(self, root: Path, scan: Scan, skip_folders: Iterable[Path]) -> None:
        """See `walk`."""
        self.root = os.fsencode(root)
        self.selection = Selection(scan)
        self.follow = scan.follow_links
        self.own = {identity for folder in skip_folders if (identity := folder_identity(os.fsencode(folder)))}
        self.found = Walk()
        self.linked: deque[bytes] = deque()
        self.seen: set[_Identity] = set()

    def run(self) -> Walk:
        """List the whole tree."""
        self._is_new(b"")
        self._descend(b"")
        while self.linked:
            folder = self.linked.popleft()
            if self._is_new(folder):
                self._descend(folder)
            else:
                self.found.skip(SEEN_FOLDER, display_path(folder))
        self.found.files.sort()
        self.found.unseen.sort()
        self._warn()
        return self.found

    def _descend(self, start: bytes) -> None:
        stack = [start]
        linked: list[bytes] = []
        while stack:
            self._list(stack.pop(), stack, linked)
        self.linked.extend(sorted(linked))

    def _list(self, folder: bytes, stack: list[bytes], linked: list[bytes]) -> None:
        try:
            with os.scandir(self._absolute(folder)) as listing:
                entries = list(listing)
        except OSError as error:
            self._unlisted(folder, error)
            return
        if folder and any(entry.name == RUN_MARK for entry in entries):
            self._results(folder)
            return
        prefix = folder + b"/" if folder else b""
        for entry in entries:
            self._entry(entry, prefix + entry.name, stack, linked)

    def _entry(self, entry: os.DirEntry[bytes], path: bytes, stack: list[bytes], linked: list[bytes]) -> None:
        if entry.is_symlink():
            self._link(entry, path, linked)
        elif entry.is_dir(follow_symlinks=False):
            self._folder(path, stack)
        else:
            self._file(entry, path)

    def _folder(self, path: bytes, into: list[bytes]) -> None:
        text = display_path(path)
        reason = folder_reason(self.selection, text)
        if reason is None and self.own and folder_identity(self._absolute(path)) in self.own:
            reason = OWN_FOLDER
        if reason is None and self.follow and not self._is_new(path):
            reason = SEEN_FOLDER
        if reason is None:
            into.append(path)
        else:
            self.found.skip(reason, text)

    def _link(self, entry: os.DirEntry[bytes], path: bytes, linked: list[bytes]) -> None:
        text = display_path(path)
        try:
            target = entry.stat()
        except OSError as error:
            # Dangling and looping links are objects: quarantine will name them.
            self._raise_if_passing(error, path)
            target = None
        if target is not None and stat.S_ISDIR(target.st_mode):
            self._linked_folder(path, text, linked)
            return
        reason = self.selection.skip_file(text.rpartition("/")[2], text)
        if reason is None and target is not None and not stat.S_ISREG(target.st_mode):
            reason = SPECIAL_FILE
        if reason is not None:
            self.found.skip(reason, text)
        elif (own := self._lstat(entry, path)) is not None:
            size = own.st_size if target is None else target.st_size
            changed = own.st_mtime_ns if target is None else max(own.st_mtime_ns, target.st_mtime_ns)
            self.found.files.append(Found(path, size, changed, True, own.st_ino))

    def _linked_folder(self, path: bytes, text: str, linked: list[bytes]) -> None:
        if not self.follow:
            self.found.skip(LINKED_FOLDER, text)
        elif reason := self.selection.skip_folder(text.rpartition("/")[2], text):
            self.found.skip(reason, text)
        elif folder_identity(self._absolute(path)) in self.own:
            self.found.skip(OWN_FOLDER, text)
        else:
            linked.append(path)

    def _file(self, entry: os.DirEntry[bytes], path: bytes) -> None:
        text = display_path(path)
        reason = self.selection.skip_file(text.rpartition("/")[2], text)
        if reason is None and not entry.is_file(follow_symlinks=False):
            reason = SPECIAL_FILE
        if reason is not None:
            self.found.skip(reason, text)
        elif (state := self._lstat(entry, path)) is not None:
            self.found.files.append(Found(path, state.st_size, state.st_mtime_ns, False, state.st_ino))

    def _is_new(self, path: bytes) -> bool:
        """Note a folder's identity; False when it was entered before by another path."""
        identity = folder_identity(self._absolute(path))
        if identity in self.seen:
            return False
        if identity is not None:
            self.seen.add(identity)
        return True

    def _lstat(self, entry: os.DirEntry[bytes], path: bytes) -> os.stat_result | None:
        try:
            return entry.stat(follow_symlinks=False)
        except OSError as error:
            self._raise_if_passing(error, path)
            self.found.skip(VANISHED, display_path(path))
            return None

    def _results(self, folder: bytes) -> None:
        """Leave out the output of another run: its tiers hold links to images that may be found here as well."""
        text = display_path(folder)
        self.found.skip(OWN_FOLDER, text)
        self.found.warnings.append(results_warning(text))

    def _unlisted(self, folder: bytes, error: OSError) -> None:
        self._raise_if_passing(error, folder)
        if not folder:
            raise InputMissingError(_no_root(display_path(self.root), error)) from error
        if isinstance(error, FileNotFoundError):
            self.found.skip(VANISHED, display_path(folder))
            return
        self.found.skip(UNREADABLE_FOLDER, display_path(folder))
        self.found.unseen.append(folder)

    def _raise_if_passing(self, error: OSError, path: bytes) -> None:
        if is_passing(error):
            raise TryAgainError(
                f"{display_path(self._absolute(path))}: {error.strerror}: check the disk or share, then run again"
            ) from error

    def _warn(self) -> None:
        self.found.warnings.sort()
        for folder in self.found.unseen:
            self.found.warnings.append(
                f"folder {display_path(self._absolute(folder))} can't be listed: its files are not part of this scan; "
                "give yourself read access (chmod u+rX) or name it in scan.exclude, then run again"
            )
        warn_of_kinds(self.found)

    def _absolute(self, path: bytes) -> bytes:
        return os.path.join(self.root, path) if path else self.root  # noqa: PTH118 - pathlib can't hold bytes


def folder_reason(selection: Selection, path: str) -> str | None:
    """Return why a folder is left out by its name, or None to enter it."""
    name = path.rpartition("/")[2]
    reason = selection.skip_folder(name, path)
    return ZARR_FOLDER if reason is None and name.lower().endswith(".zarr") else reason


def results_warning(folder: str) -> str:
    """Say that a folder with the results of another run was left out."""
    return (
        f"folder {folder} holds the results of another tierflow run and was left out; if that is wrong, "
        "scan it by itself"
    )


def warn_of_kinds(found: Walk) -> None:
    """Add warnings of images that were left out because no reader opens their kind."""
    for ending in sorted(FOREIGN_EXTENSIONS & found.extensions.keys()):
        found.warnings.append(foreign_warning(ending, found.extensions[ending]))
    if groups := found.skipped[ZARR_FOLDER]:
        found.warnings.append(zarr_warning(groups))


def foreign_warning(ending: str, files: int) -> str:
    """Say that images of a format without a reader were left out, and what to do."""
    return (
        f"{files} {ending} files were left out: tierflow doesn't read this format; "
        "export them as OME-TIFF to have them measured"
    )


def zarr_warning(groups: int) -> str:
    """Say that folders of images were left out."""
    return f"{groups} .zarr folders were left out: tierflow doesn't read OME-Zarr yet"


def _no_root(root: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"input folder {root} not found: check the path, and that its disk or network share is mounted"
    if isinstance(error, NotADirectoryError):
        return f"input {root} is a file, not a folder: give the folder that holds it"
    return f"input folder {root} can't be listed ({error.strerror}): ask its owner for read access"


def folder_identity(path: bytes) -> _Identity | None:
    """Return device and number of a folder, the same by whatever name; None where it can't be looked at."""
    try:
        state = os.stat(path)  # noqa: PTH116 - pathlib can't hold bytes
    except OSError:
        return None
    return state.st_dev, state.st_ino

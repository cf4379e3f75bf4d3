"""Whether the watched folder is the one it was: vanished, unmounted, mounted again, denied, stale.

Files that are missing mean nothing while their disk is away. Therefore nothing is marked lost unless the root is
healthy, which is judged anew right before.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tierflow.stream.mounts import mount_of, read_mounts
from tierflow.stream.states import OPEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tierflow.stream.ledger import Ledger
    from tierflow.stream.mounts import Mount

FACT = "root"
"""Name in the ledger under which the identity of the root is kept, over restarts too."""

_SAMPLE = 500

_LOSABLE = tuple(sorted(OPEN))


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes a folder the same folder.

    Attributes:
        device: Number of its device; network shares and tmpfs get another one with each mount.
        inode: Its number there.
        point: Folder that its file system is mounted on; empty where that isn't known.
        kind: Type of the file system.
        source: Device or share that is mounted.
    """

    device: int
    inode: int
    point: str = ""
    kind: str = ""
    source: str = ""

    def same_folder(self, other: Identity) -> bool:
        """Tell whether two looks saw one and the same folder."""
        return (self.device, self.inode, self.point) == (other.device, other.inode, other.point)


@dataclass(frozen=True, slots=True)
class Health:
    """What a look at the root found.

    Attributes:
        state: `ok`, `missing`, `denied`, `stale`, `away`, `not_a_folder`, `unmounted`, `emptied` or `other`.
        message: What is wrong and what to do; empty when it is ok.
        readable: Its files can be listed; new ones are taken even when nothing may be marked lost.
        changed: The folder isn't the one of the former look: watches must be made anew, all files looked at.
    """

    state: str
    message: str = ""
    readable: bool = True
    changed: bool = False

    @property
    def ok(self) -> bool:
        """Whether a file that isn't there is really gone."""
        return self.state == "ok"


class Root:
    """The watched folder.

    Args:
        root: The input folder.
        ledger: Keeps its identity, and knows files that must be there.
        mounts: Gives the mount table.
    """

    def __init__(self, root: Path, ledger: Ledger, *, mounts: Callable[[], list[Mount]] = read_mounts) -> None:
        self.root = root
        self._ledger = ledger
        self._mounts = mounts
        kept = ledger.fact(FACT)
        self._known = Identity(**kept) if kept else None
        # Until a changed root is judged, only files from before the change can prove it.
        self._suspect: Identity | None = None
        self._last_id = 0

    @property
    def identity(self) -> Identity | None:
        """The folder that the ledger speaks of."""
        return self._known

    @property
    def newest_before(self) -> int:
        """Number of the latest object that was seen before the root became another one."""
        return self._last_id

    def check(self) -> Health:
        """Look at the root; its identity is kept when it is sound."""
        try:
            found = self._look()
        except OSError as error:
            return _unreachable(self.root, error)
        known = self._known
        if known is not None and known.same_folder(found):
            self._suspect = None
            return Health("ok")
        if known is None:
            self._keep(found)
            return Health("ok", changed=True)
        return self._judge(known, found)

    def is_same(self) -> bool:
        """Tell at little cost whether the root is still the one that was found sound; asked before files are lost."""
        try:
            state = os.stat(self.root)  # noqa: PTH116 - one call for both numbers
        except OSError:
            return False
        return self._known is not None and (state.st_dev, state.st_ino) == (self._known.device, self._known.inode)

    def _look(self) -> Identity:
        state = os.stat(self.root)  # noqa: PTH116 - one call for all
        if not stat.S_ISDIR(state.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        # A folder may be there and yet refuse to be listed: a stale handle, a permission taken away.
        with os.scandir(self.root) as listing:
            next(listing, None)
        mount = mount_of(os.path.realpath(self.root), self._mounts())
        where = (mount.point, mount.kind, mount.source) if mount else ("", "", "")
        return Identity(state.st_dev, state.st_ino, *where)

    def _judge(self, known: Identity, found: Identity) -> Health:
        """Decide about a root that isn't the one it was, by the files that were there before."""
        is_new = self._suspect is None or not self._suspect.same_folder(found)
        if self._suspect is None:
            self._last_id = int(self._ledger.query("SELECT coalesce(max(id), 0) FROM objects")[0][0])
        self._suspect = found
        if self._holds_known_files() or not (self._losable() or _was_unmounted(known, found)):
            self._keep(found)
            return Health("ok", changed=True)
        if _was_unmounted(known, found):
            text = (
                f"{self.root}: {known.source} ({known.kind}) is no longer mounted on {known.point}: mount it again; "
                "nothing is marked lost meanwhile, and watching goes on by itself"
            )
            return Health("unmounted", text, changed=is_new)
        waiting = f"none of {self._last_id:,} known files is there, {self._losable():,} of them wait to be handled"
        remedy = "check that the right disk or share is mounted; nothing is marked lost, new files are taken"
        with os.scandir(self.root) as listing:
            empty = next(listing, None) is None
        if empty:
            return Health(
                "emptied", f"{self.root} is another folder now, and empty: {waiting}; {remedy}", changed=is_new
            )
        return Health("other", f"{self.root} is another folder or disk now: {waiting}; {remedy}", changed=is_new)

    def _holds_known_files(self) -> bool:
        rows = self._ledger.query(
            "SELECT path FROM objects WHERE id <= ? ORDER BY id DESC LIMIT ?", (self._last_id, _SAMPLE)
        )
        base = os.fsencode(self.root)
        return any(os.path.lexists(base + b"/" + path) for (path,) in rows)

    def _losable(self) -> int:
        marks = ", ".join("?" * len(_LOSABLE))
        found = self._ledger.query(
            f"SELECT count(*) FROM objects WHERE state IN ({marks}) AND id <= ?",  # noqa: S608 - marks only
            (*_LOSABLE, self._last_id),
        )
        return int(found[0][0])

    def _keep(self, found: Identity) -> None:
        self._known, self._suspect = found, None
        fact: dict[str, Any] = asdict(found)
        self._ledger.note(**{FACT: fact})


def _was_unmounted(known: Identity, found: Identity) -> bool:
    """Tell whether the file system that held the root is gone: the folder now lies on one mounted further up."""
    return bool(known.point and found.point and found.point != known.point and _is_above(found.point, known.point))


def _is_above(point: str, below: str) -> bool:
    return below.startswith(point.rstrip("/") + "/")


def _unreachable(root: Path, error: OSError) -> Health:
    """Say in words why a root can't be looked at."""
    goes_on = "nothing is marked lost meanwhile, and watching goes on by itself"
    if isinstance(error, FileNotFoundError):
        text = f"input folder {root} is gone: mount its disk or share again, or make the folder; {goes_on}"
        return Health("missing", text, readable=False)
    if isinstance(error, NotADirectoryError):
        return Health("not_a_folder", f"input {root} is no longer a folder: put it back; {goes_on}", readable=False)
    if isinstance(error, PermissionError):
        text = (
            f"input folder {root} can't be listed ({error.strerror}): give the account that runs tierflow read and "
            f"enter permission (chmod u+rx); {goes_on}"
        )
        return Health("denied", text, readable=False)
    if error.errno == errno.ESTALE:
        text = f"the handle of {root} is stale: its server exports it anew; unmount and mount the share; {goes_on}"
        return Health("stale", text, readable=False)
    text = f"input folder {root} doesn't answer ({error.strerror}): check network, server and disk; {goes_on}"
    return Health("away", text, readable=False)

"""The few acts on files that placing needs, each of which leaves no half-made name behind.

Everything goes through `os`, one system call per step, so that a test can stop the program between any two of them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tierflow.objectstore.base import sha256_at
from tierflow.objectstore.connect import StorePath, stat_of
from tierflow.tiers.base import ChangedError, CopyError, Made, Stamp
from tierflow.tiers.rename import rename_new
from tierflow.tiers.words import cannot, changed_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from tierflow.objectstore.connect import Place
    from tierflow.tiers.base import Order

CHUNK = 1 << 20
NAME_MAX = 255
PART_SUFFIX = ".part"
_PART_ID = 16
NO_HARD_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


def look(path: Place) -> os.stat_result | None:
    """Return what stands at `path` itself (a link is not followed), or None when the name is free."""
    if isinstance(path, StorePath):
        return path.look()
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def lstat(path: Place) -> os.stat_result:
    """Return what stands at `path` itself.

    Raises:
        FileNotFoundError: when nothing does.
    """
    return path.stat() if isinstance(path, StorePath) else os.lstat(path)


def target_of(path: Path) -> Path | None:
    """Return the real file behind a path, or None when a link in it dangles or loops."""
    try:
        return Path(os.path.realpath(path, strict=True))
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None
        raise


def same_file(one: Path, other: Path) -> bool:
    """Tell whether two names (not followed) are hard links of one file."""
    first, second = look(one), look(other)
    return first is not None and second is not None and os.path.samestat(first, second)


def sha256_of(path: Place) -> str:
    """Return the SHA-256 of a file's bytes, following links; opening a pipe can't block.

    Raises:
        CopyError: when it isn't a regular file.
        OSError: when it can't be read.
    """
    if isinstance(path, StorePath):
        return sha256_at(path.store, path.key)
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        require_regular(os.fstat(handle), path)
        return _digest(handle)
    finally:
        os.close(handle)


def require_regular(info: os.stat_result, path: Path) -> None:
    """Refuse folders, pipes, sockets and devices.

    Raises:
        CopyError: when it isn't a regular file.
    """
    if not stat.S_ISREG(info.st_mode):
        raise CopyError(f"{path} is not a regular file: only files can be placed, move it out of the input")


def copy_verified(order: Order, *, mode: int | None = None, mtime_ns: int | None = None) -> Made:
    """Copy a file's content to a new name: hashed while read, synced, read back, published without overwriting.

    Times, permission bits, extended attributes and, where allowed, the owner are kept.

    Args:
        order: What to copy.
        mode: Permission bits to set where the origin's file system could not keep them; None: the origin's.
        mtime_ns: Time of last change, likewise, ns since 1970.

    Raises:
        FileExistsError: when the destination's name is taken.
        ChangedError: when the content is not what was measured, or changes while it is read.
        CopyError: when the origin can't be read, or the copy does not read back as written.
        OSError: when the destination's file system refuses.
    """
    origin, destination = order.paths
    handle = open_origin(origin)
    part = part_of(destination.parent, order.object_id)
    try:
        before = os.fstat(handle)
        require_regular(before, origin)
        copy = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            sha256 = _pour(handle, copy, origin)
            _keep_attributes(origin, before, part, mode=mode, mtime_ns=mtime_ns)
            if order.durable:
                os.fsync(copy)
            _require_unchanged(order, handle, before, sha256)
            require_same_bytes(copy, sha256, part)
        finally:
            os.close(copy)
        stamp = publish_new(part, destination)
    finally:
        os.close(handle)
        remove(part)
    own = os.lstat(origin)
    is_link = stat.S_ISLNK(own.st_mode)
    return Made(
        how="copy",
        sha256=sha256,
        origin_stamp=Stamp.of(own if is_link else before),
        stamp=stamp,
        mode=stat.S_IMODE(before.st_mode),
        link_text=link_text_of(origin) if is_link else None,
    )


def copy_dead_link(order: Order) -> Made:
    """Make the destination a link with the same text as the origin, which leads nowhere.

    Raises:
        FileExistsError: when the destination's name is taken.
        ChangedError: when it led to a file at the time of measuring.
    """
    origin, destination = order.paths
    if order.sha256 is not None:
        raise ChangedError(changed_text(origin, "the file that this link leads to isn't there any more"))
    own = os.lstat(origin)
    text = link_text_of(origin)
    stamp = make_link(text, destination, object_id=order.object_id, times_ns=(own.st_atime_ns, own.st_mtime_ns))
    return Made("symbolic_link", None, Stamp.of(own), stamp, 0o777, text)


def link_text_of(path: Path) -> str:
    """Return a link's text to the letter (`Path.readlink` would tidy it)."""
    return os.readlink(path)  # noqa: PTH115


def make_link(text: str, path: Path, *, object_id: str, times_ns: tuple[int, int]) -> Stamp:
    """Make a symbolic link that has the times of another one from its first moment.

    Args:
        text: What it says.
        path: Its name.
        object_id: The object, for the name of the unfinished link.
        times_ns: Times of last access and change, ns since 1970.

    Raises:
        FileExistsError: when the name is taken.
    """
    part = part_of(path.parent, object_id)
    try:
        part.symlink_to(text)
        with suppress(OSError, NotImplementedError):
            os.utime(part, ns=times_ns, follow_symlinks=False)
        return publish_new(part, path)
    finally:
        remove(part)


def part_of(folder: Path, object_id: str) -> Path:
    """Return a fresh name for an unfinished copy; no two processes ever get the same one."""
    return folder / f".{object_id[:_PART_ID]}.{uuid.uuid4().hex[:8]}{PART_SUFFIX}"


def remove_parts(where: Mapping[Place, Collection[str]]) -> None:
    """Remove the unfinished copies that a killed process left.

    Args:
        where: Objects whose copies may lie there, by folder; each folder is listed once.
    """
    for folder, object_ids in where.items():
        starts = {f".{object_id[:_PART_ID]}" for object_id in object_ids}
        if isinstance(folder, StorePath):
            _remove_parts_of_store(folder, starts)
            continue
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
            names = [e.name for e in entries if e.name.endswith(PART_SUFFIX) and e.name[: _PART_ID + 1] in starts]
            for name in names:
                remove(folder / name)


def _remove_parts_of_store(folder: StorePath, starts: set[str]) -> None:
    if not folder.store.has_parts:
        return
    with suppress(FileNotFoundError):
        for start in starts:
            for head in list(folder.store.scan((folder / start).key)):
                if head.key.endswith(PART_SUFFIX):
                    folder.store.delete(head.key)


def publish_new(part: Path, destination: Path) -> Stamp:
    """Give a finished file its name, unless that name is taken: one act, no moment in between.

    Raises:
        FileExistsError: when the name is taken.
        CopyError: when the file system can neither link nor rename without overwriting.
    """
    try:
        os.link(part, destination, follow_symlinks=False)
    except FileExistsError:
        # A network file system may repeat a request that it had carried out and then report its own work as a clash.
        if not same_file(part, destination):
            raise
    except OSError as error:
        if error.errno not in NO_HARD_LINK:
            raise
        rename_new(part, destination)
        return Stamp.of(os.lstat(destination))
    part.unlink()
    return Stamp.of(os.lstat(destination))


def remove(path: Place, *, seen: os.stat_result | None = None) -> None:
    """Remove a name; one that is already gone is fine.

    Args:
        path: The name.
        seen: What stood there when it was found that it may go; a key of an object store that was written since stays.

    Raises:
        OSError: when it can't be removed, or was written anew.
    """
    if isinstance(path, StorePath):
        head = path.store.head(path.key)
        if head is None:
            return
        if seen is not None and not Stamp.of(stat_of(head, path.root)).same_content_as(Stamp.of(seen)):
            raise FileExistsError(f"{path} was written anew: it was left there")
        path.store.delete(path.key, etag=head.etag)
        return
    with suppress(FileNotFoundError):
        path.unlink()


def missing_folders(folder: Place) -> list[Path]:
    """Return the folders that must be made so that `folder` exists, the outermost first; stores need none."""
    missing: list[Path] = []
    if isinstance(folder, StorePath):
        return missing
    while look(folder) is None:
        missing.append(folder)
        folder = folder.parent
    return missing[::-1]


def remove_empty_folders(folders: Iterable[Place]) -> None:
    """Remove those of the folders that are empty, the innermost first; stores have none."""
    for folder in sorted(
        {path for path in folders if isinstance(path, Path)}, key=lambda path: len(path.parts), reverse=True
    ):
        with suppress(OSError):
            folder.rmdir()


def open_origin(origin: Path) -> int:
    """Open a file to be copied; a pipe can't block.

    Raises:
        CopyError: when it can't be read.
    """
    try:
        return os.open(origin, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise CopyError(cannot("read", origin, error)) from error


def _pour(origin: int, copy: int, path: Path) -> str:
    """Copy all bytes and return the hash of those that were read; damage of the origin is the object's own trouble."""
    digest = hashlib.sha256()
    while True:
        try:
            chunk = os.read(origin, CHUNK)
        except OSError as error:
            raise CopyError(cannot("read", path, error)) from error
        if not chunk:
            return digest.hexdigest()
        digest.update(chunk)
        write_all(copy, chunk)


def write_all(handle: int, data: bytes) -> None:
    """Write all of `data`, however little the system takes at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _keep_attributes(origin: Path, info: os.stat_result, part: Path, *, mode: int | None, mtime_ns: int | None) -> None:
    with suppress(PermissionError):
        os.chown(part, info.st_uid, info.st_gid)
    # File systems without owners refuse permission bits; the journal keeps them, and the times are set regardless.
    with suppress(PermissionError):
        shutil.copystat(origin, part)
    with suppress(PermissionError):
        os.utime(part, ns=(info.st_atime_ns, info.st_mtime_ns if mtime_ns is None else mtime_ns))
    if mode is not None:
        with suppress(PermissionError):
            part.chmod(mode)


def require_still(origin: Path, handle: int, before: os.stat_result) -> None:
    """Make sure that a file is still the one that was opened, and wasn't written to.

    Args:
        origin: Its name.
        handle: The open file.
        before: What it was at the beginning.

    Raises:
        ChangedError: when it isn't.
    """
    now = Stamp.of(os.fstat(handle))
    try:
        named = Stamp.of(origin.stat())
    except FileNotFoundError as error:
        raise ChangedError(f"{origin} vanished while it was copied: run again") from error
    if not (now.same_content_as(Stamp.of(before)) and named.same_content_as(now)):
        raise ChangedError(f"{origin} changed while it was copied: run again once its writer has finished")


def _require_unchanged(order: Order, handle: int, before: os.stat_result, sha256: str) -> None:
    origin, _ = order.paths
    require_still(origin, handle, before)
    if order.sha256 is not None and sha256 != order.sha256:
        raise ChangedError(changed_text(origin, f"SHA-256 {sha256[:12]}..., measured {order.sha256[:12]}..."))


def require_same_bytes(copy: int, sha256: str, part: Path) -> None:
    """Read an open copy back, from the disk where that can be had.

    Raises:
        CopyError: when its SHA-256 isn't the one given.
    """
    # Without this the read below would be served from memory and say nothing about the disk.
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):
            os.posix_fadvise(copy, 0, 0, os.POSIX_FADV_DONTNEED)
    os.lseek(copy, 0, os.SEEK_SET)
    found = _digest(copy)
    if found != sha256:
        raise CopyError(
            f"the copy in {part.parent} reads back with SHA-256 {found[:12]}..., written was {sha256[:12]}...: "
            "check that disk, then run again"
        )


def _digest(handle: int) -> str:
    digest = hashlib.sha256()
    while chunk := os.read(handle, CHUNK):
        digest.update(chunk)
    return digest.hexdigest()

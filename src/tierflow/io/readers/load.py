"""Reading a file's bytes once, with their SHA-256: the I/O half of reading an object."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from tierflow.errors import EmptyFileError, MissingFileError, ObjectError, TryAgainError, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MB = 1_000_000
HOLD_MB = 512

# The storage, not the object: all files of the share are affected, and the same call may work in a minute. EIO isn't
# here, because a single bad sector must not keep a run from ever ending.
_STORAGE_AWAY = frozenset(
    {
        errno.ESTALE,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EAGAIN,
        errno.EBUSY,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
    }
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file whose bytes were read and hashed.

    Attributes:
        path: The file.
        size: Bytes that were read and hashed.
        sha256: SHA-256 of these bytes, 64 hex digits.
        data: The bytes; None for a file above the limit of `load`, whose parts are then read when needed.
    """

    path: Path
    size: int
    sha256: str
    data: bytes | None

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Give a seekable binary file with the content: in memory, or the file itself when it wasn't held.

        Raises:
            ObjectError: if a file that wasn't held can't be opened any more.
        """
        if self.data is not None:
            yield io.BytesIO(self.data)
            return
        with file_errors(self.path), self.path.open("rb") as handle:
            yield handle

    def head(self, count: int) -> bytes:
        """Return the first `count` bytes, or all there are."""
        if self.data is not None:
            return self.data[:count]
        with self.open() as handle:
            return handle.read(count)


def load(path: Path, *, hold_mb: int = HOLD_MB) -> Loaded:
    """Read a file once and hash it.

    Only I/O and hashing happen here, both without the interpreter's lock, so a thread can do it ahead of the measuring.

    Args:
        path: File or link to one.
        hold_mb: Files above this size, in MB, are hashed in pieces and not held in memory. They aren't memory-mapped
            either: a mapped file that someone cuts short kills the process, a read one gives an error.

    Raises:
        EmptyFileError: if it has no bytes.
        MissingFileError: if it isn't there, or is a link that leads nowhere or in a circle.
        UnreadableError: if it may not be read, the disk can't read it, or it isn't a file.
        TryAgainError: if the storage is away.
    """
    with file_errors(path):
        # Opening a named pipe would wait for ever, so the kind is asked first.
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise UnreadableError(f"is {_kind_of(mode)}, expected a file: leave it out with scan.exclude")
        with path.open("rb", buffering=0) as handle:
            if os.fstat(handle.fileno()).st_size > hold_mb * MB:
                digest = hashlib.file_digest(handle, "sha256")
                return Loaded(path, handle.tell(), digest.hexdigest(), None)
            data = handle.read()
    if not data:
        raise EmptyFileError("the file has no bytes: copy it again from the instrument, or delete it")
    return Loaded(path, len(data), hashlib.sha256(data).hexdigest(), data)


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Map errors of the operating system on one file to tierflow's: the only place where this is done for reading.

    Raises:
        ObjectError: if this file is at fault.
        TryAgainError: if the storage is away.
    """
    try:
        yield
    except (ObjectError, TryAgainError):
        raise
    except OSError as error:
        if error.errno is None:
            raise
        raise _explained(path, error) from error


def _explained(path: Path, error: OSError) -> ObjectError | TryAgainError:
    words = os.strerror(error.errno or 0)
    if error.errno in _STORAGE_AWAY:
        return TryAgainError(error.errno, f"the storage doesn't answer ({words}): run again when it is back", str(path))
    if error.errno == errno.ELOOP:
        return MissingFileError("a symbolic link that leads in a circle: restore its target or delete the link")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        target = _target_of(path)
        if target is not None:
            return MissingFileError(f"a symbolic link to {target!r}, which doesn't exist: restore the target")
        return MissingFileError("the file isn't there any more: it was moved or deleted after the scan; scan again")
    if error.errno in (errno.EACCES, errno.EPERM):
        return UnreadableError(f"no permission to read it{_mode_of(path)}: give this user read permission")
    if error.errno == errno.EIO:
        return UnreadableError(
            f"the disk or share can't read it ({words}): check the storage, then copy the file again"
        )
    return UnreadableError(f"can't be opened ({words}): check the file and its storage")


def _target_of(path: Path) -> str | None:
    try:
        return str(path.readlink())
    except OSError:
        return None


def _mode_of(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return " or to enter its folder"
    return f" (mode {stat.S_IMODE(found.st_mode):04o}, owner {found.st_uid}, this user {os.geteuid()})"


def _kind_of(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"))
    return next((name for test, name in kinds if test(mode)), "a device")

"""What stands in the way of placing, in words that a technician can act on."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from tierflow.errors import TryAgainError

if TYPE_CHECKING:
    from tierflow.objectstore.connect import Place


def changed_text(path: Place, difference: str) -> str:
    """Say that a file is not the one that was measured, and what to do."""
    return f"{path} changed since it was measured ({difference}): run again, so that it is measured anew"


_REMEDY = {
    errno.ENOENT: "it isn't there any more: run again so that the input is scanned anew",
    errno.EACCES: "permission denied: give the user who runs tierflow access",
    errno.EPERM: "the system doesn't permit it: check the owner and the attributes of file and folder",
    errno.EROFS: "the file system is mounted read-only: mount it writable or choose the driver `copy` or `link`",
    errno.ENAMETOOLONG: "the name is too long for this file system: choose a tier `root` with a shorter path",
    errno.EIO: "the disk reports a read or write error: check the disk",
    errno.ELOOP: "its symbolic links lead in a circle: remove the link or mend it",
    errno.ENOTDIR: "a part of the path is a file, not a folder: move that file away",
    errno.EISDIR: "it is a folder: only files can be placed",
}


def cannot(verb: str, path: Place, error: OSError) -> str:
    """Say what could not be done, why, and what to do.

    Raises:
        TryAgainError: when it is such an error, which is never one object's own.
    """
    if isinstance(error, TryAgainError):
        raise error
    words = os.strerror(error.errno) if error.errno else str(error)
    why = _REMEDY.get(error.errno or 0, f"{words}: mend that and run again")
    return f"can't {verb} {path}: {why}"

"""Rename a file without ever overwriting another, by a system call that Python doesn't offer."""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache
from typing import TYPE_CHECKING, Any

from tierflow.tiers.base import CopyError

if TYPE_CHECKING:
    from pathlib import Path

_RENAME_NOREPLACE = 1
_AT_FDCWD = -100


@cache
def _renameat2() -> Any:
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def rename_new(part: Path, destination: Path) -> None:
    """Rename unless the new name is taken, on file systems without hard links.

    Raises:
        FileExistsError: when the name is taken.
        CopyError: when the file system can't do that.
    """
    call = _renameat2()
    if call is None:
        raise CopyError(_no_publish(destination))
    if call(_AT_FDCWD, os.fsencode(part), _AT_FDCWD, os.fsencode(destination), _RENAME_NOREPLACE) == 0:
        return
    code = ctypes.get_errno()
    if code in {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}:
        raise CopyError(_no_publish(destination))
    raise OSError(code, os.strerror(code), str(destination))


def _no_publish(destination: Path) -> str:
    return (
        f"the file system of {destination.parent} has neither hard links nor renaming without overwriting, "
        "one of which is needed so that no file is ever overwritten: choose another `root` for the tier"
    )

"""One run per output folder."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tierflow.errors import TryAgainError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})


@contextmanager
def run_lock(output: Path, *, shared: bool = False) -> Iterator[int]:
    """Hold the lock of an output folder.

    Args:
        output: Output folder.
        shared: For a job of a run: several may hold it at once, a whole run not beside them.

    Yields:
        The lock's file descriptor. A child process that inherits it keeps the lock when this process is killed, so that
        a new run can't start beside one whose jobs are still ending.

    Raises:
        TryAgainError: if another run holds it; the message names its process.
    """
    folder = output / ".tierflow"
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            # Some cluster file systems have no locks: every step bears a twin, the lock only spares the work.
            if error.errno in NO_LOCKS:
                yield handle
                return
            holder = os.pread(handle, 100, 0).decode(errors="replace").strip() or "unknown"
            raise TryAgainError(
                f"{output} is in use by another tierflow run or watch (process {holder}): "
                f"wait for it to end (`tierflow drain {output}` ends a watch), or give another --output"
            ) from error
        if not shared:
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield handle
    finally:
        os.close(handle)

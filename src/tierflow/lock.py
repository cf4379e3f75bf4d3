"""One run per output folder."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tierflow.errors import TryAgainError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def run_lock(output: Path) -> Iterator[int]:
    """Hold the lock of an output folder.

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
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(handle, 100, 0).decode(errors="replace").strip() or "unknown"
            raise TryAgainError(
                f"{output} is in use by another tierflow run (process {holder}): "
                "wait for it to end, or give another --output"
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield handle
    finally:
        os.close(handle)

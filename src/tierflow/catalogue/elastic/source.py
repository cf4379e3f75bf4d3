"""The catalogue table that is being published, and whether it still is the one on disk."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tierflow import tables
from tierflow.errors import InputMissingError, TryAgainError

if TYPE_CHECKING:
    from pathlib import Path

_MTIME_SIZE_INODE = tuple[int, int, int]


class Source:
    """A table as it was when it was read.

    Args:
        path: The table.

    Attributes:
        path: The table.
        digest: SHA-256 of its bytes.
        table: Its records.

    Raises:
        InputMissingError: if it isn't there.
        TableError: if it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp = _stamp(path)
        self.digest = _digest(path)
        self.table = tables.read(path)

    def is_current(self) -> bool:
        """Tell whether the table on disk still says what was read."""
        try:
            stamp = _stamp(self.path)
            if stamp != self._stamp:
                if _digest(self.path) != self.digest:
                    return False
                self._stamp = stamp
        except InputMissingError:
            return False
        return True

    def require_current(self) -> None:
        """Go on only while we are the ones to speak for the table.

        Raises:
            TryAgainError: if it was replaced or removed.
        """
        if not self.is_current():
            raise TryAgainError(
                f"{self.path} was replaced while it was being published: what the server has may be older. Run the "
                "same command again"
            )


def _stamp(path: Path) -> _MTIME_SIZE_INODE:
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise _missing(path) from error
    return found.st_mtime_ns, found.st_size, found.st_ino


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise _missing(path) from error


def _missing(path: Path) -> InputMissingError:
    return InputMissingError(f"{path} is missing: run the step that makes it, or `tierflow run` again")

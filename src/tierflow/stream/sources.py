"""Whether the files of a batch are still those that were measured."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tierflow.errors import TryAgainError, is_passing
from tierflow.io.walk import folder_identity
from tierflow.stream import roots
from tierflow.stream.inner_mounts import InnerMounts
from tierflow.stream.look import look as look_at

if TYPE_CHECKING:
    from pathlib import Path

    from tierflow.stream.ledger import Ledger
    from tierflow.stream.look import Seen


def look(root: bytes, path: bytes) -> Seen | None:
    """Look at a file of the input.

    Args:
        root: The input folder.
        path: Path relative to it, as the file system has it.

    Returns:
        None where nothing is there.

    Raises:
        TryAgainError: if the file system is away.
    """
    whole = os.path.join(root, path)  # noqa: PTH118 - pathlib can't hold bytes
    try:
        return look_at(whole)
    except OSError as error:
        if is_passing(error):
            raise TryAgainError(f"{os.fsdecode(whole)}: {error.strerror}: waiting for the disk or share") from error
        return None


def leads_to_file(root: bytes, path: bytes) -> bool:
    """Tell whether there is more than a link that leads nowhere; arguments as of `look`."""
    return os.path.exists(os.path.join(root, path))  # noqa: PTH110, PTH118 - pathlib can't hold bytes


class Root:
    """The input folder, and whether it is the one that files were seen in: an unmounted share leaves an empty folder.

    Args:
        folder: The input folder.
        ledger: Says which folder the watcher has found to be the right one. Shares and tmpfs have another device number
            after each mount, so the one of the start may never come back.

    Raises:
        TryAgainError: if the ledger can't be written to.
    """

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self.folder = folder
        self.bytes = os.fsencode(folder)
        self._ledger = ledger
        # What a killed process left is dealt with before the watcher looks at the root.
        roots.Root(folder, ledger).check()

    def require(self) -> None:
        """See that the folder is there.

        Raises:
            TryAgainError: if it isn't, or another file system is there now.
        """
        known = self._ledger.fact(roots.FACT)
        if known is None or folder_identity(self.bytes) != (known["device"], known["inode"]):
            raise TryAgainError(
                f"input folder {self.folder} went away: nothing is lost, handling goes on when it is mounted again"
            )

    def is_unmounted(self, path: bytes) -> bool:
        """Tell whether a file lies on a disk inside the folder that isn't mounted now."""
        return InnerMounts(self.folder, self._ledger).is_missing(path)

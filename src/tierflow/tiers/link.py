"""Driver `link`: a second name for the file; nothing is read or written."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, ClassVar

from tierflow.tiers.base import Made, Stamp
from tierflow.tiers.checks import check_link
from tierflow.tiers.files import NO_HARD_LINK, copy_dead_link, link_text_of, require_regular, target_of

if TYPE_CHECKING:
    from pathlib import Path

    from tierflow.tiers.base import Order, Placed


class Link:
    """Makes a hard link, or a symbolic link where none can be made (another device, a protected or foreign file).

    A hard link is the same file under a second name: who edits one edits both, and the bytes stay until both names are
    gone. A symbolic link at the source is followed; one that leads nowhere is made again with the same text.
    """

    name: ClassVar[str] = "link"
    places: ClassVar[bool] = True
    consumes: ClassVar[bool] = False
    folder: ClassVar[str] = "tiers"

    def publish(self, order: Order) -> Made:
        """Make the link; see `TierDriver.publish`."""
        origin, destination = order.paths
        own = os.lstat(origin)
        target, link_text = origin, None
        if stat.S_ISLNK(own.st_mode):
            real = target_of(origin)
            if real is None:
                return copy_dead_link(order)
            target, link_text = real, link_text_of(origin)
        info = os.lstat(target)
        require_regular(info, target)
        is_hard = _hard_or_symbolic_link(target, destination)
        return Made(
            how="hard_link" if is_hard else "symbolic_link",
            sha256=order.sha256,
            origin_stamp=Stamp.of(own),
            stamp=Stamp.of(os.lstat(destination)),
            mode=stat.S_IMODE(info.st_mode),
            link_text=link_text,
        )

    def verify(self, placed: Placed, *, hash_files: bool) -> str | None:
        """Check that the link leads to the source's file; see `TierDriver.verify`."""
        return check_link(placed, hash_files=hash_files)


def _hard_or_symbolic_link(target: Path, destination: Path) -> bool:
    """Give a regular file a second name, hard where possible; tell whether it is a hard one."""
    try:
        os.link(target, destination, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in NO_HARD_LINK:
            raise
        destination.symlink_to(target.absolute())
        return False
    return True

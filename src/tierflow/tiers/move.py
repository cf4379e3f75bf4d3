"""Driver `move`: the file leaves its source, once its new name stands and the journal says so."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, ClassVar

from tierflow.objectstore.connect import StorePath
from tierflow.tiers.base import Made, Stamp
from tierflow.tiers.checks import check_content
from tierflow.tiers.copy import copy_any
from tierflow.tiers.files import NO_HARD_LINK, require_regular

if TYPE_CHECKING:
    from tierflow.tiers.base import Order, Placed


class Move:
    """Gives the file its new name beside the old one; on another device or in an object store makes a verified copy.

    The old name is removed later, by `tierflow.tiers.carry`. Of a symbolic link only the link is moved: its content is
    copied and its target stays.
    """

    name: ClassVar[str] = "move"
    places: ClassVar[bool] = True
    consumes: ClassVar[bool] = True
    folder: ClassVar[str] = "tiers"
    takes_urls: ClassVar[bool] = True

    def publish(self, order: Order) -> Made:
        """Make the new name; see `TierDriver.publish`."""
        if isinstance(order.origin, StorePath) or isinstance(order.destination, StorePath):
            return copy_any(order)
        info = os.lstat(order.origin)
        if stat.S_ISLNK(info.st_mode):
            return copy_any(order)
        require_regular(info, order.origin)
        try:
            os.link(order.origin, order.destination, follow_symlinks=False)
        except FileExistsError:
            raise
        except OSError as error:
            if error.errno not in NO_HARD_LINK:
                raise
            return copy_any(order)
        now = os.lstat(order.destination)
        return Made("hard_link", order.sha256, Stamp.of(info), Stamp.of(now), stat.S_IMODE(now.st_mode))

    def verify(self, placed: Placed, *, hash_files: bool) -> str | None:
        """Check the moved file's content; see `TierDriver.verify`."""
        return check_content(placed, hash_files=hash_files)

"""Driver `copy`: a verified copy; the source stays."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, ClassVar

from tierflow.objectstore.connect import StorePath
from tierflow.tiers.checks import check_content
from tierflow.tiers.files import copy_dead_link, copy_verified, target_of
from tierflow.tiers.transfer import transfer

if TYPE_CHECKING:
    from tierflow.tiers.base import Made, Order, Placed


class Copy:
    """Copies the bytes to a folder or an object store, and compares the copy's SHA-256 before it gets its name.

    A symbolic link at the source is followed; one that leads nowhere is made again with the same text.
    """

    name: ClassVar[str] = "copy"
    places: ClassVar[bool] = True
    consumes: ClassVar[bool] = False
    folder: ClassVar[str] = "tiers"
    takes_urls: ClassVar[bool] = True

    def publish(self, order: Order) -> Made:
        """Make the copy; see `TierDriver.publish`."""
        return copy_any(order)

    def verify(self, placed: Placed, *, hash_files: bool) -> str | None:
        """Check the copy's content; see `TierDriver.verify`."""
        return check_content(placed, hash_files=hash_files)


def copy_any(order: Order) -> Made:
    """Copy a file or what a link leads to; make a link that leads nowhere again."""
    if isinstance(order.origin, StorePath) or isinstance(order.destination, StorePath):
        return transfer(order)
    if stat.S_ISLNK(os.lstat(order.origin).st_mode) and target_of(order.origin) is None:
        return copy_dead_link(order)
    return copy_verified(order)

"""What a tier driver is: the contract of the entry-point group `tierflow.tiers`.

A driver only makes and checks one destination. Names, journal, removal of sources, recovery and undo are done once for
all drivers by `tierflow.tiers.carry` and `tierflow.tiers.restore`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Protocol

from tierflow.errors import ConfigError, ObjectError
from tierflow.objectstore.base import NO_LABELS, Labels
from tierflow.objectstore.connect import StorePath

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from tierflow.objectstore.connect import Place

How = Literal["hard_link", "symbolic_link", "copy"]


class ChangedError(ObjectError):
    """The file isn't the one that was measured, or it changes while it is read."""

    flag = "changed"


class CopyError(ObjectError):
    """A copy could not be made or does not read back as it was written; the original stays."""

    flag = "copy_failed"


class Stamp(NamedTuple):
    """What the file system says of a file; two equal stamps mean the same unchanged file.

    Attributes:
        dev: Device number; not stable over remounts, so it is never compared.
        ino: Inode number.
        size: Size in bytes.
        mtime_ns: Time of last change of the content, ns since 1970.
        ctime_ns: Time of last change of the inode, ns since 1970; user programs can't set it.
    """

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, info: os.stat_result) -> Stamp:
        """Take the stamp from a stat result."""
        return cls(info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)

    def same_content_as(self, other: Stamp | None) -> bool:
        """Tell whether inode, size and time of last change agree."""
        return other is not None and self[1:4] == other[1:4]

    def same_as(self, other: Stamp | None) -> bool:
        """Tell whether, beyond that, not even the inode was touched (no new link, no chmod, no rename)."""
        return other is not None and self[1:] == other[1:]


@dataclass(frozen=True, slots=True)
class Order:
    """One destination to make.

    Attributes:
        object_id: The object.
        origin: Where its bytes are now; may be a symbolic link, or a key in an object store.
        destination: Name to make; its folder exists, the name must be free. A key only for drivers that take URLs.
        sha256: Hash of the bytes that were measured, or None when they could not be read.
        durable: Sync the file to the disk before it gets its name.
        labels: Storage class and tags for a destination in an object store.
        ledger: Folder for notes on unfinished uploads; None: an upload that was cut off begins anew.
        mode: Permission bits that a file gets whose origin lies in an object store; None: those of any new file.
        mtime_ns: Time of last change that such a file gets, ns since 1970; None: the store's.
    """

    object_id: str
    origin: Place
    destination: Place
    sha256: str | None = None
    durable: bool = True
    labels: Labels = NO_LABELS
    ledger: Path | None = None
    mode: int | None = None
    mtime_ns: int | None = None

    @property
    def paths(self) -> tuple[Path, Path]:
        """Origin and destination of a driver that knows files only.

        Raises:
            ConfigError: when one of them is a key in an object store.
        """
        return _local(self.origin), _local(self.destination)


@dataclass(frozen=True, slots=True)
class Made:
    """What a driver made.

    Attributes:
        how: Kind of the new name.
        sha256: Hash of the bytes where the driver read them, else the order's.
        origin_stamp: The origin (the link itself where it is one) as it was when its bytes were taken.
        stamp: The destination (the link itself where it is one).
        mode: Permission bits of the origin.
        link_text: What the origin pointed to, where it is a symbolic link.
    """

    how: How
    sha256: str | None
    origin_stamp: Stamp
    stamp: Stamp
    mode: int
    link_text: str | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A destination that was made earlier, to be checked.

    Attributes:
        source: The object's own place in the input.
        destination: Name that was made.
        how: Kind of that name.
        sha256: Hash of its bytes, None when unknown.
        stamp: The destination as it was when it was made.
        link_text: What the source pointed to, where it was a symbolic link.
    """

    source: Place
    destination: Place
    how: How
    sha256: str | None
    stamp: Stamp
    link_text: str | None = None


def _local(place: Place) -> Path:
    if isinstance(place, StorePath):
        raise ConfigError(f"{place} lies in an object store: use the driver `copy` or `move` for it")
    return place


class TierDriver(Protocol):
    """Stores objects in a tier. Built once per run without arguments; has no state.

    Attributes:
        name: Name of the entry point.
        places: Whether it makes a destination at all; False: objects stay at their source.
        consumes: Whether the origin is removed once the destination stands and the journal says so.
        folder: Folder in the output that holds the tier's own folder where the configuration gives no root.

    A driver whose class has `takes_urls = True` may be given keys of object stores as origins and destinations.
    """

    name: ClassVar[str]
    places: ClassVar[bool]
    consumes: ClassVar[bool]
    folder: ClassVar[str]

    def publish(self, order: Order) -> Made:
        """Make the destination: complete and verified, or not at all. The origin is never changed or removed.

        Raises:
            FileExistsError: when the destination's name is taken; that file is left as it is.
            ChangedError: when the origin is not what was measured.
            CopyError: when the copy can't be made for a reason of this object's own.
            OSError: when the file system refuses.
        """

    def verify(self, placed: Placed, *, hash_files: bool) -> str | None:
        """Say in words what is wrong with a destination; None when all is well.

        Args:
            placed: What was made.
            hash_files: Read the file and compare its SHA-256; otherwise only size and kind are compared.
        """

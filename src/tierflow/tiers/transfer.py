"""Copies to, from and between object stores: verified by SHA-256, never visible before they are whole."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, cast

from tierflow.objectstore.base import TOKEN, Upload
from tierflow.objectstore.connect import StorePath, stat_of
from tierflow.objectstore.uploads import token_for
from tierflow.tiers.base import ChangedError, CopyError, Made, Stamp
from tierflow.tiers.files import (
    link_text_of,
    open_origin,
    part_of,
    publish_new,
    remove,
    require_regular,
    require_same_bytes,
    require_still,
    sha256_of,
    target_of,
    write_all,
)
from tierflow.tiers.words import cannot, changed_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tierflow.objectstore.base import Head
    from tierflow.tiers.base import Order


def transfer(order: Order) -> Made:
    """Copy an object where its origin or its destination, or both, lie in an object store.

    Args:
        order: What to copy.

    Raises:
        FileExistsError: when the destination's name is taken.
        ChangedError: when the content is not what was measured, or changes while it is read.
        CopyError: when the origin can't be read, or what arrived isn't what was sent.
        ConfigError: when the store refuses the credentials.
        TryAgainError: when the store is away.
        OSError: when the local file system refuses.
    """
    if isinstance(order.origin, StorePath):
        try:
            if isinstance(order.destination, StorePath):
                return _between(order, order.origin, order.destination)
            return _download(order, order.origin, order.destination)
        except FileNotFoundError as error:
            raise CopyError(f"{order.origin} isn't there any more: find out who removed it") from error
    return _upload(order, order.origin, cast("StorePath", order.destination))


def is_own_upload(destination: StorePath, head: Head, *, ledger: Path, object_id: str, sha256: str | None) -> bool:
    """Tell whether this very run wrote a key for this object, with the bytes that it was to have.

    Args:
        destination: The key.
        head: What the store says of it.
        ledger: Folder of notes on uploads.
        object_id: The object.
        sha256: SHA-256 of the bytes it was to have; None where that isn't known.
    """
    if sha256 is None:
        return False
    # Where the store keeps no notes beside the bytes, the bytes have to do.
    if not destination.store.has_parts and head.notes.get(TOKEN) != token_for(ledger, object_id, sha256):
        return False
    return head.sha256 == sha256 or sha256_of(destination) == sha256


def _upload(order: Order, origin: Path, destination: StorePath) -> Made:
    own = os.lstat(origin)
    is_link = stat.S_ISLNK(own.st_mode)
    if is_link and target_of(origin) is None:
        if order.sha256 is not None:
            raise ChangedError(changed_text(origin, "the file that this link leads to isn't there any more"))
        raise CopyError(f"{origin} is a link that leads nowhere, which no object store can hold: remove or mend it")
    with _reading(origin) as stream:
        before = os.fstat(stream.fileno())
        require_regular(before, origin)
        sha256 = order.sha256 or _hash(stream)
        head = destination.store.put(_order_of(order, destination, stream, origin, before.st_size, sha256))
        try:
            require_still(origin, stream.fileno(), before)
        except ChangedError:
            # The measured bytes arrived, but they are no longer those of the file.
            destination.store.delete(destination.key, etag=head.etag)
            raise
    return Made(
        how="copy",
        sha256=sha256,
        origin_stamp=Stamp.of(own if is_link else before),
        stamp=Stamp.of(stat_of(head, destination.root)),
        mode=stat.S_IMODE(before.st_mode),
        link_text=link_text_of(origin) if is_link else None,
    )


def _between(order: Order, origin: StorePath, destination: StorePath) -> Made:
    before = origin.stat()
    sha256 = order.sha256 or sha256_of(origin)
    stream = cast("BinaryIO", _Stream(origin))
    head = destination.store.put(_order_of(order, destination, stream, origin, before.st_size, sha256))
    stamp = Stamp.of(stat_of(head, destination.root))
    return Made("copy", sha256, Stamp.of(before), stamp, stat.S_IMODE(before.st_mode))


def _download(order: Order, origin: StorePath, destination: Path) -> Made:
    before = origin.stat()
    part = part_of(destination.parent, order.object_id)
    try:
        copy = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            digest = hashlib.sha256()
            for chunk in origin.store.chunks(origin.key):
                digest.update(chunk)
                write_all(copy, chunk)
            sha256 = digest.hexdigest()
            if order.sha256 is not None and sha256 != order.sha256:
                difference = f"SHA-256 {sha256[:12]}..., recorded {order.sha256[:12]}..."
                raise ChangedError(f"{origin} isn't what was placed there ({difference}): find out who changed it")
            with suppress(PermissionError):
                part.chmod(order.mode if order.mode is not None else 0o666 & ~_umask())
            when = before.st_mtime_ns if order.mtime_ns is None else order.mtime_ns
            with suppress(PermissionError):
                os.utime(part, ns=(when, when))
            if order.durable:
                os.fsync(copy)
            require_same_bytes(copy, sha256, part)
        finally:
            os.close(copy)
        stamp = publish_new(part, destination)
    finally:
        remove(part)
    return Made("copy", sha256, Stamp.of(before), stamp, stat.S_IMODE(before.st_mode))


def _order_of(
    order: Order, destination: StorePath, stream: BinaryIO, origin: Path | StorePath, size: int, sha256: str
) -> Upload:
    return Upload(
        key=destination.key,
        source=stream,
        origin=str(origin),
        size=size,
        sha256=sha256,
        object_id=order.object_id,
        labels=order.labels,
        ledger=order.ledger,
    )


@contextmanager
def _reading(origin: Path) -> Iterator[BinaryIO]:
    handle = open_origin(origin)
    try:
        require_regular(os.fstat(handle), origin)
    except BaseException:
        os.close(handle)
        raise
    with os.fdopen(handle, "rb") as stream:
        yield cast("BinaryIO", _Guarded(stream, origin))


class _Guarded:
    """A local file whose read errors are the object's own trouble, not the store's."""

    def __init__(self, stream: BinaryIO, origin: Path) -> None:
        self._stream, self._origin = stream, origin

    def read(self, size: int = -1) -> bytes:
        try:
            return self._stream.read(size)
        except OSError as error:
            raise CopyError(cannot("read", self._origin, error)) from error

    def fileno(self) -> int:
        return self._stream.fileno()

    def seek(self, offset: int) -> int:
        return self._stream.seek(offset)


class _Stream:
    """The bytes of a key, to be read once from the beginning."""

    def __init__(self, origin: StorePath) -> None:
        self._chunks = origin.store.chunks(origin.key)
        self._held = b""

    def read(self, size: int) -> bytes:
        """Return so many bytes, fewer only at the end."""
        parts, missing = [self._held], size - len(self._held)
        while missing > 0:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            parts.append(chunk)
            missing -= len(chunk)
        data = b"".join(parts)
        self._held = data[size:]
        return data[:size]


def _hash(stream: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := stream.read(1 << 20):
        digest.update(chunk)
    stream.seek(0)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

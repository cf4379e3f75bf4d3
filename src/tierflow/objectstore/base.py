"""What every object store can do, whatever library talks to it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


TOKEN = "tierflow-upload"  # noqa: S105 (no secret)
"""Name of the note beside the bytes by which a run recognises what it wrote itself."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a store says of one key.

    Attributes:
        key: The key, without the store's root and without a leading slash.
        size: Size in bytes.
        mtime_ns: Time of last change, ns since 1970; see `version_ns`.
        etag: Text that changes whenever the bytes are written anew; "" where the store has none.
        sha256: SHA-256 of all bytes in hex digits as the store itself checked it on arrival, None where it keeps none.
        composite: SHA-256 over the SHA-256 of the parts (Base64, a dash, number of parts) of a multipart upload.
        notes: What was noted beside the bytes (user metadata), where the store keeps any and was asked.
    """

    key: str
    size: int
    mtime_ns: int
    etag: str = ""
    sha256: str | None = None
    composite: str | None = None
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Labels:
    """What a store is told about an object besides its bytes.

    Attributes:
        storage_class: Storage class of the store, None for the bucket's own.
        tags: Tags; stores without tags pass them over.
    """

    storage_class: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


NO_LABELS = Labels()


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One object to put.

    Attributes:
        key: Where to; must be free.
        source: Its bytes, to be read once from the beginning: only `read(size)` is called.
        origin: Where they come from, for messages.
        size: Its size in bytes.
        sha256: SHA-256 of its bytes in hex digits.
        object_id: The object.
        labels: Storage class and tags.
        ledger: Folder for notes on unfinished uploads, by which a later process goes on; None: it begins anew.
    """

    key: str
    source: BinaryIO
    origin: str
    size: int
    sha256: str
    object_id: str
    labels: Labels = NO_LABELS
    ledger: Path | None = None


def version_ns(seconds: int, etag: str) -> int:
    """Return a number that changes with every new version of a key: its time of last change in ns since 1970.

    Stores tell whole seconds. The digits below are made from the ETag, so that a version that replaces another one of
    the same size within the second is noticed as well. They say nothing about time.

    Args:
        seconds: Time of last change in whole s since 1970.
        etag: ETag; "" leaves the digits 0.
    """
    below = int.from_bytes(hashlib.sha256(etag.encode()).digest()[:8]) % 1_000_000_000 if etag else 0
    return seconds * 1_000_000_000 + below


def sha256_at(store: Store, key: str) -> str:
    """Return the SHA-256 of a key's bytes in hex digits, by reading all of them.

    Raises:
        FileNotFoundError: when there is no such key.
        TryAgainError: when the connection breaks.
    """
    digest = hashlib.sha256()
    for chunk in store.chunks(key):
        digest.update(chunk)
    return digest.hexdigest()


class Store(Protocol):
    """The keys below one root. May be used by several threads.

    Errors of its library never leave it: `ConfigError` (credentials, bucket, permission), `TryAgainError` (network,
    503), `FileNotFoundError` (no such key) and `ObjectError` (this key alone) do.

    Attributes:
        root: URL without a trailing slash, such as s3://bucket.
        has_parts: Whether unfinished uploads are visible as keys of their own that end with `.part`.
    """

    root: str
    has_parts: ClassVar[bool]

    def head(self, key: str) -> Head | None:
        """Look at one key; None where there is none."""

    def scan(self, prefix: str) -> Iterator[Head]:
        """Yield all keys that begin with `prefix`, in the order of their UTF-8 bytes, without notes and checksums."""

    def chunks(self, key: str, *, size: int = 1 << 20) -> Iterator[bytes]:
        """Yield the bytes of a key from the first to the last, as they were at one moment.

        Raises:
            FileNotFoundError: when there is no such key.
            TryAgainError: when the connection breaks, also in the middle.
        """

    def read(self, key: str, start: int, length: int) -> bytes:
        """Return a range of a key's bytes; shorter than `length` only at the end."""

    def put(self, upload: Upload) -> Head:
        """Write a key: whole and verified, or not at all.

        Raises:
            FileExistsError: when the key is taken; what it holds is left as it is.
            ChangedError: when the bytes aren't the ones with the SHA-256 that was given.
        """

    def delete(self, key: str, *, etag: str = "") -> None:
        """Remove a key; one that is gone already is fine.

        Args:
            key: The key.
            etag: Remove it only if it still has this ETag (where the store can tell).

        Raises:
            FileExistsError: when it has another ETag by now.
        """

    def unfinished(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield key and upload id of uploads in parts that were begun and not ended, anybody's."""

    def abort(self, key: str, upload_id: str) -> None:
        """Forget an unfinished upload and its parts; one that is gone already is fine."""

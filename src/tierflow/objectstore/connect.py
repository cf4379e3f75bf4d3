"""The one place that opens an object store by its URL, and the paths that lie in one."""

from __future__ import annotations

import io
import os
import re
import stat
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from tierflow.errors import ConfigError

if TYPE_CHECKING:
    from fsspec.spec import AbstractFileSystem

    from tierflow.objectstore.base import Head, Store

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/]*)(?:/(.*))?", re.DOTALL)
_S3 = frozenset({"s3", "s3a"})
_EXTRAS = {"gs": "gcs", "gcs": "gcs", "abfs": "azure", "abfss": "azure", "az": "azure"}
_BUFFER = 1 << 20


def is_url(text: str | os.PathLike[str] | StorePath) -> bool:
    """Tell whether a text is a URL rather than a path of the file system.

    >>> is_url("s3://bucket/plate 1"), is_url("/data/plate"), is_url("plate:1//x")
    (True, False, False)
    """
    return isinstance(text, StorePath) or (isinstance(text, str) and _URL.fullmatch(text) is not None)


def place_at(text: str, *, base: Path | None = None) -> Place:
    """Return the place that a text of the configuration or a table names.

    Args:
        text: URL, or path of the file system; file:// URLs are paths.
        base: Folder that relative paths start from; None: the working folder.

    Raises:
        ConfigError: when the URL names no bucket.
    """
    match = _URL.fullmatch(text)
    if match is None:
        return (base or Path()) / Path(text).expanduser()
    scheme, bucket, key = match[1], match[2], match[3] or ""
    if scheme == "file":
        return Path(f"/{key}")
    if scheme in _S3 and not bucket:
        raise ConfigError(f"{text!r} names no bucket: write s3://BUCKET/FOLDER")
    return StorePath(f"{scheme}://{bucket}", "/".join(part for part in key.split("/") if part))


def file_system(url: str) -> tuple[AbstractFileSystem, str]:
    """Open the file system of a URL for listing and reading.

    Args:
        url: Any URL that fsspec knows, such as s3://bucket/plates.

    Returns:
        fsspec's file system and the URL's path in it. Errors of its calls are the library's own.

    Raises:
        ConfigError: when the library for that kind of store is not installed, or there is no such kind.
    """
    scheme = url.partition("://")[0].lower()
    extra = _EXTRAS.get(scheme, "fsspec")
    try:
        import fsspec
    except ImportError as error:
        raise ConfigError(missing_extra(url, extra)) from error
    try:
        return cast("tuple[AbstractFileSystem, str]", fsspec.url_to_fs(url))
    except ImportError as error:
        raise ConfigError(missing_extra(url, extra)) from error
    except ValueError as error:
        raise ConfigError(f"can't open {url}: {error}; write a URL such as s3://bucket/folder") from error


def missing_extra(url: str, extra: str = "s3") -> str:
    """Say which library is missing and how to get it."""
    return f'can\'t open {url}: the library for it is not installed: pip install "tierflow[{extra}]"'


@lru_cache(maxsize=64)
def connect(root: str) -> Store:
    """Open a store; the same object for the same root, usable by several threads.

    Args:
        root: Scheme and bucket, such as s3://bucket (`StorePath.root`).

    Raises:
        ConfigError: when the library for that kind of store is not installed, or knows no such kind.
    """
    if root.partition("://")[0] in _S3:
        from tierflow.objectstore.s3 import S3Store

        return S3Store(root)
    from tierflow.objectstore.general import GeneralStore

    return GeneralStore(root)


@dataclass(frozen=True, slots=True, order=True)
class StorePath:
    """A key in an object store, or the common beginning of many: what `Path` is for the file system.

    It has no `__fspath__`, so that no function of the file system ever takes it for a local name.

    Attributes:
        root: Scheme and bucket, without a trailing slash.
        key: The rest, without a leading slash; "" is the whole bucket.
    """

    root: str
    key: str

    def __str__(self) -> str:
        """Return the URL."""
        return f"{self.root}/{self.key}"

    def __truediv__(self, other: str | os.PathLike[str]) -> StorePath:
        """Return the place with another part behind it."""
        # Keys are UTF-8: bytes of a file's name that aren't become readable (the journal knows the true name).
        text = os.fsencode(other).decode("utf-8", "backslashreplace")
        return StorePath(self.root, f"{self.key}/{text}" if self.key else text)

    @property
    def store(self) -> Store:
        """The store that holds it."""
        return connect(self.root)

    @property
    def name(self) -> str:
        """Last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """Last part without its suffix."""
        return self.name.removesuffix(self.suffix)

    @property
    def suffix(self) -> str:
        """Suffix of the last part with its dot, or ""."""
        return Path(self.name).suffix

    @property
    def parent(self) -> StorePath:
        """The key without its last part."""
        return StorePath(self.root, self.key.rpartition("/")[0])

    @property
    def parts(self) -> tuple[str, ...]:
        """Root and the parts of the key."""
        return (self.root, *self.key.split("/")) if self.key else (self.root,)

    def with_name(self, name: str) -> StorePath:
        """Return the path with another last part."""
        return self.parent / name

    def is_relative_to(self, other: Place) -> bool:
        """Tell whether it lies below another path, or is that path."""
        if not isinstance(other, StorePath) or self.root != other.root:
            return False
        return not other.key or self.key == other.key or self.key.startswith(f"{other.key}/")

    def look(self) -> os.stat_result | None:
        """Return what stands there as `os.lstat` would: a regular file that stands for its ETag; None: nothing."""
        head = self.store.head(self.key)
        return None if head is None else stat_of(head, self.root)

    def stat(self) -> os.stat_result:
        """Like `look`.

        Raises:
            FileNotFoundError: when there is no such key.
        """
        found = self.look()
        if found is None:
            raise FileNotFoundError(f"{self} isn't there")
        return found

    def exists(self) -> bool:
        """Tell whether there is such a key."""
        return self.look() is not None

    def is_symlink(self) -> bool:
        """Say no: stores have no links."""
        return False

    def open(self) -> io.BufferedReader:
        """Open for reading at any position; each megabyte is one request."""
        return io.BufferedReader(_Reader(self), _BUFFER)

    def read_bytes(self) -> bytes:
        """Return all bytes."""
        return b"".join(self.store.chunks(self.key))


Place: TypeAlias = Path | StorePath
"""Where a file is or shall be: in the file system or in an object store."""


def stat_of(head: Head, root: str) -> os.stat_result:
    """Return a key's size and time as a stat result; its inode number stands for root, key and ETag.

    Args:
        head: What the store says.
        root: The store's root. No two keys ever look like one file, whatever they hold.
    """
    device = _number(root)
    inode = _number(f"{root}/{head.key}\0{head.etag}")
    seconds = head.mtime_ns // 1_000_000_000
    fields = (stat.S_IFREG | 0o644, inode, device, 1, os.getuid(), os.getgid(), head.size, seconds, seconds, seconds)
    times = {"st_atime_ns": head.mtime_ns, "st_mtime_ns": head.mtime_ns, "st_ctime_ns": 0}
    return os.stat_result(fields, times)


def _number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=7).digest())


class _Reader(io.RawIOBase):
    """Reads ranges of a key."""

    def __init__(self, path: StorePath) -> None:
        self._store, self._key, self._size, self._at = path.store, path.key, path.stat().st_size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        length = min(len(buffer), self._size - self._at)
        if length <= 0:
            return 0
        data = self._store.read(self._key, self._at, length)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

"""Any store that fsspec knows: written under an unfinished name, read back, then renamed."""

from __future__ import annotations

import hashlib
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, cast

from tierflow.objectstore.base import Head, Upload, sha256_at, version_ns
from tierflow.objectstore.connect import file_system
from tierflow.objectstore.problems import general_errors
from tierflow.tiers.base import ChangedError, CopyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CHUNK = 1 << 20
_ID_DIGITS = 16
# What changes with the bytes, by the names that the libraries give it.
_MARKS = ("ETag", "etag", "generation", "md5Hash", "content_md5", "ino", "created", "mtime")
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "modified", "created")


class GeneralStore:
    """A root of any fsspec file system.

    Most of these libraries can't create a key only if it is free: it is looked at just before.
    """

    has_parts: ClassVar[bool] = True

    def __init__(self, root: str) -> None:
        """Open a root.

        Raises:
            ConfigError: when the library for it is not installed.
        """
        self.root = root
        self._system, base = file_system(f"{root}/")
        self._base = base.rstrip("/")

    def head(self, key: str) -> Head | None:
        """Look at one key; see `Store.head`. A folder counts as a key without bytes, for its name is taken."""
        with general_errors(f"{self.root}/{key}", "look at"):
            self._system.invalidate_cache()
            try:
                info = self._system.info(self._path(key))
            except (FileNotFoundError, NotADirectoryError):
                return None
        return _head(key, info)

    def scan(self, prefix: str) -> Iterator[Head]:
        """Yield keys; see `Store.scan`."""
        folder = prefix.rpartition("/")[0]
        with general_errors(f"{self.root}/{prefix}", "list"):
            self._system.invalidate_cache()
            found = cast("Mapping[str, Any]", self._system.find(self._path(folder), detail=True))
        for path in sorted(found):
            key = path.removeprefix(self._base).lstrip("/")
            if key.startswith(prefix):
                yield _head(key, found[path])

    def chunks(self, key: str, *, size: int = _CHUNK) -> Iterator[bytes]:
        """Yield the bytes of a key; see `Store.chunks`."""
        with (
            general_errors(f"{self.root}/{key}", "read"),
            self._system.open(self._path(key), "rb", cache_type="readahead") as stream,
        ):
            while chunk := stream.read(size):
                yield chunk

    def read(self, key: str, start: int, length: int) -> bytes:
        """Return a range; see `Store.read`."""
        with general_errors(f"{self.root}/{key}", "read"):
            return bytes(self._system.cat_file(self._path(key), start=start, end=start + length))

    def put(self, upload: Upload) -> Head:
        """Write a key; see `Store.put`."""
        url, folder = f"{self.root}/{upload.key}", upload.key.rpartition("/")[0]
        part = f"{folder}/.{upload.object_id[:_ID_DIGITS]}.{uuid.uuid4().hex[:8]}.part".lstrip("/")
        if self.head(upload.key) is not None:
            raise FileExistsError(f"{url} is taken")
        with general_errors(url, "write"):
            try:
                with suppress(FileExistsError):
                    self._system.makedirs(self._path(folder), exist_ok=True)
                self._write(part, upload)
                found = sha256_at(self, part)
                if found != upload.sha256:
                    raise CopyError(f"{url} doesn't read back as it was written: check that store, then run again")
                if self.head(upload.key) is not None:
                    raise FileExistsError(f"{url} is taken")
                self._system.mv(self._path(part), self._path(upload.key))
            finally:
                with suppress(FileNotFoundError):
                    self._system.rm_file(self._path(part))
        head = self.head(upload.key)
        if head is None or head.size != upload.size:
            raise CopyError(f"{url} isn't there as it was written: check that store, then run again")
        return head

    def delete(self, key: str, *, etag: str = "") -> None:
        """Remove a key; see `Store.delete`."""
        now = self.head(key)
        if now is None:
            return
        if etag and now.etag != etag:
            raise FileExistsError(f"{self.root}/{key} was written anew: it was left there")
        with general_errors(f"{self.root}/{key}", "remove"), suppress(FileNotFoundError):
            self._system.rm_file(self._path(key))

    def unfinished(self, prefix: str) -> Iterator[tuple[str, str]]:  # noqa: ARG002
        """Yield nothing: unfinished copies are keys of their own here, see `has_parts`."""
        return iter(())

    def abort(self, key: str, upload_id: str) -> None:
        """Do nothing: there are no uploads in parts."""

    def _path(self, key: str) -> str:
        return f"{self._base}/{key}" if key else self._base or "/"

    def _write(self, part: str, upload: Upload) -> None:
        digest = hashlib.sha256()
        with self._system.open(self._path(part), "wb") as stream:
            while chunk := upload.source.read(_CHUNK):
                digest.update(chunk)
                stream.write(chunk)
        found = digest.hexdigest()
        if found != upload.sha256:
            raise ChangedError(
                f"{upload.origin} changed since it was measured (SHA-256 {found[:12]}..., measured "
                f"{upload.sha256[:12]}...): run again, so that it is measured anew"
            )


def _head(key: str, info: Mapping[str, Any]) -> Head:
    if info.get("type") == "directory":
        return Head(key, 0, 0, "folder")
    mark = "/".join(str(info[name]) for name in _MARKS if info.get(name) is not None)
    moment = next((info[name] for name in _TIMES if info.get(name) is not None), 0)
    return Head(key, int(info.get("size") or 0), version_ns(_seconds(moment), mark), mark)


def _seconds(moment: Any) -> int:
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    if isinstance(moment, datetime):
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return int(float(moment))

"""S3 and what speaks like it, through botocore: requests that a server verifies, conditions, uploads in parts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, ClassVar

from tierflow.errors import ConfigError, TryAgainError
from tierflow.objectstore import s3_parts
from tierflow.objectstore.base import TOKEN, Head, Upload, sha256_at, version_ns
from tierflow.objectstore.connect import missing_extra
from tierflow.objectstore.problems import s3_errors
from tierflow.objectstore.s3_parts import InParts, base64_of, described, require_sha256
from tierflow.objectstore.uploads import token_for
from tierflow.tiers.base import ChangedError, CopyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_TRIES = 5


class S3Store:
    """A bucket. The server checks the SHA-256 of every request; no key is ever overwritten."""

    has_parts: ClassVar[bool] = False

    def __init__(self, root: str, *, client: Any = None) -> None:
        """Open a bucket with the credentials and the endpoint of the AWS_* variables or profiles.

        Args:
            root: URL such as s3://bucket.
            client: S3 client of botocore to use in place of one from the environment.

        Raises:
            ConfigError: when botocore is not installed, or the settings are wrong.
        """
        self.root = root
        self.bucket = root.partition("://")[2]
        self.client = client if client is not None else _client(root)
        # Whether the server honours If-None-Match; None: not known yet. See `_learn_conditions`.
        self._honours: bool | None = None
        self._seen = False
        self._lock = threading.Lock()

    def head(self, key: str) -> Head | None:
        """Look at one key; see `Store.head`."""
        try:
            with s3_errors(f"{self.root}/{key}", "look at"):
                answer = self.client.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
        except FileNotFoundError:
            self._require_bucket()
            return None
        except ConfigError:
            self._ask_why()
            raise
        self._seen = True
        return _head(key, answer)

    def scan(self, prefix: str) -> Iterator[Head]:
        """Yield keys; see `Store.scan`."""
        with s3_errors(f"{self.root}/{prefix}", "list"):
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                for item in page.get("Contents", ()):
                    etag = str(item.get("ETag", ""))
                    moment = version_ns(int(item["LastModified"].timestamp()), etag)
                    yield Head(item["Key"], int(item["Size"]), moment, etag)

    def chunks(self, key: str, *, size: int = 1 << 20) -> Iterator[bytes]:
        """Yield the bytes of a key, going on where a connection broke; see `Store.chunks`."""
        url, at, tries = f"{self.root}/{key}", 0, 0
        etag, total = "", -1
        while at != total:
            try:
                with s3_errors(url, "read"):
                    answer = self.client.get_object(Bucket=self.bucket, Key=key, **_from(at, etag))
                    if total < 0:
                        etag, total = answer["ETag"], int(answer["ContentLength"])
                    with closing(answer["Body"]) as body:
                        while chunk := body.read(size):
                            at += len(chunk)
                            tries = 0
                            yield chunk
                if at < total:
                    raise TryAgainError(f"can't read {url}: it ends after {at:,} of {total:,} bytes; run again")
            except FileExistsError as error:
                raise ChangedError(f"{url} changed while it was read: run again") from error
            except TryAgainError:
                tries += 1
                if total < 0 or tries >= _TRIES:
                    raise

    def read(self, key: str, start: int, length: int) -> bytes:
        """Return a range; see `Store.read`."""
        with s3_errors(f"{self.root}/{key}", "read"):
            bounds = f"bytes={start}-{start + length - 1}"
            answer = self.client.get_object(Bucket=self.bucket, Key=key, Range=bounds)
            with closing(answer["Body"]) as body:
                data: bytes = body.read()
        return data

    def put(self, upload: Upload) -> Head:
        """Write a key; see `Store.put`. Verified by the server on arrival and by what it says afterwards."""
        if upload.size <= s3_parts.PART_BYTES:
            return self._put_whole(upload)
        return InParts(self, upload).run()

    def delete(self, key: str, *, etag: str = "") -> None:
        """Remove a key; see `Store.delete`."""
        url = f"{self.root}/{key}"
        if etag:
            now = self.head(key)
            if now is None:
                return
            if now.etag != etag:
                raise FileExistsError(f"{url} was written anew: it was left there")
        with suppress(FileNotFoundError):
            try:
                with s3_errors(url, "remove"):
                    condition = {"IfMatch": etag} if etag else {}
                    self.client.delete_object(Bucket=self.bucket, Key=key, **condition)
            except ConfigError as error:
                if not etag or _code(error) != "NotImplemented":
                    raise
                with s3_errors(url, "remove"):
                    self.client.delete_object(Bucket=self.bucket, Key=key)

    def unfinished(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield unfinished uploads; see `Store.unfinished`."""
        with s3_errors(f"{self.root}/{prefix}", "list"):
            pages = self.client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self.bucket, Prefix=prefix):
                for item in page.get("Uploads", ()):
                    yield item["Key"], item["UploadId"]

    def abort(self, key: str, upload_id: str) -> None:
        """Forget an unfinished upload; see `Store.abort`."""
        with suppress(FileNotFoundError), s3_errors(f"{self.root}/{key}", "write"):
            self.client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)

    def _require_bucket(self) -> None:
        """Make sure that the bucket is there: a HEAD can't tell a missing one from a missing key."""
        if self._seen:
            return
        try:
            self._ask_why()
        except ConfigError as error:
            # Credentials for keys alone may not list the bucket; the key was answered for.
            if _code(error) != "AccessDenied":
                raise
        self._seen = True

    def _ask_why(self) -> None:
        """Raise the store's own reason for refusing: answers to HEAD have no body, so that they can't tell it."""
        try:
            with s3_errors(self.root, "open"):
                self.client.list_objects_v2(Bucket=self.bucket, MaxKeys=1)
        except (CopyError, FileNotFoundError) as error:
            raise ConfigError(f"{error}: check the URL and AWS_ENDPOINT_URL") from error

    def _put_whole(self, upload: Upload) -> Head:
        data = upload.source.read(s3_parts.PART_BYTES + 1)
        require_sha256(upload, hashlib.sha256(data).hexdigest())
        token = token_for(upload.ledger, upload.object_id, upload.sha256)
        self.create(
            upload,
            token,
            lambda **condition: self.client.put_object(
                Bucket=self.bucket,
                Key=upload.key,
                Body=data,
                ChecksumSHA256=base64_of(bytes.fromhex(upload.sha256)),
                **described(upload, token),
                **condition,
            ),
        )
        head = self.verified(upload, token)
        if self._honours is None:
            head = self._learn_conditions(upload, data, token, head)
        return head

    def _learn_conditions(self, upload: Upload, data: bytes, token: str, head: Head) -> Head:
        """Find out, on a key that is our own, whether a condition is honoured: some servers pass it over silently."""
        with self._lock:
            if self._honours is not None:
                return head
            url = f"{self.root}/{upload.key}"
            try:
                with s3_errors(url, "write"):
                    self.client.put_object(
                        Bucket=self.bucket,
                        Key=upload.key,
                        Body=data,
                        ChecksumSHA256=base64_of(bytes.fromhex(upload.sha256)),
                        **described(upload, token),
                        IfNoneMatch="*",
                    )
                self._honours = False
                return self.verified(upload, token)
            except FileExistsError:
                self._honours = True
            except ConfigError as error:
                if _code(error) != "NotImplemented":
                    raise
                self._honours = False
            return head

    def create(self, upload: Upload, token: str, call: Callable[..., Any]) -> None:
        """Make a request that creates a key, never one that overwrites."""
        url = f"{self.root}/{upload.key}"
        if self._honours is not True and self.head(upload.key) is not None and not self.is_mine(upload, token):
            raise FileExistsError(f"{url} is taken")
        try:
            with s3_errors(url, "write"):
                call(**({} if self._honours is False else {"IfNoneMatch": "*"}))
        except FileExistsError:
            # A request that was repeated because its answer got lost meets its own work.
            if not self.is_mine(upload, token):
                raise
        except ConfigError as error:
            if self._honours is False or _code(error) != "NotImplemented":
                raise
            with s3_errors(url, "write"):
                call()
            self._honours = False
        except TryAgainError:
            # The answer may have been lost although the work was done.
            if not self.is_mine(upload, token):
                raise

    def is_mine(self, upload: Upload, token: str) -> bool:
        """Tell whether a key holds what this very upload wrote."""
        head = self.head(upload.key)
        return head is not None and hmac.compare_digest(head.notes.get(TOKEN, ""), token)

    def verified(self, upload: Upload, token: str, *, composite: str | None = None) -> Head:
        """Return what the server says of a key that was just written, once that is proven to be right.

        Args:
            upload: What was written.
            token: Mark of this very upload.
            composite: Expected checksum over the parts.

        Raises:
            CopyError: when it isn't; the key is removed again.
        """
        url = f"{self.root}/{upload.key}"
        head = self.head(upload.key)
        if head is None:
            raise CopyError(f"{url} isn't there although the store took it: check the store, then run again")
        if head.notes.get(TOKEN) != token:
            raise FileExistsError(f"{url} was overwritten by someone else")
        if head.sha256 is not None:
            right = head.sha256 == upload.sha256
        elif composite is not None and head.composite is not None:
            right = head.composite == composite
        else:
            right = sha256_at(self, upload.key) == upload.sha256
        if right and head.size == upload.size:
            return head
        self.delete(upload.key, etag=head.etag)
        raise CopyError(f"{url} doesn't hold the bytes that were sent: check the store, then run again")


def _client(root: str) -> Any:
    try:
        from botocore.config import Config
        from botocore.session import get_session
    except ImportError as error:
        raise ConfigError(missing_extra(root)) from error
    settings = Config(
        retries={"mode": "standard", "max_attempts": int(os.environ.get("AWS_MAX_ATTEMPTS", _TRIES))},
        max_pool_connections=32,
        connect_timeout=10,
        read_timeout=60,
        # Contents are compared with their SHA-256 by us, which says more than the CRC of a part.
        response_checksum_validation="when_required",
        user_agent_extra="tierflow",
    )
    with s3_errors(root, "open"):
        try:
            return get_session().create_client("s3", config=settings)
        except ValueError as error:
            raise ConfigError(f"can't open {root}: {error}; check the AWS_* variables") from error


def _head(key: str, answer: Mapping[str, Any]) -> Head:
    told = answer.get("ChecksumSHA256")
    is_whole = told is not None and "-" not in told
    return Head(
        key=key,
        size=int(answer["ContentLength"]),
        mtime_ns=version_ns(int(answer["LastModified"].timestamp()), str(answer.get("ETag", ""))),
        etag=str(answer.get("ETag", "")),
        sha256=base64.b64decode(told).hex() if told is not None and is_whole else None,
        composite=told if told is not None and not is_whole else None,
        notes=answer.get("Metadata", {}),
    )


def _from(at: int, etag: str) -> dict[str, str]:
    return ({"Range": f"bytes={at}-"} if at else {}) | ({"IfMatch": etag} if etag else {})


def _response(error: Exception) -> Mapping[str, Any]:
    return getattr(error.__cause__, "response", None) or {}


def _code(error: Exception) -> str:
    return str(_response(error).get("Error", {}).get("Code", ""))

"""Uploads in parts, which a later process goes on with, and what every upload tells S3 besides its bytes."""

from __future__ import annotations

import base64
import hashlib
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tierflow.errors import TryAgainError
from tierflow.objectstore.base import TOKEN
from tierflow.objectstore.connect import connect
from tierflow.objectstore.problems import s3_errors
from tierflow.objectstore.uploads import Note, read_note, remove_note, token_for, write_note
from tierflow.tiers.base import ChangedError, CopyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierflow.objectstore.base import Head, Upload
    from tierflow.objectstore.s3 import S3Store

PART_BYTES = 16 << 20
"""Objects up to this size go in one request; larger ones in parts of it."""
_MOST_PARTS = 10_000
_SHA256, _OBJECT = "tierflow-sha256", "tierflow-object-id"


class InParts:
    """One large object, sent in parts; goes on where a killed process stopped."""

    def __init__(self, store: S3Store, upload: Upload) -> None:
        self._store, self._upload = store, upload
        self._client, self._bucket = store.client, store.bucket
        self._url = f"{store.root}/{upload.key}"

    def run(self) -> Head:
        """Send what isn't there yet and complete it; see `Store.put`."""
        upload, ledger = self._upload, self._upload.ledger
        note, parts = self._begun()
        try:
            composite, listed = self._send(note, parts)
            self._complete(note, listed)
            head = self._store.verified(upload, _token_of(note), composite=composite)
        except TryAgainError:
            if ledger is None:
                self._forget(note)
            raise
        except BaseException as error:
            # What a kill leaves is found by its note; everything else that ends an upload ends it for good.
            if isinstance(error, Exception):
                self._forget(note)
            raise
        if ledger is not None:
            remove_note(ledger, upload.object_id)
        return head

    def _begun(self) -> tuple[Note, dict[int, Mapping[str, Any]]]:
        """Return the upload to go on with and the parts that it has; a new one where there is none."""
        upload, ledger = self._upload, self._upload.ledger
        old = None if ledger is None else read_note(ledger, upload.object_id)
        if old is not None:
            if self._fits(old):
                with suppress(FileNotFoundError):
                    return old, self._listed(old)
            else:
                connect(old.root).abort(old.key, old.upload_id)
        token = token_for(upload.ledger, upload.object_id, upload.sha256)
        with s3_errors(self._url, "write"):
            answer = self._client.create_multipart_upload(
                Bucket=self._bucket, Key=upload.key, ChecksumAlgorithm="SHA256", **described(upload, token)
            )
        note = Note(
            object_id=upload.object_id,
            root=self._store.root,
            key=upload.key,
            upload_id=answer["UploadId"],
            part_size=part_bytes(upload.size),
            sha256=upload.sha256,
            labels=f"{token} {_digest_of(upload)}",
        )
        if ledger is not None:
            write_note(ledger, note)
        return note, {}

    def _fits(self, old: Note) -> bool:
        upload = self._upload
        same = (old.root, old.key, old.sha256) == (self._store.root, upload.key, upload.sha256)
        return same and old.part_size == part_bytes(upload.size) and old.labels.endswith(f" {_digest_of(upload)}")

    def _listed(self, note: Note) -> dict[int, Mapping[str, Any]]:
        with s3_errors(self._url, "read"):
            pages = self._client.get_paginator("list_parts").paginate(
                Bucket=self._bucket, Key=note.key, UploadId=note.upload_id
            )
            return {part["PartNumber"]: part for page in pages for part in page.get("Parts", ())}

    def _send(self, note: Note, have: Mapping[int, Mapping[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
        """Send the parts that aren't there; return the checksum over all and what completing needs."""
        whole, digests, listed = hashlib.sha256(), hashlib.sha256(), []
        number = 0
        while data := self._upload.source.read(note.part_size):
            number += 1
            whole.update(data)
            digest = hashlib.sha256(data).digest()
            digests.update(digest)
            text = base64_of(digest)
            there = have.get(number, {})
            if there.get("ChecksumSHA256") == text and there.get("Size") == len(data):
                etag = there["ETag"]
            else:
                etag = self._send_one(note, number, data, text)
            listed.append({"PartNumber": number, "ETag": etag, "ChecksumSHA256": text})
        require_sha256(self._upload, whole.hexdigest())
        return f"{base64_of(digests.digest())}-{number}", listed

    def _send_one(self, note: Note, number: int, data: bytes, sha256: str) -> str:
        try:
            with s3_errors(self._url, "write"):
                answer = self._client.upload_part(
                    Bucket=self._bucket,
                    Key=note.key,
                    UploadId=note.upload_id,
                    PartNumber=number,
                    Body=data,
                    ChecksumSHA256=sha256,
                )
        except FileNotFoundError as error:
            raise CopyError(f"the upload of {self._url} was aborted by someone else: run again") from error
        return str(answer["ETag"])

    def _complete(self, note: Note, listed: list[dict[str, Any]]) -> None:
        store, upload = self._store, self._upload

        def call(**condition: str) -> None:
            self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=note.key,
                UploadId=note.upload_id,
                MultipartUpload={"Parts": listed},
                **condition,
            )

        try:
            store.create(upload, _token_of(note), call)
        except FileNotFoundError as error:
            # A twin completed the very same upload, or the answer to our own first request got lost.
            if not store.is_mine(upload, _token_of(note)):
                raise CopyError(f"the upload of {self._url} was aborted by someone else: run again") from error

    def _forget(self, note: Note) -> None:
        with suppress(TryAgainError):
            self._store.abort(note.key, note.upload_id)
            if self._upload.ledger is not None:
                remove_note(self._upload.ledger, note.object_id)


def part_bytes(size: int) -> int:
    """Return the size of the parts of an object: always the same for one size, and never more than 10,000 parts."""
    return max(PART_BYTES, -(-size // _MOST_PARTS))


def described(upload: Upload, token: str) -> dict[str, Any]:
    """Return the arguments that tell a key something besides its bytes: notes, storage class and tags."""
    labels = upload.labels
    told: dict[str, Any] = {"Metadata": {TOKEN: token, _SHA256: upload.sha256, _OBJECT: upload.object_id}}
    if labels.storage_class:
        told["StorageClass"] = labels.storage_class
    if labels.tags:
        told["Tagging"] = urlencode(labels.tags)
    return told


def _digest_of(upload: Upload) -> str:
    told = json.dumps([upload.labels.storage_class, sorted(upload.labels.tags.items())])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _token_of(note: Note) -> str:
    return note.labels.partition(" ")[0]


def require_sha256(upload: Upload, found: str) -> None:
    """Make sure that the bytes which were read are those that were measured.

    Raises:
        ChangedError: when they aren't.
    """
    if found != upload.sha256:
        raise ChangedError(
            f"{upload.origin} changed since it was measured (SHA-256 {found[:12]}..., measured "
            f"{upload.sha256[:12]}...): run again, so that it is measured anew"
        )


def base64_of(data: bytes) -> str:
    """Return bytes as S3 writes checksums."""
    return base64.b64encode(data).decode()

"""Notes on uploads in parts that were begun, so that a later process goes on with them or takes them back."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tierflow.errors import ConfigError
from tierflow.io.atomic import fsync_dir, write_bytes
from tierflow.objectstore.connect import connect

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

FOLDER = Path("journal", "uploads")
OWNERS: dict[Path, str] = {}
"""Who an output is, by its folder, where that folder doesn't outlive the process; others keep a secret in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One upload of ours that was begun.

    Attributes:
        object_id: The object.
        root: Store.
        key: Key it will have.
        upload_id: The store's name of the upload.
        part_size: Bytes of each part but the last.
        sha256: SHA-256 of all bytes in hex digits.
        labels: Digest of what the store was told of the object when the upload was begun.
    """

    object_id: str
    root: str
    key: str
    upload_id: str
    part_size: int
    sha256: str
    labels: str = ""

    @property
    def url(self) -> str:
        """Where it will be."""
        return f"{self.root}/{self.key}"


def note_path(ledger: Path, object_id: str) -> Path:
    """Return the file of an object's note."""
    return ledger / f"{object_id}.json"


def write_note(ledger: Path, note: Note) -> None:
    """Write a note durably, before the first part is sent."""
    ledger.mkdir(parents=True, exist_ok=True)
    write_bytes(note_path(ledger, note.object_id), json.dumps(asdict(note)).encode())


def read_note(ledger: Path, object_id: str) -> Note | None:
    """Return an object's note; None where there is none or it can't be read."""
    return _read(note_path(ledger, object_id))


def remove_note(ledger: Path, object_id: str) -> None:
    """Remove an object's note."""
    note_path(ledger, object_id).unlink(missing_ok=True)


def token_for(ledger: Path | None, object_id: str, sha256: str) -> str:
    """Return the mark of what one run writes for one object with these bytes: the same whenever it does so.

    By it a run knows its own work again, also where the answer of the store got lost or came after a kill. A run of
    another output folder has another mark for the same object.

    Args:
        ledger: Folder that keeps the run's own secret; None: the mark is never found again.
        object_id: The object.
        sha256: SHA-256 of the bytes.
    """
    owner = uuid.uuid4().hex if ledger is None else OWNERS.get(ledger.parents[1]) or _owner(ledger)
    return hashlib.sha256(f"{owner}/{object_id}/{sha256}".encode()).hexdigest()[:32]


@lru_cache(maxsize=8)
def _owner(ledger: Path) -> str:
    path = ledger / "owner"
    ledger.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        try:
            if owner := path.read_text("ascii").strip():
                return owner
        except FileNotFoundError:
            pass
        fresh = path.with_name(f".owner.{uuid.uuid4().hex}.part")
        write_bytes(fresh, uuid.uuid4().hex.encode())
        # Shards that begin at the same moment must agree, so that the first one's stays.
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        except OSError:
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
        fsync_dir(ledger)
    return path.read_text("ascii").strip()


def notes(output: Path) -> Iterator[Note]:
    """Yield all notes of a run."""
    for path in sorted((output / FOLDER).glob("*.json")):
        note = _read(path)
        if note is not None:
            yield note


def drop_uploads(output: Path, object_ids: Collection[str]) -> int:
    """Abort unfinished uploads of these objects, of which none goes on, and remove their notes.

    Args:
        output: Output folder.
        object_ids: The objects.

    Returns:
        How many there were.

    Raises:
        TryAgainError: when the store is away.
    """
    ledger = output / FOLDER
    if not ledger.is_dir():
        return 0
    count = 0
    for object_id in object_ids:
        note = read_note(ledger, object_id)
        if note is None:
            continue
        connect(note.root).abort(note.key, note.upload_id)
        remove_note(ledger, object_id)
        count += 1
    return count


def _read(path: Path) -> Note | None:
    try:
        return Note(**json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError, ConfigError):
        return None

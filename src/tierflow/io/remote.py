"""Reading an input that lies on an object store: the I/O half of reading an object, as `readers.load` is for files."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tierflow.errors import ConfigError, EmptyFileError, MissingFileError, ObjectError, TryAgainError
from tierflow.io.readers.load import HOLD_MB, MB, Loaded
from tierflow.objectstore.connect import StorePath, place_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tierflow.objectstore.connect import Place

TRIES = 4
"""How often an object is read from its beginning before the store counts as away."""
PAUSE_S = 0.5
"""Seconds before the second try; twice as long before each further one."""
STORE_READERS = 4
"""Objects read at once: most of the time of a small one is waiting for the store's first byte."""
_CHUNK = 8 * MB


def input_root(text: str) -> Place:
    """Return the input root that a configuration or a table names: a folder, absolute, or a place on a store.

    Raises:
        ConfigError: when a URL names no bucket.
    """
    root = place_at(text)
    return root if isinstance(root, StorePath) else root.absolute()


def input_text(root: Place) -> str:
    """Return a root as it stands in configuration and tables: without a slash at its end.

    >>> input_text(input_root("s3://bucket/P1/")), input_text(input_root("s3://bucket"))
    ('s3://bucket/P1', 's3://bucket')
    """
    return str(root).rstrip("/") or "/"


def key_below(root: StorePath, relative: str) -> StorePath:
    """Return the place of an object by its path relative to the root."""
    return StorePath(root.root, f"{root.key}/{relative}" if root.key else relative)


def load_remote(place: StorePath, *, hold_mb: int = HOLD_MB, expected: int | None = None, scratch: Path) -> Loaded:
    """Read an object once, from its first to its last byte, and hash it; a cut connection begins it anew.

    Args:
        place: The object.
        hold_mb: Objects above this size, in MB, aren't held in memory but written to a file in `scratch`, which the
            caller removes when it has measured them (`discard`).
        expected: Its size at the time of the scan, in bytes; where another number of bytes comes, the store is asked
            whether there is a new version or the body was cut off.
        scratch: Folder for large objects.

    Raises:
        EmptyFileError: if it has no bytes.
        MissingFileError: if it isn't there.
        ConfigError: if credentials or bucket are wrong.
        TryAgainError: if the store is away, or goes on cutting the connection.
    """
    for attempt in range(TRIES):
        try:
            return _read_once(place, hold_mb=hold_mb, expected=expected, scratch=scratch)
        except TryAgainError:
            if attempt == TRIES - 1:
                raise
            time.sleep(PAUSE_S * 2**attempt)
        except FileNotFoundError as error:
            raise _missing(place) from error
    raise AssertionError


def discard(source: Loaded | ObjectError, scratch: Path) -> None:
    """Remove the file of a large object, if `load_remote` made one for it."""
    if not isinstance(source, ObjectError) and source.data is None and source.path.parent == scratch:
        source.path.unlink(missing_ok=True)


def _missing(place: StorePath) -> MissingFileError:
    return MissingFileError(f"{place} isn't there any more: it was moved or deleted after the scan; scan again")


def _read_once(place: StorePath, *, hold_mb: int, expected: int | None, scratch: Path) -> Loaded:
    digest, size = hashlib.sha256(), 0
    held: list[bytes] | None = []
    # The name is what messages and readers see; the number keeps equal names of different folders apart.
    name = scratch / f"{hashlib.sha256(str(place).encode()).hexdigest()[:16]}-{place.name[-100:]}"
    try:
        for chunk in _chunks(place, expected):
            digest.update(chunk)
            size += len(chunk)
            if held is not None:
                held.append(chunk)
                if size <= hold_mb * MB:
                    continue
                chunk, held = b"".join(held), None
                name.unlink(missing_ok=True)
            with name.open("ab") as stream:
                stream.write(chunk)
        if size == 0:
            raise EmptyFileError("the file has no bytes: copy it again from the instrument, or delete it")
    except BaseException:
        name.unlink(missing_ok=True)
        raise
    return Loaded(name if held is None else Path(place.name), size, digest.hexdigest(), _joined(held))


def _joined(held: list[bytes] | None) -> bytes | None:
    if held is None:
        return None
    return held[0] if len(held) == 1 else b"".join(held)


def _chunks(place: StorePath, expected: int | None) -> Iterator[bytes]:
    """Yield an object's bytes; fewer or more than there should be are an error, never taken for the whole."""
    size = 0
    for chunk in place.store.chunks(place.key, size=_CHUNK):
        size += len(chunk)
        yield chunk
    if size == expected:
        return
    head = place.store.head(place.key)
    if head is None:
        raise _missing(place)
    if head.size != size:
        raise TryAgainError(
            f"{place}: {size:,} bytes came, the store says {head.size:,}: the connection was cut or the object is "
            "being written; run again"
        )


def require_root(root: StorePath) -> None:
    """Make sure that a store answers and its bucket is there, before one object after another counts as missing.

    Raises:
        ConfigError: if credentials or bucket are wrong.
        TryAgainError: if the store is away.
    """
    try:
        next(iter(root.store.scan(root.key)), None)
    except FileNotFoundError as error:
        raise ConfigError(f"{root}: there is no such bucket: check its name and the address of the store") from error

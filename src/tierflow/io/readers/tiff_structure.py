"""The chain of directories (IFDs) of a TIFF, walked with distrust before a decoder sees it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from tierflow.errors import ObjectError, TruncatedError, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PAGES = 100_000
# A plane of 1 GB in tiles of 16 x 16 bytes has this many; each becomes a Python integer.
MAX_SEGMENTS = 4_000_000
_MAX_TAGS = 4096

# Without these a page can't be decoded; values of other tags may lie anywhere without harm.
_NEEDED = frozenset({256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 339, 347})
_SEGMENT_TAGS = frozenset({273, 279, 324, 325})
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
COPY_AGAIN = "it was probably cut off while being written or copied; copy it again from the instrument"


@dataclass(frozen=True, slots=True)
class Chain:
    """The directories of a TIFF.

    Attributes:
        offsets: Position of each whole directory, in the order of the pages.
        broken: Why the chain ends before its end, or None.
    """

    offsets: list[int]
    broken: ObjectError | None


@dataclass(frozen=True, slots=True)
class _Format:
    count: struct.Struct
    entry: struct.Struct
    pointer: struct.Struct
    inline_bytes: int
    first_at: int


def walk(handle: IO[bytes], size: int) -> Chain:
    """Follow the chain of directories.

    Args:
        handle: The file, starting with a TIFF header.
        size: Its bytes.

    Returns:
        All whole directories; a file that was cut off keeps those before the cut.

    Raises:
        TruncatedError: if not even the first directory is whole.
        UnreadableError: if the chain runs in a circle or has more than `MAX_PAGES` pages.
    """
    fmt = _format_of(handle)
    offsets: list[int] = []
    seen: set[int] = set()
    try:
        at = _pointer(handle, fmt, fmt.first_at, size)
        if at == 0:
            raise TruncatedError("the file has a header but no page: writing it never ended; copy it again")
        while at:
            if at in seen:
                raise _CircleError(f"page {len(offsets)} leads back to an earlier page: damaged, copy it again")
            if len(offsets) == MAX_PAGES:
                raise _CircleError(f"more than {MAX_PAGES:,} pages: damaged, or to be split into several files")
            following = _directory(handle, fmt, at, size, len(offsets))
            seen.add(at)
            offsets.append(at)
            at = following
    except _CircleError as error:
        raise UnreadableError(str(error)) from error
    except ObjectError as error:
        if not offsets:
            raise
        return Chain(offsets, error)
    return Chain(offsets, None)


class _CircleError(Exception):
    """No page of a chain without end is to be trusted."""


def _format_of(handle: IO[bytes]) -> _Format:
    handle.seek(0)
    head = handle.read(8)
    order = "<" if head[:2] == b"II" else ">"
    if head[2:4] in (b"+\x00", b"\x00+"):
        if head[4:8] != struct.pack(f"{order}HH", 8, 0):
            raise UnreadableError("the BigTIFF header is damaged: copy the file again from the instrument")
        pointer = struct.Struct(f"{order}Q")
        return _Format(pointer, struct.Struct(f"{order}HHQ8s"), pointer, 8, 8)
    return _Format(struct.Struct(f"{order}H"), struct.Struct(f"{order}HHL4s"), struct.Struct(f"{order}L"), 4, 4)


def _pointer(handle: IO[bytes], fmt: _Format, at: int, size: int) -> int:
    return int(fmt.pointer.unpack(_read(handle, at, fmt.pointer.size, size, "the header"))[0])


def _read(handle: IO[bytes], at: int, count: int, size: int, what: str) -> bytes:
    if at + count > size:
        raise TruncatedError(f"the file ends at byte {size:,}, {what} needs byte {at + count:,}: {COPY_AGAIN}")
    handle.seek(at)
    return handle.read(count)


def _directory(handle: IO[bytes], fmt: _Format, at: int, size: int, page: int) -> int:
    """Check one directory and return the position of the next, 0 after the last."""
    what = f"the directory of page {page}"
    (tags,) = fmt.count.unpack(_read(handle, at, fmt.count.size, size, what))
    if not 0 < tags <= _MAX_TAGS:
        raise UnreadableError(f"{what} has {tags:,} entries, expected 1 to {_MAX_TAGS:,}: damaged, copy it again")
    data = _read(handle, at + fmt.count.size, tags * fmt.entry.size + fmt.pointer.size, size, what)
    for tag, start, count, length in _values(fmt, data[: tags * fmt.entry.size]):
        if start + length > size:
            raise TruncatedError(
                f"the file ends at byte {size:,}, tag {tag} of page {page} needs byte {start + length:,}: {COPY_AGAIN}"
            )
        if tag in _SEGMENT_TAGS and count > MAX_SEGMENTS:
            raise UnreadableError(
                f"page {page} has {count:,} strips or tiles, expected at most {MAX_SEGMENTS:,}: damaged"
            )
    return int(fmt.pointer.unpack_from(data, tags * fmt.entry.size)[0])


def _values(fmt: _Format, entries: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield (tag, position, count, bytes) of each needed value that lies outside its entry."""
    for tag, kind, count, raw in fmt.entry.iter_unpack(entries):
        length = count * _TYPE_BYTES.get(kind, 0)
        if tag in _NEEDED and length > fmt.inline_bytes:
            yield tag, fmt.pointer.unpack(raw)[0], count, length

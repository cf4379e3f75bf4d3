"""Is a file that is being written readable to its end? A cheap look: directories and offsets, never a pixel.

A file that is damaged in a way that no further byte mends is not held up here: measuring it gives the reason.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np

from tierflow.io.readers.sniff import HEAD_BYTES, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_MAX_PAGES = 100_000
_MAX_TAGS = 4096
_MAX_SEGMENTS = 4_000_000
_JPEG_SEARCH_BYTES = 64 * 2**20
_DESCRIPTION, _SUB_IFDS, _UIC2 = 270, 330, 33629
_STRIPS, _TILES = (273, 279), (324, 325)
_WANTED = frozenset({_DESCRIPTION, _SUB_IFDS, _UIC2, *_STRIPS, *_TILES})
_TYPES = {1: "u1", 2: "u1", 3: "u2", 4: "u4", 5: "u8", 7: "u1", 13: "u4", 16: "u8", 18: "u8"}
_IMAGEJ = re.compile(rb"ImageJ=.*?^images=([0-9]{1,9})\s*$", re.DOTALL | re.MULTILINE)


def missing_end(handle: IO[bytes]) -> str | None:
    """Say in words what a file lacks at its end, None when it is whole as far as a cheap look tells.

    TIFF and BigTIFF: every directory, and the last byte of every strip or tile, lies inside the file. PNG: the chunk
    IEND. JPEG: the end marker. BMP: the size of its header. Files that begin with zeros have been given their length
    before their content. Other files: nothing is known, nothing lacks.

    Args:
        handle: The file, opened for reading, without need of a buffer.

    Raises:
        OSError: as reading does.
    """
    size = os.fstat(handle.fileno()).st_size
    head = handle.read(HEAD_BYTES)
    if not head.strip(b"\0"):
        return f"its first {len(head)} bytes are zeros: its content isn't written yet"
    kind = kind_of(head)
    if kind == "tiff":
        return _tiff(handle, head, size)
    if kind == "png":
        return _png(handle, size)
    if kind == "jpeg":
        return _jpeg(handle, size)
    if kind == "bmp":
        (said,) = struct.unpack_from("<L", head, 2)
        return f"it has {size:,} of {said:,} bytes" if said > size else None
    # Half a signature is the beginning of any of these.
    return "its header isn't whole yet" if size < 8 else None


class _Unfinished(Exception):  # noqa: N818 - no error: the file isn't whole yet
    """A part that lies behind the end of the file, in words."""


class _Damaged(Exception):  # noqa: N818 - caught here alone
    """Numbers that no further byte mends."""


@dataclass(frozen=True, slots=True)
class _Form:
    order: str
    count: struct.Struct
    entry: struct.Struct
    pointer: struct.Struct
    inline: int


def _form_of(head: bytes) -> _Form:
    order = "<" if head[:2] == b"II" else ">"
    if 43 in head[2:4]:
        return _Form(order, struct.Struct(order + "Q"), struct.Struct(order + "HHQ8s"), struct.Struct(order + "Q"), 8)
    return _Form(order, struct.Struct(order + "H"), struct.Struct(order + "HHL4s"), struct.Struct(order + "L"), 4)


def _tiff(handle: IO[bytes], head: bytes, size: int) -> str | None:
    try:
        _Tiff(handle, _form_of(head), size).walk(head)
    except _Unfinished as missing:
        return str(missing)
    except _Damaged:
        return None
    return None


class _Tiff:
    """One walk over the directories of a file."""

    def __init__(self, handle: IO[bytes], form: _Form, size: int) -> None:
        self.handle, self.form, self.size = handle, form, size

    def walk(self, head: bytes) -> None:
        """Visit all directories; raises `_Unfinished` or `_Damaged`."""
        start = 8 if self.form.inline == 8 else 4
        if len(head) < start + self.form.pointer.size:
            raise _Unfinished("its header isn't whole yet")
        (first,) = self.form.pointer.unpack_from(head, start)
        if first == 0:
            raise _Unfinished("it has a TIFF header but no page yet")
        seen: set[int] = set()
        at: int = first
        while at:
            if at in seen or len(seen) >= _MAX_PAGES:
                raise _Damaged
            seen.add(at)
            at, subs = self._page(at, f"page {len(seen) - 1}", alone=len(seen) == 1)
            for number, sub in enumerate(subs):
                if sub not in seen:
                    seen.add(sub)
                    self._page(sub, f"reduced image {number} of page {len(seen) - 1}", alone=False)

    def _read(self, at: int, count: int, what: str) -> bytes:
        if at + count > self.size:
            raise _Unfinished(f"{what} ends at byte {at + count:,}, the file at byte {self.size:,}")
        self.handle.seek(at)
        data = self.handle.read(count)
        if len(data) < count:
            raise _Unfinished(f"{what} was cut off while it was read")
        return data

    def _page(self, at: int, page: str, *, alone: bool) -> tuple[int, list[int]]:
        """Check one directory and what it points at; returns the next directory and those below."""
        form, what = self.form, f"the directory of {page}"
        # Entries follow at once: one read gets a directory of usual size.
        room = min(1024, self.size - at)
        data = self._read(at, max(room, form.count.size), what)
        (tags,) = form.count.unpack_from(data)
        if tags == 0:
            raise _Unfinished(f"{what} isn't written yet")
        if tags > _MAX_TAGS:
            raise _Damaged
        length = form.count.size + tags * form.entry.size + form.pointer.size
        if len(data) < length:
            data = self._read(at, length, what)
        (following,) = form.pointer.unpack_from(data, length - form.pointer.size)
        body = memoryview(data)[form.count.size : length - form.pointer.size]
        found = {tag: (kind, count, raw) for tag, kind, count, raw in form.entry.iter_unpack(body) if tag in _WANTED}
        self._segments(found, page, following=following, alone=alone)
        subs = self._numbers(found.get(_SUB_IFDS), f"the list of reduced images of {page}")
        return following, [] if subs is None else [int(sub) for sub in subs if sub]

    def _segments(self, found: dict[int, tuple[int, int, bytes]], page: str, *, following: int, alone: bool) -> None:
        for name, (offset_tag, count_tag) in (("strip", _STRIPS), ("tile", _TILES)):
            offsets = self._numbers(found.get(offset_tag), f"the list of {name}s of {page}")
            counts = self._numbers(found.get(count_tag), f"the lengths of the {name}s of {page}")
            if offsets is None or counts is None or len(offsets) != len(counts) or not len(offsets):
                continue
            ends = offsets + counts
            last = int(ends.argmax())
            end = int(ends[last])
            if name == "strip" and alone and following == 0 and (planes := self._stacked(found)) > 1:
                end += (planes - 1) * (int(ends.max()) - int(offsets.min()))
            if end > self.size:
                raise _Unfinished(
                    f"{name} {last} of {page} ends at byte {end:,}, the file at byte {self.size:,}: it is half written"
                )

    def _stacked(self, found: dict[int, tuple[int, int, bytes]]) -> int:
        """Return the planes that lie behind one directory: ImageJ's big stacks and MetaMorph's."""
        if _UIC2 in found:
            return min(found[_UIC2][1], _MAX_PAGES)
        if _DESCRIPTION not in found:
            return 1
        kind, count, raw = found[_DESCRIPTION]
        if count <= self.form.inline or not raw or kind != 2:
            return 1
        (at,) = self.form.pointer.unpack(raw)
        said = _IMAGEJ.match(self._read(at, min(count, 4096), "the description of page 0"))
        return int(said[1]) if said else 1

    def _numbers(self, entry: tuple[int, int, bytes] | None, what: str) -> NDArray[np.uint64] | None:
        """Return the numbers of a tag."""
        if entry is None:
            return None
        kind, count, raw = entry
        if kind not in _TYPES or count > _MAX_SEGMENTS:
            raise _Damaged
        dtype = np.dtype(self.form.order + _TYPES[kind])
        length = count * dtype.itemsize
        if length > self.form.inline:
            (at,) = self.form.pointer.unpack(raw)
            raw = self._read(at, length, what)
        return np.frombuffer(raw, dtype, count).astype(np.uint64)


def _png(handle: IO[bytes], size: int) -> str | None:
    for kind, end in _chunks(handle, size):
        if kind == b"IEND" and end <= size:
            return None
    return "its PNG end mark (IEND) isn't there yet"


def _chunks(handle: IO[bytes], size: int) -> Iterator[tuple[bytes, int]]:
    """Yield (kind, end) of the chunks of a PNG; its last twelve bytes first, which are IEND nearly always."""
    if size >= 20:
        handle.seek(size - 12)
        tail = handle.read(12)
        if tail[:8] == b"\0\0\0\0IEND":
            yield b"IEND", size
    at = 8
    while at + 8 <= size:
        handle.seek(at)
        length, kind = struct.unpack(">L4s", handle.read(8))
        at += 12 + length
        yield kind, at


def _jpeg(handle: IO[bytes], size: int) -> str | None:
    # An end mark before the pixels is that of a thumbnail.
    start = _jpeg_pixels(handle, size)
    if start is not None:
        handle.seek(max(start, size - 64))
        if handle.read(64).rstrip(b"\0\r\n ").endswith(b"\xff\xd9"):
            return None
        # Some cameras write data of their own behind the image.
        handle.seek(start)
        if b"\xff\xd9" in handle.read(_JPEG_SEARCH_BYTES):
            return None
    return "its JPEG end mark isn't there yet"


def _jpeg_pixels(handle: IO[bytes], size: int) -> int | None:
    """Return where the pixels begin, or what is no JPEG; None when the file ends before."""
    at = 2
    while at + 4 <= size:
        handle.seek(at)
        mark, kind, length = struct.unpack(">BBH", handle.read(4))
        if mark != 0xFF:
            return at
        if kind == 0xFF:  # a byte of filling
            at += 1
            continue
        at += 2 + int(length)
        if kind == 0xDA:  # start of scan
            return at
    return None

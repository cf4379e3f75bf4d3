"""Headers of PNG, JPEG and JPEG 2000 streams: declared sizes, and whether the end is there.

Read before decoding, because the decoders allocate what the header declares, and libjpeg fills missing data with gray.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierflow.errors import TruncatedError, UnreadableError, UnsupportedError
from tierflow.io.readers.tiff_structure import COPY_AGAIN

if TYPE_CHECKING:
    from collections.abc import Iterator

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Header:
    """What a compressed image declares.

    Attributes:
        height: Rows.
        width: Columns.
        samples: Values per pixel once decoded (3 for a palette).
        bits: Bits per value as stored.
        significant_bits: Bits of the detector where the header names them.
    """

    height: int
    width: int
    samples: int
    bits: int
    significant_bits: int | None = None

    @property
    def item_bytes(self) -> int:
        """Bytes per decoded value."""
        return 1 if self.bits <= 8 else 2 if self.bits <= 16 else 4


def png(data: bytes) -> Header:
    """Read a PNG's header and follow its chunks to the end, checksums included.

    Raises:
        TruncatedError: if a chunk or the end is missing.
        UnreadableError: if there is no header or a checksum is wrong.
    """
    header, significant_bits = None, None
    for name, start, end in _png_chunks(data):
        # libpng would only print a warning to standard error for some chunks.
        if zlib.crc32(memoryview(data)[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise UnreadableError(
                f"the checksum of PNG chunk {name!r} at byte {start:,} is wrong: damaged, copy it again"
            )
        if name == "IHDR" and end - start >= 10:
            header = struct.unpack_from(">LLBB", data, start)
        elif name == "sBIT" and end > start:
            significant_bits = data[start]
    if header is None:
        raise UnreadableError("the PNG has no header: damaged, copy it again from the instrument")
    width, height, bits, colour = header
    samples = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(colour, 4)
    known_bits = significant_bits if significant_bits and significant_bits < bits else None
    return Header(height, width, samples, bits, known_bits)


def png_pixels_only(data: bytes) -> bytes:
    """Return a PNG with nothing but header, palette and pixels.

    Colour profiles, times and texts make libpng print warnings, and transparency isn't measured.
    """
    kept = [data[s - 8 : e + 4] for name, s, e in _png_chunks(data) if name in ("IHDR", "PLTE", "IDAT", "IEND")]
    return b"".join([PNG_MAGIC, *kept])


def _png_chunks(data: bytes) -> Iterator[tuple[str, int, int]]:
    """Yield name, start and end of the body of each chunk up to the end mark."""
    start, name = len(PNG_MAGIC) + 8, ""
    while name != "IEND":
        if start > len(data):
            raise TruncatedError(f"the file ends at byte {len(data):,}, before the PNG's end mark: {COPY_AGAIN}")
        length, raw = struct.unpack_from(">L4s", data, start - 8)
        name, end = raw.decode("latin-1"), start + length
        if end + 4 > len(data):
            raise TruncatedError(
                f"the file ends at byte {len(data):,}, PNG chunk {name!r} needs byte {end + 4:,}: {COPY_AGAIN}"
            )
        yield name, start, end
        start = end + 12


def jpeg(data: bytes, *, whole: bool = True) -> Header:
    """Read a JPEG's frame header.

    Args:
        data: The stream.
        whole: Demand the end mark too; a stream inside a TIFF is known to be whole by its byte count.

    Raises:
        TruncatedError: if the stream ends before its image does.
        UnreadableError: if its segments are damaged.
        UnsupportedError: for hierarchical and arithmetic kinds that aren't decoded.
    """
    at, header = 2, None
    while True:
        marker, at = _jpeg_marker(data, at)
        if marker == 0xDA:
            break
        if at + 2 > len(data):
            raise TruncatedError(f"the JPEG ends at byte {len(data):,}, inside its header: {COPY_AGAIN}")
        length = int.from_bytes(data[at : at + 2], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if marker not in (0xC0, 0xC1, 0xC2, 0xC3):
                raise UnsupportedError(f"a JPEG of rare kind {marker:#x}: save it as PNG or TIFF")
            if at + 8 > len(data):
                raise TruncatedError(f"the JPEG ends at byte {len(data):,}, inside its header: {COPY_AGAIN}")
            bits, height, width, samples = struct.unpack_from(">BHHB", data, at + 2)
            header = Header(height, width, samples, bits, bits if bits not in (8, 16) else None)
        at += max(length, 2)
    if header is None:
        raise UnreadableError("the JPEG has no frame header: damaged, copy it again from the instrument")
    # Compressed data never holds FF D9, so its absence after the scan's start means that the end is missing.
    if whole and data.find(b"\xff\xd9", at) < 0:
        raise TruncatedError(f"the file ends at byte {len(data):,}, before the JPEG's end mark: {COPY_AGAIN}")
    return header


def _jpeg_marker(data: bytes, at: int) -> tuple[int, int]:
    """Return the next marker that has a body, and the position of this body."""
    while True:
        if at + 2 > len(data):
            raise TruncatedError(f"the JPEG ends at byte {len(data):,}, before its image: {COPY_AGAIN}")
        if data[at] != 0xFF:
            raise UnreadableError(f"the JPEG is damaged at byte {at:,}: copy it again from the instrument")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
        elif marker == 0xD9:
            raise UnreadableError("the JPEG ends before any image: damaged, copy it again from the instrument")
        else:
            return marker, at + 2


def jpeg2000(data: bytes) -> Header:
    """Read the SIZ segment of a JPEG 2000 codestream, bare or in a JP2 file.

    Raises:
        UnreadableError: if there is none.
        UnsupportedError: if the components differ in size (subsampled colour).
    """
    start = data.find(b"\xff\x4f\xff\x51")
    if start < 0 or start + 45 > len(data):
        raise UnreadableError("the JPEG 2000 header is missing or cut off: copy the file again from the instrument")
    x1, y1, x0, y0 = struct.unpack_from(">4L", data, start + 8)
    (samples,) = struct.unpack_from(">H", data, start + 40)
    parts = [data[start + 42 + 3 * i : start + 45 + 3 * i] for i in range(samples)]
    if not parts or any(len(part) < 3 for part in parts):
        raise UnreadableError("the JPEG 2000 header is damaged: copy the file again from the instrument")
    if any(part[1:] != b"\x01\x01" for part in parts):
        raise UnsupportedError("a JPEG 2000 image with subsampled colour: save it as PNG or TIFF")
    bits = 1 + max(part[0] & 0x7F for part in parts)
    return Header(max(0, y1 - y0), max(0, x1 - x0), samples, bits, bits if bits not in (8, 16, 32) else None)

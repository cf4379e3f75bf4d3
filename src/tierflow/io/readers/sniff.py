"""Telling what a file is by its first bytes, never by its name."""

from __future__ import annotations

from typing import Literal

Kind = Literal["tiff", "png", "jpeg", "bmp", "jpeg2000"]

HEAD_BYTES = 1024
READABLE = "TIFF (also BigTIFF, OME-TIFF, STK, LSM), PNG, JPEG, JPEG 2000 and BMP"

_IMAGES: tuple[tuple[bytes, Kind], ...] = (
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "jpeg2000"),
    (b"\xff\x4f\xff\x51", "jpeg2000"),
    (b"BM", "bmp"),
)

_BMP_HEADER_BYTES = frozenset(n.to_bytes(4, "little") for n in (12, 16, 40, 52, 56, 64, 108, 124))

_CONVERT = "export it as OME-TIFF from the instrument's software"
_OTHERS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"ZISRAWFILE", f"a Zeiss CZI file: {_CONVERT}"),
    (0, b"\xda\xce\xbe\x0a", f"a Nikon ND2 file: {_CONVERT}"),
    (0, b"\x70\x00\x00\x00", f"a Leica LIF file: {_CONVERT}"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", f"an OLE file such as OIB, ZVI or an old Office document: {_CONVERT}"),
    (0, b"\x89HDF\r\n\x1a\n", f"an HDF5 file (also .ims, .h5): {_CONVERT}"),
    (0, b"PK\x03\x04", "a ZIP archive (also .xlsx, .docx): unpack it, or leave it out with scan.exclude"),
    (0, b"PK\x05\x06", "an empty ZIP archive: leave it out with scan.exclude"),
    (0, b"\x1f\x8b", "gzip-compressed: unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "zstd-compressed: unpack it first"),
    (0, b"BZh", "bzip2-compressed: unpack it first"),
    (0, b"\xfd7zXZ\x00", "xz-compressed: unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (257, b"ustar", "a tar archive: unpack it first"),
    (0, b"%PDF", "a PDF document: leave it out with scan.exclude"),
    (0, b"GIF8", "a GIF image: save it as PNG"),
    (8, b"WEBP", "a WebP image: save it as PNG"),
    (8, b"AVI ", "an AVI video: export its frames as TIFF"),
    (4, b"ftyp", "an MP4, HEIC or AVIF file: export it as TIFF or PNG"),
    (128, b"DICM", f"a DICOM file: {_CONVERT}"),
    (0, b"SIMPLE  =", f"a FITS file: {_CONVERT}"),
    (0, b"\x93NUMPY", "a NumPy array: save it as TIFF"),
    (0, b"PAR1", "a Parquet table: leave it out with scan.exclude"),
    (0, b"SQLite format 3\x00", "an SQLite database: leave it out with scan.exclude"),
    (0, b"II\xbc\x01", "a JPEG XR image: save it as TIFF"),
    (0, b"\x7fELF", "a program: leave it out with scan.exclude"),
    (0, b"MZ", "a Windows program: leave it out with scan.exclude"),
)
_TEXT_BYTES = frozenset(range(32, 127)) | {9, 10, 12, 13}


def kind_of(head: bytes) -> Kind | None:
    """Return the kind of image that starts with `head`, or None when tierflow doesn't read it."""
    kind = next((kind for magic, kind in _IMAGES if head.startswith(magic)), None)
    # Two letters alone would take any text that begins with BM for an image.
    return None if kind == "bmp" and head[14:18] not in _BMP_HEADER_BYTES else kind


def describe(head: bytes) -> str:
    """Say in words what the content of a file looks like that isn't a readable image, and what to do about it.

    Args:
        head: Its first bytes (`HEAD_BYTES` of them, or all).
    """
    for offset, magic, words in _OTHERS:
        if head[offset : offset + len(magic)] == magic:
            return words
    if not head.strip(b"\x00"):
        return "zeros from its start: the content was never written or was lost; copy it again from the instrument"
    text = _text_of(head)
    if text is not None:
        return _describe_text(text)
    start = " ".join(f"{byte:02x}" for byte in head[:8])
    return f"an unknown kind of content (first bytes {start}): convert it, or leave it out with scan.exclude"


def _text_of(head: bytes) -> str | None:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", errors="replace")
    # Cut in the middle of a character, UTF-8 has up to three bytes that don't decode.
    text = head.decode("utf-8", errors="ignore").removeprefix("\ufeff")
    if len(text.encode()) < len(head) - 6 or any(ord(c) < 128 and ord(c) not in _TEXT_BYTES for c in text):
        return None
    return text


def _describe_text(text: str) -> str:
    start = text.lstrip()[:200].lower()
    if "<html" in start or start.startswith("<!doctype html"):
        return "an HTML page: a download probably gave an error page in place of the image; download it again"
    if start.startswith("<"):
        return "XML text: leave it out with scan.exclude"
    if start.startswith("version https://git-lfs"):
        return "a Git LFS pointer, not the image: run `git lfs pull`"
    if start.startswith(("{", "[")):
        return "JSON text, such as zarr metadata: leave it out with scan.exclude"
    first_line = text.strip().partition("\n")[0][:40]
    return f"text ({first_line!r}): leave it out with scan.exclude"

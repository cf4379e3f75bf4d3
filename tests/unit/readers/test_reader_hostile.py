"""Content that is damaged, cut off, huge or no image at all: always an error of the object that says what to do."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile
from reader_samples import samples, scene, tiff

from tierflow.errors import ObjectError, TooLargeError, TruncatedError, UnreadableError, UnsupportedError
from tierflow.io.readers import planes
from tierflow.io.readers.load import Loaded


def read(content, *, max_plane_mb=64):
    return list(planes(Loaded(Path("image.tif"), len(content), "", bytes(content)), max_plane_mb=max_plane_mb))


def failure_of(content, **options):
    with pytest.raises(ObjectError) as caught:
        read(content, **options)
    return caught.value


def directory(*entries, following=0):
    """A little-endian TIFF of one directory; entries are (tag, type, count, value)."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + body + struct.pack("<I", following)


def header(width, height, **changes):
    tags = {256: width, 257: height, 258: 16, 259: 1, 262: 1, 273: 200, 277: 1, 278: height, 279: width * height * 2}
    tags |= {int(k[1:]): v for k, v in changes.items()}
    return directory(*((tag, 4, 1, value % 2**32) for tag, value in tags.items()))


@pytest.mark.parametrize("name", sorted(samples()))
def test_every_cut_is_told(name):
    content = samples()[name][0]
    cuts = np.random.default_rng(1).integers(16, len(content) - 1, 60)
    for cut in cuts:
        error = failure_of(content[:cut])
        # A BMP cut within its header has lost the number that tells it from text.
        assert isinstance(error, TruncatedError) or (name.startswith("bmp") and cut < 64)
        assert "copy" in str(error)


@pytest.mark.parametrize("name", sorted(samples()))
def test_flipped_bytes_never_give_anything_but_an_error_of_the_object(name, capfd):
    content = samples()[name][0]
    rng = np.random.default_rng(2)
    spans = ((0, min(400, len(content))), (max(0, len(content) - 600), len(content)), (0, len(content)))
    for turn in range(45):
        damaged = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(*spans[turn % 3])] = rng.integers(0, 256)
        with suppress(ObjectError):
            assert all(p.pixels.ndim in (2, 3) for p in read(damaged))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["tiff_stack", "tiff_stack_lzw", "ome_tiff", "imagej"])
def test_a_cut_stack_gives_its_whole_planes_first(name):
    content, expected = samples()[name]
    cut = content[: len(content) * 3 // 4]
    source = planes(Loaded(Path("image.tif"), len(cut), "", cut), max_plane_mb=64)
    found = []
    with pytest.raises(TruncatedError):
        found.extend(source)
    assert 0 < len(found) < len(expected)
    assert all(np.array_equal(p.pixels, e) for p, e in zip(found, expected, strict=False))


def test_message_of_a_cut_strip():
    content = tiff(scene(), rowsperstrip=16)
    message = str(failure_of(content[:10_000]))
    assert message.startswith("the file ends at byte 10,000, strip 2 needs byte ")
    assert "cut off while being written or copied; copy it again from the instrument" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"sample,well\n1,A01\n", "text ('sample,well'): leave it out with scan.exclude"),
        ("Größe der Zellen\n".encode(), "text ('Größe der Zellen')"),
        ("Größe".encode("utf-16"), "text"),
        (b"<?xml version='1.0'?><OME/>", "XML text"),
        (b"<!DOCTYPE html><html><body>404 Not Found", "an HTML page: a download probably"),
        (b'{"zarr_format": 3}', "JSON text, such as zarr metadata"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"PK\x03\x04" + b"\x00" * 40, "a ZIP archive"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF document"),
        (b"\x89HDF\r\n\x1a\n" + b"\x00" * 40, "an HDF5 file"),
        (b"ZISRAWFILE" + b"\x00" * 40, "a Zeiss CZI file: export it as OME-TIFF"),
        (b"\xda\xce\xbe\x0a" + b"\x00" * 40, "a Nikon ND2 file"),
        (b"\x70\x00\x00\x00" + b"\x01" * 40, "a Leica LIF file"),
        (b"\x1f\x8b\x08" + b"\x00" * 40, "gzip-compressed"),
        (b"GIF89a" + b"\x00" * 40, "a GIF image: save it as PNG"),
        (b"\x00" * 5000, "zeros from its start"),
        (b"\x01\x02\x03\xfe" * 10, "an unknown kind of content (first bytes 01 02 03 fe 01 02 03 fe)"),
        (b"BMW is a make of cars, this is no bitmap", "text"),
        (b"x", "text ('x')"),
    ],
)
def test_what_is_no_image_is_named(content, words):
    error = failure_of(content)
    assert isinstance(error, UnsupportedError)
    assert words in str(error)
    assert "Read are TIFF" in str(error)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "content",
    [
        header(200_000, 200_000),
        header(2**31 - 1, 2**31 - 1, _259=5),
        header(30_000, 30_000, _259=8),
        header(64, 64, _277=2**20),
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in ((b"IHDR", struct.pack(">IIBBBBB", 90_000, 90_000, 16, 2, 0, 0, 0)), (b"IEND", b""))
        ),
        b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03" + b"\x01\x11\x00" * 3 + b"\xff\xda\x00\x02\xff\xd9",
        b"BM" + struct.pack("<IIIIiiHH", 100, 0, 54, 40, 60_000, 60_000, 1, 24) + b"\x00" * 60,
        b"\xff\x4f\xff\x51"
        + struct.pack(">HH8IH", 41, 0, 90_000, 90_000, 0, 0, 90_000, 90_000, 0, 0, 1)
        + b"\x0f\x01\x01",
    ],
    ids=["tiff", "tiff lzw", "tiff deflate", "tiff samples", "png", "jpeg", "bmp", "jpeg2000"],
)
def test_a_huge_declared_size_is_refused_before_memory_is_taken(content):
    error = failure_of(content)
    assert isinstance(error, TooLargeError)
    assert "more than extract.max_plane_mb = 64" in str(error)


def test_the_limit_lets_a_plane_of_just_its_size_pass():
    content = tiff(np.zeros((1000, 1000), "uint8"))
    assert len(read(content, max_plane_mb=1)) == 1
    assert isinstance(failure_of(tiff(np.zeros((1000, 1001), "uint8")), max_plane_mb=1), TooLargeError)


def test_a_huge_tile_of_a_small_image_is_refused():
    content = header(64, 64, _259=8, _322=2**20, _323=2**20, _324=200, _325=50)
    assert isinstance(failure_of(content), TooLargeError)


def test_an_image_in_a_tile_may_not_be_larger_than_the_tile():
    content = bytearray(samples()["tiff_jpeg"][0])
    at = content.find(b"\xff\xc0")
    struct.pack_into(">HH", content, at + 5, 65_500, 65_500)
    assert "declares 65500 x 65500 x 1 values, expected at most" in str(failure_of(content))


@pytest.mark.timeout(30)
def test_directories_in_a_circle():
    entries = [(256, 4, 1, 4), (257, 4, 1, 4), (258, 4, 1, 8), (259, 4, 1, 1), (262, 4, 1, 1), (273, 4, 1, 8)]
    entries += [(277, 4, 1, 1), (278, 4, 1, 4), (279, 4, 1, 16)]
    error = failure_of(directory(*entries, following=8) + b"\x00" * 200)
    assert isinstance(error, UnreadableError)
    assert "leads back to an earlier page" in str(error)


def test_a_header_without_pages():
    error = failure_of(b"II*\x00\x00\x00\x00\x00")
    assert isinstance(error, TruncatedError)
    assert "writing it never ended" in str(error)


def test_strips_that_were_never_written():
    content = bytearray(tiff(scene(), rowsperstrip=16, compression="zlib"))
    with tifffile.TiffFile(io.BytesIO(content)) as tif:
        tag = tif.pages.first.tags[279]
    struct.pack_into("<H" if tag.dtype == 3 else "<I", content, tag.valueoffset, 0)
    assert "1 of 6 strips were never written" in str(failure_of(content))


def test_more_rows_than_the_strip_holds():
    content = bytearray(tiff(scene()))
    with tifffile.TiffFile(io.BytesIO(content)) as tif:
        tag = tif.pages.first.tags[257]
    struct.pack_into("<H", content, tag.valueoffset, 97)
    error = failure_of(content + b"\x00" * 1000)
    assert isinstance(error, UnreadableError)
    assert "lists 23,040 bytes of pixels, 97 x 120 uint16 needs 23,280" in str(error)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (tiff(np.zeros((32, 32), "complex64")), "pixels are complex numbers (SampleFormat 6, 64 bits)"),
        (header(16, 16, _258=32, _279=1024, _339=5), "pixels are complex numbers (SampleFormat 5, 32 bits)"),
        (header(16, 16, _339=7), "pixels of SampleFormat 7 with 16 bits"),
        (tiff(np.zeros((32, 32, 4), "uint8"), photometric="separated", planarconfig="contig"), "colour space CMYK"),
        (header(16, 16, _259=34_887), "TIFF compression 34887: save the file uncompressed"),
    ],
    ids=["complex", "complex_integer", "unknown", "cmyk", "lerc"],
)
def test_kinds_that_are_not_read(content, words):
    error = failure_of(content + b"\x01" * 1000)
    assert isinstance(error, UnsupportedError)
    assert words in str(error)


def test_a_wrong_checksum_of_a_png_is_found():
    content = bytearray(samples()["png16"][0])
    content[len(content) // 2] ^= 1
    assert "checksum of PNG chunk 'IDAT'" in str(failure_of(content))


def test_nothing_is_written_to_standard_error_or_the_log(capfd, caplog):
    with caplog.at_level(logging.DEBUG, logger=""):
        failure_of(header(64, 64, _273=2**31))
        failure_of(samples()["tiff_lzw"][0][:3000])
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_one_pixel_and_floats_that_are_not_finite():
    assert read(tiff(np.ones((1, 1), "uint8")))[0].pixels.shape == (1, 1)
    pixels = np.array([[np.nan, np.inf], [-np.inf, 1]], "float32")
    assert np.array_equal(read(tiff(pixels))[0].pixels, pixels, equal_nan=True)


def test_random_bytes_behind_every_magic():
    rng = np.random.default_rng(3)
    magics = (
        b"II*\x00",
        b"MM\x00*",
        b"II+\x00\x08\x00\x00\x00",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"BM",
        b"\xff\x4f\xff\x51",
    )
    for magic in magics:
        for _ in range(40):
            failure_of(magic + rng.bytes(int(rng.integers(0, 3000))))

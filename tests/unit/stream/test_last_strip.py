"""Files that are being written: readable to their end or not."""

from __future__ import annotations

import io
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile

from tierflow.stream.last_strip import missing_end

IMAGE = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)
RGB = np.random.default_rng(1).integers(0, 255, (40, 40, 3), dtype=np.uint8)


def written(tmp_path, data: bytes) -> str | None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with path.open("rb", buffering=0) as handle:
        return missing_end(handle)


def tiff(image=IMAGE, **options) -> bytes:
    out = io.BytesIO()
    write = {key: options.pop(key) for key in ("bigtiff", "byteorder", "imagej", "ome") if key in options}
    with tifffile.TiffWriter(out, **write) as writer:
        writer.write(image, **options)
    return out.getvalue()


TIFFS = {
    "strips": tiff(rowsperstrip=8),
    "big": tiff(bigtiff=True, rowsperstrip=8),
    "motorola": tiff(byteorder=">", rowsperstrip=8),
    "tiles": tiff(tile=(16, 16)),
    "deflate": tiff(compression="zlib", rowsperstrip=8),
    "pages": tiff(np.stack([IMAGE] * 4), photometric="minisblack"),
    "imagej": tiff(np.stack([IMAGE] * 4), imagej=True),
    "ome": tiff(np.stack([IMAGE] * 4), ome=True, photometric="minisblack"),
}


@pytest.mark.parametrize("name", TIFFS)
def test_a_whole_tiff_lacks_nothing(tmp_path, name):
    assert written(tmp_path, TIFFS[name]) is None


@pytest.mark.parametrize("name", TIFFS)
def test_a_tiff_that_is_cut_anywhere_before_its_last_pixel_is_not_whole(tmp_path, name):
    data = TIFFS[name]
    with tifffile.TiffFile(io.BytesIO(data)) as tif:
        end = max(
            offset + count
            for page in tif.pages
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
        )
    for cut in sorted({1, 3, 7, 9, 100, *range(8, end, max(1, end // 40)), end - 1}):
        assert written(tmp_path, data[:cut]) is not None, cut


def test_every_page_is_looked_at_not_only_the_last(tmp_path):
    """Pages written last to first: the data of the first page lies at the file's end."""
    data = bytearray(TIFFS["pages"])
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as tif:
        tag = tif.pages[0].tags["StripOffsets"]
        struct.pack_into("<I" if tag.dtype == 4 else "<H", data, tag.valueoffset, len(data) - 10)
    assert "page 0 ends at byte" in written(tmp_path, bytes(data))


def test_a_stack_of_imagej_behind_one_directory(tmp_path):
    """ImageJ writes more than 4 GB as one directory and the other planes straight behind the first."""
    text = b"ImageJ=1.54f\nimages=3\nslices=3\n"
    plane = IMAGE.tobytes()
    entries = [
        (256, 3, 1, 48),
        (257, 3, 1, 64),
        (258, 3, 1, 16),
        (270, 2, len(text) + 1, 200),
        (273, 4, 1, 300),
        (278, 3, 1, 64),
        (279, 4, 1, len(plane)),
    ]
    head = b"II*\0" + struct.pack("<LH", 8, len(entries))
    head += b"".join(struct.pack("<HHLL", *entry) for entry in entries) + struct.pack("<L", 0)
    data = head.ljust(200, b"\0") + text.ljust(100, b"\0") + plane * 3
    assert written(tmp_path, data) is None
    assert "half written" in written(tmp_path, data[:-1])
    assert "half written" in written(tmp_path, data[: -len(plane)])


def test_reduced_images_below_a_page_are_looked_at(tmp_path):
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        writer.write(IMAGE, subifds=1)
        writer.write(IMAGE[::2, ::2])
    assert written(tmp_path, out.getvalue()) is None
    assert written(tmp_path, out.getvalue()[:-1]) is not None


def test_a_header_without_a_page_and_a_file_of_zeros_are_unfinished(tmp_path):
    assert written(tmp_path, b"II*\0\0\0\0\0") == "it has a TIFF header but no page yet"
    assert written(tmp_path, b"II*\0") == "its header isn't whole yet"
    assert written(tmp_path, bytes(100_000)).endswith("its content isn't written yet")


def test_damage_that_no_further_byte_mends_is_no_reason_to_wait(tmp_path):
    circle = b"II*\0" + struct.pack("<LH", 8, 1) + struct.pack("<HHLL", 256, 3, 1, 1) + struct.pack("<L", 8)
    assert written(tmp_path, circle) is None
    assert written(tmp_path, b"II*\0" + struct.pack("<LH", 8, 65535) + bytes(2000)) is None
    assert written(tmp_path, b"this is a text, not an image") is None


@pytest.mark.parametrize("encode", [imagecodecs.png_encode, imagecodecs.jpeg8_encode, imagecodecs.bmp_encode])
def test_png_jpeg_and_bmp_end_with_their_mark(tmp_path, encode):
    data = encode(RGB)
    assert written(tmp_path, data) is None
    for cut in range(20, len(data) - 1, max(1, len(data) // 50)):
        assert written(tmp_path, data[:cut]) is not None, cut
    assert written(tmp_path, data[:-1]) is not None


def test_what_cameras_write_behind_the_end_does_no_harm(tmp_path):
    tail = b"\0" * 10 + b"maker's own data" * 20
    assert written(tmp_path, imagecodecs.png_encode(RGB) + tail) is None
    assert written(tmp_path, imagecodecs.jpeg8_encode(RGB) + tail) is None


def test_the_end_of_a_thumbnail_in_a_jpeg_is_not_the_end_of_the_image(tmp_path):
    image = imagecodecs.jpeg8_encode(RGB)
    thumbnail = imagecodecs.jpeg8_encode(RGB[:8, :8])
    data = image[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + image[2:]
    assert written(tmp_path, data) is None
    assert written(tmp_path, data[:-2]) is not None
    assert written(tmp_path, data[: len(thumbnail) + 6]) is not None


@pytest.mark.shared
def test_all_real_images_are_whole_and_none_is_when_its_pixels_are_cut(shared_images, tmp_path):
    paths = [path for path in sorted(shared_images.rglob("*")) if path.suffix.lower() in (".tif", ".png", ".bmp")]
    assert len(paths) >= 265
    for path in paths:
        with path.open("rb", buffering=0) as handle:
            assert missing_end(handle) is None, path
    for path in paths[::20]:
        data = path.read_bytes()
        assert written(tmp_path, data[: len(data) // 2]) is not None, path

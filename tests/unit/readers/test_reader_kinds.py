"""Every kind of image gives its own pixels, shapes and positions, whatever its name."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from reader_samples import samples, scene, tiff

from tierflow.io.readers import planes
from tierflow.io.readers.load import Loaded


def read(content, name="image.dat"):
    return list(planes(Loaded(Path(name), len(content), "", bytes(content)), max_plane_mb=100))


def positions(found):
    return [(p.series, p.c, p.z, p.t) for p in found]


@pytest.mark.parametrize("name", [n for n, (_, expected) in samples().items() if expected is not None])
def test_pixels_are_exactly_those_that_were_written(name):
    content, expected = samples()[name]
    found = read(content)
    assert len(found) == len(expected)
    for plane, pixels in zip(found, expected, strict=True):
        assert plane.pixels.dtype == pixels.dtype
        assert plane.pixels.dtype.isnative
        assert plane.pixels.flags.c_contiguous
        assert plane.pixels.flags.aligned
        assert not plane.pixels.flags.writeable
        assert np.array_equal(plane.pixels, pixels)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("jpeg", (96, 120)), ("jpeg_rgb", (96, 120, 3)), ("tiff_jpeg", (96, 120)), ("tiff_jpeg_rgb", (96, 120, 3))],
)
def test_lossy_kinds_are_close_to_what_was_written(name, shape):
    (plane,) = read(samples()[name][0])
    original = scene(shape, "uint8", top=250).astype(float)
    assert plane.pixels.shape == shape
    assert plane.pixels.dtype == np.uint8
    assert np.abs(plane.pixels - original).mean() < 4


def test_an_uncompressed_tiff_shares_the_memory_of_its_file():
    content = samples()["tiff"][0]
    (plane,) = read(content)
    assert not plane.pixels.flags.owndata


def test_pixels_at_an_odd_position_are_aligned():
    content = bytearray(tiff(np.arange(4096, dtype="uint16").reshape(64, 64), rowsperstrip=64))
    with tifffile.TiffFile(io.BytesIO(content)) as tif:
        tag = tif.pages.first.tags[273]
        start, pixels = tag.value[0], bytes(content[tag.value[0] :])
    content = content[:start] + b"\x00" + pixels
    content[tag.valueoffset : tag.valueoffset + 4] = struct.pack("<I", start + 1)
    (plane,) = read(content)
    assert plane.pixels.flags.aligned
    assert np.array_equal(plane.pixels, np.arange(4096).reshape(64, 64))


def test_pages_are_z_planes_and_another_size_is_another_series(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for shape in ((64, 64), (64, 64), (32, 48), (64, 64)):
            writer.write(np.ones(shape, "uint8"), metadata=None, contiguous=False)
    assert positions(read(path.read_bytes())) == [(0, 0, 0, 0), (0, 0, 1, 0), (1, 0, 0, 0), (0, 0, 2, 0)]


def test_thumbnails_masks_and_pyramids_are_no_planes(tmp_path):
    path = tmp_path / "a.tif"
    image = scene((64, 64))
    with tifffile.TiffWriter(path) as writer:
        writer.write(image, metadata=None, subifds=1)
        writer.write(image[::2, ::2].copy(), metadata=None, subfiletype=1)
        writer.write(image[::4, ::4].copy(), metadata=None, subfiletype=1)
        writer.write(image[::4, ::4] > 0, metadata=None, subfiletype=4)
    (plane,) = read(path.read_bytes())
    assert np.array_equal(plane.pixels, image)


def test_a_lone_page_is_the_image_even_if_it_calls_itself_reduced():
    (plane,) = read(tiff(scene((64, 64)), subfiletype=1))
    assert plane.pixels.shape == (64, 64)


def test_a_volume_in_one_page_gives_its_z_planes():
    volume = np.stack([scene((32, 32), seed=i) for i in range(16)])
    found = read(tiff(volume, volumetric=True, tile=(16, 16, 16)))
    assert positions(found) == [(0, 0, z, 0) for z in range(16)]
    assert all(np.array_equal(p.pixels, v) for p, v in zip(found, volume, strict=True))


def test_palette_of_a_tiff_is_not_applied():
    indices = scene((64, 64), "uint8", top=255)
    colours = np.random.default_rng(0).integers(0, 65535, (3, 256), dtype="uint16")
    (plane,) = read(tiff(indices, photometric="palette", colormap=colours))
    assert np.array_equal(plane.pixels, indices)


def test_palette_of_a_png_becomes_rgb():
    image = Image.fromarray(scene((40, 50, 3), "uint8", top=250)).quantize(16)
    handle = io.BytesIO()
    image.save(handle, "png")
    (plane,) = read(handle.getvalue())
    assert np.array_equal(plane.pixels, np.asarray(image.convert("RGB")))


def test_gray_with_transparency_loses_it():
    gray = scene((40, 50), "uint8", top=250)
    both = np.dstack([gray, np.full_like(gray, 128)])
    assert np.array_equal(read(imagecodecs.png_encode(both))[0].pixels, gray)
    (plane,) = read(tiff(both, planarconfig="contig", extrasamples=["unassalpha"]))
    assert np.array_equal(plane.pixels, gray)


def test_packed_bits_tell_the_detector():
    image = scene((64, 64), top=4095)
    (plane,) = read(_packed_in_12_bits(image))
    assert np.array_equal(plane.pixels, image)
    assert plane.significant_bits == 12
    (mask,) = read(tiff(scene((64, 64)) > 2000))
    assert mask.pixels.dtype == np.uint8
    assert mask.significant_bits == 1
    assert np.array_equal(mask.pixels, scene((64, 64)) > 2000)


def _packed_in_12_bits(image):
    """tifffile doesn't write 12 bits, so the header of a plain image of as many bytes is changed."""
    even, odd = image[:, ::2].astype("uint32"), image[:, 1::2].astype("uint32")
    packed = np.stack([even >> 4, (even & 15) << 4 | odd >> 8, odd & 255], axis=-1).astype("uint8")
    content = bytearray(tiff(packed.reshape(64, 96)))
    with tifffile.TiffFile(io.BytesIO(content)) as tif:
        for code, value in ((256, 64), (258, 12)):
            struct.pack_into("<H", content, tif.pages.first.tags[code].valueoffset, value)
    return content


def test_stk_has_one_directory_for_all_planes():
    stack = np.stack([scene((32, 40), seed=i) for i in range(3)])
    first = tiff(stack[0], extratags=[(33628, 4, 4, (0, 1, 1, 100), True), (33629, 5, 3, (1, 1) * 3, True)])
    found = read(first + stack[1:].tobytes())
    assert positions(found) == [(0, 0, z, 0) for z in range(3)]
    assert all(np.array_equal(p.pixels, s) for p, s in zip(found, stack, strict=True))


def test_imagej_may_have_one_directory_for_all_planes():
    stack = np.stack([scene((32, 40), seed=i) for i in range(4)])
    text = "ImageJ=1.53t\nimages=4\nchannels=2\nslices=2\nhyperstack=true\nunit=micron\n"
    first = tiff(stack[0], description=text, resolution=(2, 2), software=None)
    found = read(first + stack[1:].tobytes())
    assert positions(found) == [(0, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 1, 1, 0)]
    assert all(np.array_equal(p.pixels, s) for p, s in zip(found, stack, strict=True))
    assert found[0].pixel_size_um == 0.5


def test_imagej_hyperstack_counts_channels_then_z_then_time():
    handle = io.BytesIO()
    options = {"imagej": True, "metadata": {"axes": "TZCYX", "unit": "um"}, "resolution": (4, 4)}
    tifffile.imwrite(handle, np.zeros((2, 3, 2, 32, 32), "uint8"), **options)
    found = read(handle.getvalue())
    assert positions(found) == [(0, c, z, t) for t in range(2) for z in range(3) for c in range(2)]
    assert found[0].pixel_size_um == 0.25


def test_lsm_skips_its_thumbnails_and_splits_its_channels(tmp_path):
    info = _lsm_info()
    stack = np.stack([np.stack([scene((32, 40), seed=z * 3 + c) for c in range(3)]) for z in range(2)])
    path = tmp_path / "a.lsm"
    with tifffile.TiffWriter(path, byteorder="<") as writer:
        for z in range(2):
            tags = [(34412, 1, len(info), info, True)] if z == 0 else []
            writer.write(stack[z], planarconfig="separate", photometric="minisblack", metadata=None, extratags=tags)
            writer.write(np.zeros((8, 8), "uint8"), subfiletype=1, metadata=None)
    found = read(path.read_bytes())
    assert positions(found) == [(0, c, z, 0) for z in range(2) for c in range(3)]
    assert all(np.array_equal(p.pixels, s) for p, s in zip(found, stack.reshape(6, 32, 40), strict=True))
    assert found[0].pixel_size_um == pytest.approx(0.2)


def _lsm_info():
    head = struct.pack("<Ii", 67127628, 264)
    # X, Y, Z, channels, times, type of data, size of the thumbnail.
    sizes = struct.pack("<8i", 40, 32, 2, 3, 1, 2, 8, 8)
    voxels = struct.pack("<6d", 2e-7, 2e-7, 1e-6, 0, 0, 0)
    return (head + sizes + voxels).ljust(264, b"\x00")

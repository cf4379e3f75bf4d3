"""Outlines agree with what the reader gives, for every whole TIFF there is."""

import numpy as np
import pytest
import tifffile

from tierflow.errors import MissingFileError, ObjectError, UnsupportedError
from tierflow.io.readers import load, planes
from tierflow.io.readers.tiff_outline import outline_tiff


def read(path):
    return [((p.series, p.c, p.z, p.t), p.pixels.shape, p.pixels.dtype) for p in planes(load(path), max_plane_mb=1024)]


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((16, 20), {}),
        ((5, 16, 20), {"photometric": "minisblack"}),
        ((16, 20, 3), {"photometric": "rgb"}),
        ((16, 20, 4), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
        ((3, 16, 20), {"photometric": "rgb", "planarconfig": "separate"}),
        ((16, 20, 5), {"photometric": "minisblack", "planarconfig": "contig"}),
        ((2, 3, 4, 16, 20), {"ome": True, "metadata": {"axes": "TCZYX"}}),
        ((2, 3, 16, 20), {"imagej": True, "metadata": {"axes": "ZCYX"}}),
        ((2, 64, 64), {"photometric": "minisblack", "tile": (32, 32), "compression": "zlib"}),
        ((16, 20), {"byteorder": ">"}),
    ],
    ids=str,
)
def test_outline_is_what_is_read(tmp_path, shape, options):
    path = tmp_path / ("x.ome.tif" if options.get("ome") else "x.tif")
    dtype = np.uint16 if options.get("imagej") else np.uint8
    tifffile.imwrite(path, np.zeros(shape, dtype), **options)
    assert outline_tiff(path) == read(path)


def test_one_bit_per_pixel(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((16, 24), bool))
    assert outline_tiff(tmp_path / "x.tif") == read(tmp_path / "x.tif")


def test_cut_off_directories_are_told(tmp_path):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, np.zeros((5, 16, 20), np.uint8), photometric="minisblack")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ObjectError):
        outline_tiff(path)
    with pytest.raises(MissingFileError):
        outline_tiff(tmp_path / "gone.tif")


def test_numbers_of_an_unknown_kind_are_told(tmp_path):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, np.zeros((16, 20), np.int32))
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages.first.tags["SampleFormat"].overwrite(7)
    with pytest.raises(UnsupportedError, match="pixels of SampleFormat 7 with 32 bits"):
        outline_tiff(path)


@pytest.mark.shared
def test_outline_of_every_real_tiff(shared_images):
    compared = 0
    for path in sorted(shared_images.rglob("*.[tTsS][iItT][fFkK]*")):
        try:
            expected = read(path)
        except ObjectError:
            continue
        assert outline_tiff(path) == expected, path
        compared += 1
    assert compared > 100

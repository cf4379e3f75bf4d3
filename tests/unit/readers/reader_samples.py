"""Small image files of every kind that the readers take, made on the spot."""

from __future__ import annotations

import io
from functools import cache

import imagecodecs
import numpy as np
import tifffile
from PIL import Image


def scene(shape=(96, 120), dtype="uint16", seed=0, top=4000):
    """A smooth image with noise, so that every codec has something to do."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    plane = top * (0.5 + 0.4 * np.sin(x / 9) * np.cos(y / 7)) + rng.normal(0, top / 50, shape[:2])
    if len(shape) == 3:
        plane = plane[..., None] * np.linspace(0.5, 1, shape[2])
    return plane.clip(0, top).astype(dtype)


def tiff(pixels, **options):
    handle = io.BytesIO()
    tifffile.imwrite(handle, pixels, **{"metadata": None, "photometric": "minisblack", **options})
    return handle.getvalue()


def pillow(pixels, kind, mode=None):
    handle = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(handle, kind)
    return handle.getvalue()


@cache
def samples():
    """Return {name: (content, planes)}; planes is None where the codec loses detail."""
    gray16, gray8 = scene(), scene(dtype="uint8", top=250)
    rgb8, rgb16 = scene((96, 120, 3), "uint8", top=250), scene((96, 120, 3))
    stack = np.stack([scene(seed=i) for i in range(4)])
    five = np.stack([scene(seed=i) for i in range(5)])
    ome_c3z2 = np.stack([scene(seed=i) for i in range(6)]).reshape(2, 3, 96, 120)
    rgba = np.dstack([rgb8, np.full((96, 120), 255, "uint8")])
    found = {
        "tiff": (tiff(gray16), [gray16]),
        "tiff_strips": (tiff(gray16, rowsperstrip=7), [gray16]),
        "tiff_big_endian": (tiff(gray16, byteorder=">"), [gray16]),
        "tiff_float": (tiff(gray16.astype("float32")), [gray16.astype("float32")]),
        "tiff_signed": (tiff(gray16.astype("int16") - 2000), [gray16.astype("int16") - 2000]),
        "tiff_min_is_white": (tiff(gray8, photometric="miniswhite"), [gray8]),
        "tiff_lzw": (tiff(gray16, compression="lzw", predictor=True, rowsperstrip=16), [gray16]),
        "tiff_deflate": (tiff(gray16, compression="zlib", rowsperstrip=16), [gray16]),
        "tiff_packbits": (tiff(gray8 // 16, compression="packbits", rowsperstrip=16), [gray8 // 16]),
        "tiff_zstd": (tiff(gray16, compression="zstd"), [gray16]),
        "tiff_jpeg": (tiff(gray8, compression="jpeg", tile=(32, 48)), None),
        "tiff_jpeg_rgb": (tiff(rgb8, compression="jpeg", photometric="rgb", rowsperstrip=32), None),
        "tiff_jpeg2000": (tiff(gray16, compression="jpeg2000", tile=(32, 48)), [gray16]),
        "tiff_tiled": (tiff(gray16, tile=(32, 48)), [gray16]),
        "tiff_tiled_deflate": (tiff(gray16, tile=(32, 48), compression="zlib"), [gray16]),
        "tiff_rgb": (tiff(rgb16, photometric="rgb"), [rgb16]),
        "tiff_rgba": (tiff(rgba, photometric="rgb", extrasamples=["unassalpha"]), [rgb8]),
        "tiff_rgb_planar": (tiff(np.moveaxis(rgb8, 2, 0).copy(), photometric="rgb", planarconfig="separate"), [rgb8]),
        "tiff_five_samples": (tiff(np.moveaxis(five, 0, 2).copy(), planarconfig="contig"), list(five)),
        "tiff_two_samples_planar": (tiff(five[:2].copy(), planarconfig="separate"), list(five[:2])),
        "tiff_stack": (tiff(stack), list(stack)),
        "tiff_stack_lzw": (tiff(stack, compression="lzw"), list(stack)),
        "bigtiff": (tiff(stack[:2], bigtiff=True), list(stack[:2])),
        "bigtiff_deflate": (tiff(gray16, bigtiff=True, compression="zlib"), [gray16]),
        "ome_tiff": (
            tiff(ome_c3z2, ome=True, metadata={"axes": "ZCYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm"}),
            list(ome_c3z2.reshape(6, 96, 120)),
        ),
        "imagej": (tiff(ome_c3z2, imagej=True, metadata={"axes": "ZCYX"}), list(ome_c3z2.reshape(6, 96, 120))),
        "png8": (imagecodecs.png_encode(gray8), [gray8]),
        "png16": (imagecodecs.png_encode(gray16), [gray16]),
        "png_rgb16": (imagecodecs.png_encode(rgb16), [rgb16]),
        "png_rgba": (imagecodecs.png_encode(rgba), [rgb8]),
        "jpeg": (imagecodecs.jpeg_encode(gray8, level=95), None),
        "jpeg_rgb": (imagecodecs.jpeg_encode(rgb8, level=95), None),
        "jp2": (imagecodecs.jpeg2k_encode(gray16, codecformat="jp2"), [gray16]),
        "j2k_rgb": (imagecodecs.jpeg2k_encode(rgb8, codecformat="j2k"), [rgb8]),
        "bmp": (pillow(gray8, "bmp"), [gray8]),
        "bmp_rgb": (pillow(rgb8, "bmp"), [rgb8]),
    }
    return {name: (bytes(content), planes) for name, (content, planes) in found.items()}

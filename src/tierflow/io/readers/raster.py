"""PNG, JPEG, JPEG 2000 and BMP: one image per file."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from PIL.BmpImagePlugin import BmpImageFile

from tierflow.errors import TooLargeError, TruncatedError, UnreadableError, UnsupportedError
from tierflow.io.plane import Plane
from tierflow.io.readers import codestream
from tierflow.io.readers.guard import MB, check_size, foreign
from tierflow.io.readers.tiff_structure import COPY_AGAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from tierflow.io.readers.load import Loaded
    from tierflow.io.readers.sniff import Kind

    Pixels = NDArray[Any]


def _decode_png(data: bytes) -> Pixels:
    pixels: Pixels = imagecodecs.png_decode(codestream.png_pixels_only(data))
    return pixels


_CODECS: dict[Kind, tuple[str, Callable[[bytes], codestream.Header], Callable[[bytes], Pixels]]] = {
    "png": ("the PNG image", codestream.png, _decode_png),
    "jpeg": ("the JPEG image", codestream.jpeg, imagecodecs.jpeg_decode),
    "jpeg2000": ("the JPEG 2000 image", codestream.jpeg2000, imagecodecs.jpeg2k_decode),
}


def read_coded(loaded: Loaded, kind: Kind, *, max_plane_mb: int) -> Iterator[Plane]:
    """Decode a PNG, JPEG or JPEG 2000 file.

    Values are those of the file, with these exceptions that the formats themselves demand: a palette becomes RGB, gray
    of 1, 2 or 4 bits is stretched to 0..255, YCbCr becomes RGB. Transparency is dropped.

    Raises:
        ObjectError: if the content is damaged, too large or of an unsupported kind.
    """
    what, read_header, decode = _CODECS[kind]
    data = _bytes_of(loaded, max_plane_mb)
    with foreign("imagecodecs", what):
        header = read_header(data)
    check_size((header.height, header.width, header.samples), header.item_bytes, max_plane_mb=max_plane_mb)
    if kind == "jpeg" and header.samples == 4:
        raise UnsupportedError("a JPEG in CMYK colours: save it as gray or RGB")
    try:
        with foreign("imagecodecs", what):
            pixels = decode(data)
    except UnreadableError:
        if kind == "jpeg2000" and not data.rstrip(b"\x00").endswith(b"\xff\xd9"):
            raise TruncatedError(
                f"the file ends at byte {len(data):,}, before the JPEG 2000's end mark: {COPY_AGAIN}"
            ) from None
        raise
    yield from (
        Plane(pixels=plane, c=c, significant_bits=header.significant_bits) for c, plane in enumerate(split(pixels))
    )


def read_bmp(handle: IO[bytes], *, max_plane_mb: int) -> Iterator[Plane]:
    """Decode a BMP: gray stays gray, everything else becomes RGB of 8 bits.

    Raises:
        ObjectError: if the content is damaged or too large.
    """
    # Not Image.open: its guard against huge images is a global of the process; the limit here is the configuration's.
    with foreign("Pillow", "the BMP image"):
        image = BmpImageFile(handle)
    width, height = image.size
    check_size((height, width, 1 if image.mode in ("1", "L") else 3), 1, max_plane_mb=max_plane_mb)
    try:
        with foreign("Pillow", "the BMP image"):
            pixels = np.array(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    except UnreadableError as error:
        if "truncated" in str(error):
            raise TruncatedError(f"the file ends before the BMP image does: {COPY_AGAIN}") from error
        raise
    yield Plane(pixels=pixels)


def split(pixels: Pixels) -> list[Pixels]:
    """Return the planes of a decoded image: RGB as one of shape (y, x, 3), several gray samples as one each.

    Args:
        pixels: Shape (y, x) or (y, x, samples). Of two samples the second, of four the fourth is transparency.
    """
    if pixels.ndim == 2:
        return [pixels]
    samples = pixels.shape[2]
    if samples <= 2:
        return [np.ascontiguousarray(pixels[..., 0])]
    if samples <= 4:
        return [np.ascontiguousarray(pixels[..., :3])]
    return [np.ascontiguousarray(pixels[..., i]) for i in range(samples)]


def _bytes_of(loaded: Loaded, max_plane_mb: int) -> bytes:
    if loaded.data is not None:
        return loaded.data
    # Compressed, and yet larger than a plane may be: decoding needs both in memory.
    if loaded.size > max_plane_mb * MB:
        raise TooLargeError(
            f"the file has {-(-loaded.size // MB):,} MB, more than extract.max_plane_mb = {max_plane_mb:,}: "
            "raise that limit if the size is real"
        )
    with loaded.open() as handle:
        return handle.read()

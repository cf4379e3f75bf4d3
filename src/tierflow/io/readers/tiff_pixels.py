"""The pixels of one TIFF page: checked against the file and the limits, then decoded."""

from __future__ import annotations

from math import prod
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from tierflow.errors import TruncatedError, UnreadableError, UnsupportedError
from tierflow.io.readers import codestream
from tierflow.io.readers.guard import check_size
from tierflow.io.readers.tiff_structure import COPY_AGAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from tifffile import TiffPage

    from tierflow.io.readers.load import Loaded

    Pixels = NDArray[Any]

NONE, JPEG, PNG = 1, 7, 34933
_JPEG2000 = (33003, 33004, 33005, 34712)
# Decoders that are told how much to give. All others could be made to fill memory by a damaged number, and microscopes
# don't write them.
_BOUNDED = (2, 3, 4, 5, 8, 32773, 32946, 34925, 34926, 50000)
_RGB, _YCBCR = 2, 6
_COLOUR_SPACES = {
    5: "CMYK",
    8: "CIELAB",
    9: "ICCLAB",
    10: "ITULAB",
    32803: "CFA (raw colour mosaic)",
    32844: "LogL",
    32845: "LogLuv",
}
_TRANSPARENCY = (1, 2)
_COMPLEX = (5, 6)


def read_page(page: TiffPage, loaded: Loaded, handle: IO[bytes], *, shift: int, max_plane_mb: int) -> Pixels:
    """Decode a page.

    Args:
        page: The page.
        loaded: The file.
        handle: The file, open.
        shift: Bytes between the page's own pixels and the wanted ones, for stacks that have one directory only.
        max_plane_mb: Limit of the configuration.

    Returns:
        Shape (separate sample, z, y, x, adjacent sample), native byte order; a view of `loaded.data` where possible.

    Raises:
        ObjectError: if the content is damaged, cut off, too large or of an unsupported kind.
    """
    key, dtype = page.keyframe, page.keyframe.dtype
    if dtype is None or dtype.kind not in "buif":
        raise unread_kind(key)
    if int(key.photometric) in _COLOUR_SPACES:
        raise UnsupportedError(f"colour space {_COLOUR_SPACES[int(key.photometric)]}: save the image as gray or RGB")
    needed = check_size(key.shape, dtype.itemsize, max_plane_mb=max_plane_mb)
    if key.is_final and dtype.itemsize * 8 == key.bitspersample:
        return _read_contiguous(page, dtype.newbyteorder(key.parent.byteorder), loaded, handle, needed, shift)
    if shift:
        raise UnsupportedError("a compressed stack with a single directory: save it with a directory per plane")
    _check_segments(page, dtype.itemsize, loaded.size, max_plane_mb)
    _check_streams(page, handle)
    # One worker: a job is one core, and tifffile would start threads per page.
    pixels = page.asarray(squeeze=False, maxworkers=1)
    return pixels.view(np.uint8) if pixels.dtype.kind == "b" else _native(pixels)


def unread_kind(key: TiffPage) -> UnsupportedError:
    """Return the error of a page whose numbers are of a kind that isn't read."""
    tag = f"SampleFormat {int(key.sampleformat)}"
    if int(key.sampleformat) in _COMPLEX:
        return UnsupportedError(
            f"pixels are complex numbers ({tag}, {key.bitspersample} bits), such as those of a Fourier transform, "
            "expected integers or floats: save their magnitude as an image"
        )
    return UnsupportedError(
        f"pixels of {tag} with {key.bitspersample} bits, expected integers or floats of up to 64: convert the file"
    )


def split(pixels: Pixels, page: TiffPage, *, channels: bool) -> list[tuple[int, int, Pixels]]:
    """Return the planes of a decoded page as (c, z, pixels).

    Args:
        pixels: Result of `read_page`.
        page: Its page (or the page that stands for it).
        channels: Samples are channels even where the file says RGB (LSM).
    """
    parts, depth, _, _, _ = pixels.shape
    rgb, samples = samples_of(pixels.shape, page, channels=channels)
    found = []
    for z in range(depth):
        if rgb:
            stack = pixels[0, z, ..., :3] if parts == 1 else np.moveaxis(pixels[:3, z, ..., 0], 0, -1)
            found.append((0, z, np.ascontiguousarray(stack)))
            continue
        gray = [pixels[0, z, ..., i] if parts == 1 else pixels[i, z, ..., 0] for i in range(samples)]
        found.extend((c, z, np.ascontiguousarray(plane)) for c, plane in enumerate(gray))
    return found


def samples_of(shape: Sequence[int], page: TiffPage, *, channels: bool) -> tuple[bool, int]:
    """Tell whether a page holds colours, and how many samples per pixel without transparency.

    Args:
        shape: Of its pixels: (separate sample, z, y, x, adjacent sample).
        page: The page (or the page that stands for it).
        channels: Samples are channels even where the file says RGB (LSM).
    """
    samples = shape[0] * shape[4]
    if int(page.photometric) in (_RGB, _YCBCR) and samples in (3, 4) and not channels:
        return True, samples
    transparent = sum(int(kind) in _TRANSPARENCY for kind in page.extrasamples)
    return False, max(1, samples - transparent)


def _native(pixels: Pixels) -> Pixels:
    # Compiled kernels take neither swapped nor misaligned numbers.
    if pixels.flags.aligned and pixels.dtype.isnative:
        return pixels
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=True)


def _read_contiguous(
    page: TiffPage, dtype: np.dtype[Any], loaded: Loaded, handle: IO[bytes], needed: int, shift: int
) -> Pixels:
    key = page.keyframe
    start = int(page.dataoffsets[0]) + shift
    listed = sum(page.databytecounts)
    # LSM lists counts that don't fit its own pixels.
    if listed < needed and not key.is_lsm:
        raise UnreadableError(
            f"the page lists {listed:,} bytes of pixels, {' x '.join(map(str, key.shape))} {dtype} needs {needed:,}: "
            "damaged, copy the file again from the instrument"
        )
    if start + needed > loaded.size:
        strip = _strip_at(page, loaded.size - shift)
        raise TruncatedError(
            f"the file ends at byte {loaded.size:,}, strip {strip} needs byte {start + needed:,}: {COPY_AGAIN}"
        )
    if loaded.data is not None:
        pixels = np.frombuffer(loaded.data, dtype, needed // dtype.itemsize, start)
    else:
        pixels = np.empty(needed // dtype.itemsize, dtype)
        handle.seek(start)
        # The file may have shrunk since it was hashed.
        if handle.readinto(pixels.data.cast("B")) != needed:  # type: ignore[attr-defined]
            raise TruncatedError(f"the file became shorter than {start + needed:,} bytes while it was read: run again")
    return _native(pixels).reshape(key.shaped)


def _strip_at(page: TiffPage, end: int) -> int:
    ends = (o + c for o, c in zip(page.dataoffsets, page.databytecounts, strict=False))
    return next((k for k, strip_end in enumerate(ends) if strip_end > end), 0)


def _check_segments(page: TiffPage, item_bytes: int, size: int, max_plane_mb: int) -> None:
    """Check that all strips or tiles are listed and lie in the file."""
    key = page.keyframe
    count, shape = prod(key.chunked), key.chunks
    offsets, lengths = page.dataoffsets, page.databytecounts
    name = "tile" if key.is_tiled else "strip"
    segment = check_size(shape, item_bytes, max_plane_mb=max_plane_mb)
    if len(offsets) < count or len(lengths) < count:
        raise UnreadableError(
            f"the page lists {min(len(offsets), len(lengths))} {name}s, needs {count}: damaged, copy the file again"
        )
    written = 0
    for k in range(count):
        start, length = offsets[k], lengths[k]
        if start + length > size:
            # Some writers list a whole strip where the last one has fewer rows.
            if key.compression == NONE and start + segment * key.bitspersample // (8 * item_bytes) <= size:
                continue
            raise TruncatedError(
                f"the file ends at byte {size:,}, {name} {k} needs byte {start + length:,}: {COPY_AGAIN}"
            )
        written += bool(start and length)
    # Tiles may be left out on purpose (empty glass); strips that aren't there were never written.
    if written < count and not (key.is_tiled and written):
        raise TruncatedError(f"{count - written} of {count} {name}s were never written: {COPY_AGAIN}")


def _check_streams(page: TiffPage, handle: IO[bytes]) -> None:
    """Check what images inside the strips or tiles declare: their decoders allocate what these headers say."""
    key = page.keyframe
    compression = int(key.compression)
    if compression == NONE or compression in _BOUNDED:
        return
    readers: dict[int, Callable[[bytes], codestream.Header]] = {
        JPEG: lambda data: codestream.jpeg(data, whole=False),
        PNG: codestream.png,
        **dict.fromkeys(_JPEG2000, codestream.jpeg2000),
    }
    if compression not in readers:
        raise UnsupportedError(f"TIFF compression {compression}: save the file uncompressed, or with LZW or Deflate")
    limit = prod(key.chunks)
    for start, length in zip(page.dataoffsets, page.databytecounts, strict=False):
        handle.seek(start)
        header = readers[compression](handle.read(length))
        if header.height * header.width * header.samples > limit:
            raise UnreadableError(
                f"a strip or tile declares {header.height} x {header.width} x {header.samples} values, expected "
                f"at most {limit}: damaged, copy the file again"
            )

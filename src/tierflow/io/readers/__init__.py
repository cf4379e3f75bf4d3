"""Reading image files: bytes once, kind by content, planes one by one.

```python
loaded = load(path)                            # I/O and SHA-256 only: can run ahead in a thread
for plane in planes(loaded, max_plane_mb=1024):
    plane.pixels                               # (y, x) or (y, x, 3), raw values
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierflow.errors import UnsupportedError
from tierflow.io.readers.load import Loaded, file_errors, load
from tierflow.io.readers.sniff import HEAD_BYTES, READABLE, describe, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tierflow.io.plane import Plane

__all__ = ["Loaded", "load", "planes"]


def planes(loaded: Loaded, *, max_plane_mb: int) -> Iterator[Plane]:
    """Decode a file's planes one after another; its kind is told by its content, never by its name.

    Of a file that was cut off, the planes before the cut come first, then the error. Pixels are the file's own values:
    no scaling, no inversion of MinIsWhite, no palette of a TIFF applied. They are read-only, because they may share
    memory with `loaded.data`.

    Args:
        loaded: The file.
        max_plane_mb: Largest plane that is decoded, in MB, checked before memory is taken.

    Yields:
        Planes of shape (y, x) or (y, x, 3), in native byte order, C-contiguous.

    Raises:
        TruncatedError: if the file ends before the image does.
        TooLargeError: if a plane is above the limit.
        UnsupportedError: if the content isn't an image, or of a kind that isn't read.
        UnreadableError: if the content is damaged.
        TryAgainError: if the storage goes away while a large file is read.
    """
    for plane in _decoded(loaded, max_plane_mb):
        # Always, not only where memory is shared: compiled kernels are built once per kind of array.
        plane.pixels.flags.writeable = False
        yield plane


def _decoded(loaded: Loaded, max_plane_mb: int) -> Iterator[Plane]:
    head = loaded.head(HEAD_BYTES)
    kind = kind_of(head)
    if kind is None:
        raise UnsupportedError(f"not a readable image but {describe(head)}. Read are {READABLE}")
    # The decoders are imported late: a run over PNG files needn't wait for tifffile, a scan for neither.
    with file_errors(loaded.path):
        if kind == "tiff":
            from tierflow.io.readers.tiff import read_tiff

            yield from read_tiff(loaded, max_plane_mb=max_plane_mb)
            return
        from tierflow.io.readers.raster import read_bmp, read_coded

        if kind == "bmp":
            with loaded.open() as handle:
                yield from read_bmp(handle, max_plane_mb=max_plane_mb)
        else:
            yield from read_coded(loaded, kind, max_plane_mb=max_plane_mb)

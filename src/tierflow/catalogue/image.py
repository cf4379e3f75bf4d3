"""An image of a search: what is known of it, and its pixels when they are asked for."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tierflow.errors import UnsupportedError
from tierflow.io.plane import Outline
from tierflow.io.readers import load, planes
from tierflow.io.readers.load import file_errors
from tierflow.io.readers.sniff import HEAD_BYTES, kind_of
from tierflow.io.remote import load_remote
from tierflow.objectstore.connect import StorePath
from tierflow.tiers.base import ChangedError
from tierflow.tiers.words import changed_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import DTypeLike, NDArray

    from tierflow.io.plane import Plane
    from tierflow.io.readers.load import Loaded
    from tierflow.objectstore.connect import Place

    Pixels = NDArray[np.generic[Any]]

LEADING = "PTCZ"
"""Axes of planes, outermost first: series (position), time, channel, depth."""
MAX_PLANE_MB = 1024


class Layout(NamedTuple):
    """How the planes of a file make one array.

    Attributes:
        axes: A letter per axis: P series, T time, C channel, Z depth, Y row, X column, S sample of a colour; Q where
            the planes make no full grid and stand in the order of the file. Axes of length 1 are left out but Y and X.
        shape: Length of each axis.
        dtype: Type of the pixels as stored.
        order: Place of each plane of the file among the planes of the array.
    """

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: tuple[int, ...]


@dataclass(slots=True)
class Image:
    """One image; nothing is read before it is asked for.

    ```python
    pixels = numpy.asarray(image)      # reads the file, checks its SHA-256, gives raw values as stored
    image.axes                         # such as "ZYX": what the axes of that array are
    ```

    Attributes:
        path: Where the file is now.
        record: What the catalogue says about it.
    """

    path: Place
    record: Mapping[str, Any] = field(repr=False)
    _layout: Layout | None = field(default=None, repr=False)

    @property
    def axes(self) -> str:
        """Letters of the axes, such as `YX`, `ZYX` or `TCZYX`; see `Layout`."""
        return self._known().axes

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes; the file is opened only when its record doesn't tell, and read only if it is no TIFF."""
        return self._known().shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels as stored."""
        return self._known().dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._known().shape)

    def planes(self) -> Iterator[Plane]:
        """Read the file and yield its planes one after another, with their series, channel, depth and time.

        Raises:
            ChangedError: if the file isn't the one that was measured.
            ObjectError: if it is missing, damaged or of an unsupported kind.
        """
        with _loaded(self.path) as loaded:
            recorded = self.record.get("sha256")
            if recorded is not None and loaded.sha256 != recorded:
                difference = f"SHA-256 {loaded.sha256[:12]}..., recorded {recorded[:12]}..."
                raise ChangedError(changed_text(self.path, difference))
            yield from planes(loaded, max_plane_mb=MAX_PLANE_MB)

    def load(self) -> Pixels:
        """Read all planes into one array.

        Returns:
            Raw values as stored, shape `self.shape`: (planes ..., y, x), or (planes ..., y, x, 3) for colours.

        Raises:
            UnsupportedError: if the planes differ in size or type: take them one by one by `planes()`.
            ChangedError: if the file isn't the one that was measured.
            ObjectError: if it is missing, damaged or of an unsupported kind.
        """
        found = list(self.planes())
        self._layout = layout = _layout_of(self.path, [_outline(plane) for plane in found])
        if len(found) == 1:
            return found[0].pixels
        pixels = np.empty((len(found), *found[0].pixels.shape), dtype=layout.dtype)
        for place, plane in zip(layout.order, found, strict=True):
            pixels[place] = plane.pixels
        return pixels.reshape(layout.shape)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Pixels:
        """Read all planes into one array, for `numpy.asarray(image)`; see `load`."""
        if copy is False:
            raise ValueError(f"{self.path} is on disk: its pixels can't be had without making an array")
        pixels = self.load()
        return pixels.copy() if dtype is None and copy else pixels if dtype is None else pixels.astype(dtype)

    def _outlines(self) -> list[Outline]:
        if isinstance(self.path, StorePath):
            return [_outline(plane) for plane in self.planes()]
        with file_errors(self.path), self.path.open("rb") as handle:
            kind = kind_of(handle.read(HEAD_BYTES))
        if kind == "tiff":
            # As in the readers: who looks at tables needn't wait for the decoders.
            from tierflow.io.readers.tiff_outline import outline_tiff

            return outline_tiff(self.path)
        return [_outline(plane) for plane in self.planes()]

    def _known(self) -> Layout:
        if self._layout is None:
            self._layout = _recorded(self.record) or _layout_of(self.path, self._outlines())
        return self._layout


@contextmanager
def _loaded(path: Place) -> Iterator[Loaded]:
    """Read a file, also from an object store; a large one from there lies on the disk meanwhile."""
    if isinstance(path, StorePath):
        with TemporaryDirectory(prefix="tierflow-read-") as scratch:
            yield load_remote(path, scratch=Path(scratch))
        return
    yield load(path)


def _recorded(record: Mapping[str, Any]) -> Layout | None:
    """Return the layout of a file with one plane, which its record tells; else None."""
    dtype, samples = record.get("dtype"), record.get("samples")
    if record.get("planes") != 1 or record.get("status") != "ok" or dtype is None:
        return None
    shape = (int(record["height"]), int(record["width"]))
    return (
        Layout("YX", shape, np.dtype(dtype), (0,))
        if samples == 1
        else Layout("YXS", (*shape, 3), np.dtype(dtype), (0,))
    )


def _outline(plane: Plane) -> Outline:
    return Outline((plane.series, plane.c, plane.z, plane.t), plane.pixels.shape, plane.pixels.dtype)


def _layout_of(path: Place, found: Sequence[Outline]) -> Layout:
    kinds = {(plane.shape, plane.dtype) for plane in found}
    if len(kinds) != 1:
        told = ", ".join(sorted(f"{' x '.join(map(str, shape))} {dtype}" for shape, dtype in kinds))
        raise UnsupportedError(f"{path} holds planes that make no array ({told}): take them one by one by planes()")
    [(shape, dtype)] = kinds
    last = "YXS" if len(shape) == 3 else "YX"
    positions = [(series, t, c, z) for (series, c, z, t), _, _ in found]
    values = [sorted(set(axis)) for axis in zip(*positions, strict=True)]
    sizes = [len(axis) for axis in values]
    if prod(sizes) != len(found) or len(set(positions)) != len(found):
        return Layout("Q" + last, (len(found), *shape), dtype, tuple(range(len(found))))
    order = tuple(
        int(np.ravel_multi_index([axis.index(at) for axis, at in zip(values, position, strict=True)], sizes))
        for position in positions
    )
    leading = [(letter, size) for letter, size in zip(LEADING, sizes, strict=True) if size > 1]
    axes = "".join(letter for letter, _ in leading) + last
    return Layout(axes, (*(size for _, size in leading), *shape), dtype, order)

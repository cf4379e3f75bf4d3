"""Folders full of trouble: bad files of many kinds beside good ones, for tests of anything that reads images."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Trouble:
    """What `make_hostile` wrote.

    Attributes:
        bad: Files that can't be measured: each must end in quarantine with a reason.
        odd: Readable files with odd content or names: they must be measured or end in quarantine, and harm nothing.
        good: Ordinary images that must be measured.
    """

    bad: list[Path]
    odd: list[Path]
    good: list[Path]


def tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    """Return the bytes of a TIFF of `pixels`; `options` are tifffile's."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **options)
    return stream.getvalue()


def scene(random: np.random.Generator, shape: tuple[int, int] = (96, 112)) -> NDArray[np.uint16]:
    """Return a small uint16 image, shape (y, x), with spots on a noisy background."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = random.normal(200, 8, shape)
    for _ in range(12):
        cy, cx, r = random.uniform(5, shape[0] - 5), random.uniform(5, shape[1] - 5), random.uniform(1.5, 4)
        image += 1500 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * r * r))
    return np.clip(image, 0, 65535).astype(np.uint16)


def _png(random: np.random.Generator) -> bytes:
    stream = io.BytesIO()
    Image.fromarray((scene(random) >> 4).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def _jpeg(random: np.random.Generator) -> bytes:
    stream = io.BytesIO()
    Image.fromarray((scene(random) >> 4).astype(np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


def _cut(make: Callable[[np.random.Generator], bytes]) -> Callable[[np.random.Generator], bytes]:
    def cut(random: np.random.Generator) -> bytes:
        whole = make(random)
        # The last eighth of a file may hold nothing but padding or an end marker.
        return whole[: int(random.integers(4, len(whole) * 7 // 8))]

    return cut


def _huge_tiff(random: np.random.Generator) -> bytes:
    """A header that declares 200,000 x 200,000 pixels and holds none of them."""
    side = int(random.integers(150_000, 250_000))
    entries = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1)]
    entries += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, side), (279, 4, 1, 2**32 - 2)]
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(entries)) + body + struct.pack("<I", 0)


def _huge_png(random: np.random.Generator) -> bytes:
    whole = bytearray(_png(random))
    whole[16:24] = struct.pack(">II", 2**30, 2**30)
    return bytes(whole)


def _all_nan(random: np.random.Generator) -> bytes:
    return tiff(np.full((40, 50), np.nan if random.random() < 0.5 else np.inf, np.float32))


_BAD: tuple[tuple[str, Callable[[np.random.Generator], bytes]], ...] = (
    ("empty.tif", lambda _: b""),
    ("one_byte.tif", lambda _: b"I"),
    ("magic_only.tif", lambda _: b"II*\0"),
    ("text.tif", lambda random: b"not an image\n" * int(random.integers(1, 400))),
    ("page.png", lambda _: b"<!doctype html><html><body>503 Service Unavailable</body></html>"),
    ("archive.tif", lambda _: b"PK\x03\x04" + bytes(300)),
    ("zeros.tif", lambda random: bytes(int(random.integers(100, 9000)))),
    ("noise.jpg", lambda random: random.bytes(int(random.integers(50, 5000)))),
    ("cut.tif", _cut(lambda random: tiff(scene(random)))),
    ("cut_lzw.tif", _cut(lambda random: tiff(scene(random), compression="lzw"))),
    ("cut_deflate.tif", _cut(lambda random: tiff(scene(random), compression="zlib"))),
    ("cut_stack.tif", _cut(lambda random: tiff(np.stack([scene(random)] * 4), photometric="minisblack"))),
    ("cut.png", _cut(_png)),
    ("huge.tif", _huge_tiff),
    ("huge.png", _huge_png),
    ("nan.tif", _all_nan),
    ("loop.tif", lambda _: struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", 0) + struct.pack("<I", 8)),
)

_ODD: tuple[tuple[str, Callable[[np.random.Generator], bytes]], ...] = (
    ("cut.jpg", _cut(_jpeg)),
    ("one pixel.tif", lambda _: tiff(np.array([[7]], np.uint16))),
    ("row.tif", lambda random: tiff(scene(random)[:1])),
    ("column.tif", lambda random: tiff(np.ascontiguousarray(scene(random)[:, :1]))),
    ("stack.tif", lambda random: tiff(np.stack([scene(random)] * 3), photometric="minisblack")),
    ("some_nan.tif", lambda random: tiff(np.where(scene(random) > 900, np.nan, 0.5).astype(np.float32))),
    ("some_inf.tif", lambda random: tiff(np.where(scene(random) > 900, -np.inf, 0.5).astype(np.float64))),
    ("rgb.tif", lambda random: tiff(np.stack([scene(random) >> 4] * 3, -1).astype(np.uint8), photometric="rgb")),
    ("constant.tif", lambda _: tiff(np.full((64, 64), 300, np.uint16))),
    ("tiff inside.png", lambda random: tiff(scene(random))),
    ("png inside.tif", _png),
    ("quote\"s and 's.tif", lambda random: tiff(scene(random))),
    ("line\nbreak.tif", lambda random: tiff(scene(random))),
    ("<script>alert(1)</script>.tif", lambda random: tiff(scene(random))),
    ("Zellkern_äöü_細胞核.tif", lambda random: tiff(scene(random))),
    ("percent%20and{brace}.tif", lambda random: tiff(scene(random))),
    ("-dash first.tif", lambda random: tiff(scene(random))),
    ("$(touch gone).tif", lambda random: tiff(scene(random))),
)


def make_hostile(folder: Path, *, bad: int = 200, odd: int = 36, good: int = 20, seed: int = 0) -> Trouble:
    """Write a folder of bad, odd and good files.

    Args:
        folder: Is made; gets sub-folders with spaces and unicode.
        bad: How many files that can't be measured; the kinds take turns. Links that lead nowhere, links in a ring
            and a file without read permission are among them.
        odd: How many readable files with odd content or names.
        good: How many ordinary images.
        seed: Of the random content and the places where files are cut.
    """
    random = np.random.default_rng(seed)
    trouble = Trouble(bad=[], odd=[], good=[])
    for number in range(good):
        trouble.good.append(_write(folder / "good" / f"image_{number:03}.tif", tiff(scene(random))))
    for number in range(odd):
        name, make = _ODD[number % len(_ODD)]
        trouble.odd.append(_write(folder / f"odd names {number // len(_ODD)} ü" / name, make(random)))
    trouble.bad.extend(_links(folder / "links"))
    closed = _write(folder / "closed" / "no permission.tif", tiff(scene(random)))
    closed.chmod(0)
    trouble.bad.append(closed)
    for number in range(bad - len(trouble.bad)):
        name, make = _BAD[number % len(_BAD)]
        trouble.bad.append(_write(folder / "bad" / f"{number:03}_{name}", make(random)))
    return trouble


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _links(folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    names = {
        "dangling.tif": "nowhere.tif",
        "ring_a.tif": "ring_b.tif",
        "ring_b.tif": "ring_a.tif",
        "self.tif": "self.tif",
    }
    for name, target in names.items():
        (folder / name).symlink_to(target)
    (folder / "up").symlink_to("..", target_is_directory=True)
    return [folder / name for name in names]

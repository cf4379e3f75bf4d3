"""An instrument in a thread: files come at a rate, each written in one of several manners, all from one seed."""

from __future__ import annotations

import hashlib
import io
import random
import threading
from pathlib import Path

import numpy as np
import tifffile


def image_bytes(value: int, *, size: int = 64) -> bytes:
    """Return a TIFF whose pixels lie behind all that tells of them, as most programs write it.

    Args:
        value: Makes images different from each other.
        size: Edge in pixels.
    """
    pixels = np.random.default_rng(value).integers(0, 250, (size, size)).astype(np.uint8)
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels)
    return stream.getvalue()


class Arriving:
    """Writes new files until it is told to stop.

    Args:
        root: Folder that they come to.
        seed: Of names, manners and pauses.
        rate: Files per second.

    Attributes:
        written: SHA-256 by path relative to the folder, of files that are whole.
    """

    def __init__(self, root: Path, *, seed: int, rate: float) -> None:
        self.root, self.rate = root, rate
        self.written: dict[str, str] = {}
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Arriving:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Finish the file that is being written, and end."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(self._random.expovariate(self.rate)):
            well = f"{self._random.choice('ABCDEFGH')}{self._random.randint(1, 12):02d}"
            self.one(f"plate{number // 100}/p_{well}_s{number % 100 + 1}_w1.tif", image_bytes(number))
            number += 1

    def one(self, name: str, data: bytes) -> None:
        """Write a file under a hidden name first, at one stroke, or in pieces with pauses."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        manner = self._random.choice(["rename", "rename", "whole", "pieces"])
        if manner == "rename":
            hidden = path.with_name(f".{path.name}.part")
            hidden.write_bytes(data)
            hidden.rename(path)
        elif manner == "whole":
            path.write_bytes(data)
        else:
            for start in range(0, len(data), len(data) // 4):
                with path.open("ab") as stream:
                    stream.write(data[start : start + len(data) // 4])
                self._stop.wait(0.05)
        self.written[name] = hashlib.sha256(data).hexdigest()

"""The instrument of a soak: writes images at a rate, in all the manners in which files come to a share."""

from __future__ import annotations

import hashlib
import io
import os
import random
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import tifffile

from tierflow.errors import TierflowError
from tierflow.stream.ledger import Ledger

MOVING = "C"
"""The tier that files are moved to: there is nothing left to replace."""
FOLDER_FILES = 500
LEAST_AGE_S = 15.0


def image_bytes(value: int, *, side: int) -> bytes:
    """Return a TIFF of noise; its pixels are the last that is written."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.random.default_rng(value).integers(0, 65535, (side, side), dtype=np.uint16))
    return stream.getvalue()


class Instrument(threading.Thread):
    """Writes files at a rate, in various manners; several may grow at a time.

    Attributes:
        written: SHA-256 of the last version of each file that is whole, by path relative to the folder.
        manners: How many were written in each manner.
    """

    def __init__(self, share: Path, output: Path, *, rate: float, side: int, seed: int) -> None:
        super().__init__(name="instrument")
        self.share, self.output, self.rate, self.side = share, output, rate, side
        self.written: dict[str, str] = {}
        self.manners: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._at: dict[str, float] = {}
        self._growing: list[threading.Thread] = []
        self.ending = threading.Event()

    def run(self) -> None:
        """Write until told to end, and finish what grows."""
        number = 0
        while not self.ending.wait(self._random.expovariate(self.rate)):
            data = image_bytes(number, side=self.side)
            manner = self._random.choices(
                ["renamed", "at once", "appended", "cut", "replaced"], weights=[50, 20, 15, 5, 10]
            )[0]
            name = self._old() if manner == "replaced" else None
            if name is None:
                manner = "renamed" if manner == "replaced" else manner
                row, column = number // 12 % 8, number % 12
                name = f"plate{number // FOLDER_FILES:03d}/p_{'ABCDEFGH'[row]}{column + 1:02d}_s{number}_w1.tif"
            self.manners[manner] += 1
            pause_s = {"appended": self._random.uniform(0.5, 8), "cut": self._random.uniform(3, 15)}.get(manner)
            if pause_s is None:
                self._whole(name, data, renamed=manner != "at once")
            else:
                pieces = 2 if manner == "cut" else 10
                thread = threading.Thread(target=self._grow, args=(name, data, pieces, pause_s))
                thread.start()
                self._growing = [*(one for one in self._growing if one.is_alive()), thread]
            number += 1
        for thread in self._growing:
            thread.join()

    def _old(self) -> str | None:
        """Return a file that was handled some time ago and still is where it was written."""
        with suppress(TierflowError, OSError), closing(Ledger(self.output, read_only=True)) as ledger:
            rows = ledger.query("SELECT path FROM objects WHERE state = 'done' AND tier != ? LIMIT 2000", (MOVING,))
            old = [
                name
                for (path,) in rows
                if (name := os.fsdecode(path)) in self._at and time.monotonic() - self._at[name] > LEAST_AGE_S
            ]
            return self._random.choice(old) if old else None
        return None

    def _whole(self, name: str, data: bytes, *, renamed: bool) -> None:
        path = self.share / name
        path.parent.mkdir(exist_ok=True)
        target = path.with_name(f".{path.name}.part") if renamed else path
        target.write_bytes(data)
        if renamed:
            target.rename(path)
        self._note(name, data)

    def _grow(self, name: str, data: bytes, pieces: int, seconds: float) -> None:
        path = self.share / name
        path.parent.mkdir(exist_ok=True)
        for piece in range(pieces):
            with path.open("ab") as stream:
                stream.write(data[len(data) * piece // pieces : len(data) * (piece + 1) // pieces])
            if piece < pieces - 1:
                time.sleep(seconds / (pieces - 1))
        self._note(name, data)

    def _note(self, name: str, data: bytes) -> None:
        self.written[name] = hashlib.sha256(data).hexdigest()
        self._at[name] = time.monotonic()

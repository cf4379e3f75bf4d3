"""An installed extractor that ends, or stops, the process that measures certain images, as a faulty library would."""

from __future__ import annotations

import os
from pathlib import Path

KILLS = 251
"""First pixel of an image whose measuring ends the process."""
HANGS = 252
"""First pixel of an image whose measuring never ends."""
SLOW = 253
"""First pixel of an image that takes two seconds."""

_MODULE = f"""
import hashlib, os, signal, time
from tierflow.features.base import Measurement
class Misbehaving:
    def __init__(self, settings): pass
    def units(self): return {{"misbehaving_first": ""}}
    def measure(self, plane):
        first = int(plane.pixels.flat[0])
        if plane.pixels.dtype.itemsize == 1 and first == {KILLS}:
            os.kill(os.getpid(), signal.SIGKILL)
        if first == {HANGS}:
            time.sleep(3600)
        if first == {SLOW}:
            time.sleep(2)
        digest = hashlib.sha256(plane.pixels.tobytes()).hexdigest()
        return Measurement(features={{"misbehaving_first": float(first)}}, pixel_hash=digest)
"""


def install_misbehaving(folder: Path) -> str:
    """Install it for processes that get the returned PYTHONPATH; its name is `misbehaving`."""
    (folder / "misbehaving-1.0.dist-info").mkdir(parents=True)
    (folder / "misbehaving_plugin.py").write_text(_MODULE)
    (folder / "misbehaving-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: misbehaving\nVersion: 1.0\n"
    )
    (folder / "misbehaving-1.0.dist-info" / "entry_points.txt").write_text(
        "[tierflow.extractors]\nmisbehaving = misbehaving_plugin:Misbehaving\n"
    )
    return os.pathsep.join(part for part in (str(folder), os.environ.get("PYTHONPATH")) if part)

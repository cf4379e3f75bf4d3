"""Make the machine code of all kernels ahead of time: `python -m tierflow.features.ahead FOLDER`.

For a container image, where every pod would otherwise spend half a minute on it; see `processor`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tierflow.features import processor
from tierflow.features.base import FeatureSettings
from tierflow.features.image_quality import ImageQuality
from tierflow.io.plane import Plane

# Every kind of pixel that kernels meet: 8 and 16 bits as they are, all else as real numbers, colours as gray.
_KINDS = ("uint8", "uint16", "int16", "float32")
# Sides with the prime factors 2, 3, 5 and larger ones, long and short, and one too small for any tile.
_SHAPES = ((256, 300), (210, 97), (3, 2))


def measure_all_kinds() -> None:
    """Measure a small plane of every kind and some shapes, which compiles every kernel for it."""
    extractor = ImageQuality(FeatureSettings(scales_px=(10, 20)))
    for kind in _KINDS:
        for shape in _SHAPES:
            pixels = np.random.default_rng(0).integers(0, 120, size=shape).astype(kind)
            # As readers give them: numba compiles anew for pixels that may be written to.
            pixels.flags.writeable = False
            extractor.measure(Plane(pixels=pixels))


def compile_ahead(folder: Path) -> list[str]:
    """Compile all kernels for each level that this machine's processor can run.

    Args:
        folder: Where each level gets a folder.

    Returns:
        The levels.
    """
    found = processor.levels_here()
    processes = []
    for level in found:
        # numba takes the kind of processor from the environment, once per process.
        own = {"NUMBA_CPU_NAME": level, "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(folder / level)}
        code = "from tierflow.features.ahead import measure_all_kinds; measure_all_kinds()"
        processes.append(subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **own}))
    for process in processes:
        process.wait()
    for process in processes:
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args)
    return found


if __name__ == "__main__":
    compile_ahead(Path(sys.argv[1]))

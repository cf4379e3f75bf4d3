"""How long features take on one core, next to reading and transforming the image and to CellProfiler's own module.

Example:
    python benchmarks/features.py
    python benchmarks/features.py --cellprofiler CP/bin/python --repeats 9 --image plane.tif

The image is 2160 x 2160 uint16 unless --image names another. `read` is reading the bytes of an uncompressed TIFF that
lies in the cache, `rfft2` the cast to float32 and one float32 rfft2: numpy's, and scipy's where it is installed, which
is the faster one. A CellProfiler environment is made from envs/cellprofiler.txt; its module runs in a process of its
own on the same core and pixels, between two rounds of tierflow's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from tierflow.features import signal
from tierflow.features.base import FeatureSettings
from tierflow.features.contrast import object_z
from tierflow.features.correlation import correlation_features
from tierflow.features.image_quality import ImageQuality
from tierflow.features.intensity import intensity_features
from tierflow.features.levels import entropy_bits, histogram, levels_of
from tierflow.features.measure import STRUCTURE_EDGES_PX, mid_band, structure_octaves
from tierflow.features.otsu import otsu_threshold
from tierflow.features.pixel_hash import hash_pixels
from tierflow.features.pixels import to_gray
from tierflow.features.residual import TILE_PX, residual_of
from tierflow.features.spectrum import band_power, power_slope, spectrum_of
from tierflow.features.tiles import local_focus_features, tile_sums
from tierflow.io.plane import Plane

try:
    from scipy.fft import rfft2 as scipy_rfft2
except ImportError:
    scipy_rfft2 = None

if TYPE_CHECKING:
    from collections.abc import Callable

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
HASTE_SCALES = (20,)
ALL_SCALES = (10, 20)


def synthetic_plane(size: int) -> np.ndarray:
    """Return cells on an uneven background with photon and read noise, as a 16-bit camera gives them."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    light = 120 * (1 - 0.2 * ((x / size - 0.5) ** 2 + (y / size - 0.5) ** 2))
    for cy, cx, radius in zip(*rng.uniform(0, size, (2, size // 4)), rng.uniform(8, 16, size // 4), strict=True):
        rows = slice(max(int(cy) - 40, 0), int(cy) + 41)
        columns = slice(max(int(cx) - 40, 0), int(cx) + 41)
        distance = np.hypot(y[rows, columns] - cy, x[rows, columns] - cx)
        light[rows, columns] += rng.uniform(300, 2500) / (1 + np.exp((distance - radius) / 1.5))
    return np.clip(np.round(rng.poisson(light) + rng.normal(100, 3, light.shape)), 0, 65535).astype(np.uint16)


def milliseconds(function: Callable[[], Any], repeats: int) -> float:
    """Return the median time of a call, after one that isn't counted."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3


def cellprofiler_set(plane: Plane, scales: tuple[int, ...]) -> dict[str, float]:
    """Return the features that CellProfiler has, and nothing else."""
    gray = to_gray(plane)
    levels = levels_of(gray)
    return {
        **intensity_features(levels, divisor=gray.divisor, area=gray.finite),
        **local_focus_features(tile_sums(gray.values, scales), scales=scales, per_unit=gray.divisor),
        **correlation_features(gray, levels, scales=scales),
        "ImageQuality_PowerLogLogSlope": power_slope(spectrum_of(gray.values, mean=levels.raw_mean, highest_px=0.0)),
    }


def groups(plane: Plane) -> dict[str, Callable[[], Any]]:
    """Return the parts of the work by name; each gets what earlier ones found."""
    gray = to_gray(plane)
    levels = levels_of(gray)
    values, mean = gray.values, levels.raw_mean
    sums = tile_sums(values, {*ALL_SCALES, TILE_PX})
    residual = residual_of(values, mean=mean)
    spectrum = spectrum_of(values, mean=mean, highest_px=STRUCTURE_EDGES_PX[-1])
    bands = (mid_band(None), *structure_octaves(max(values.shape)))
    return {
        "histogram of all values": lambda: levels_of(gray),
        "intensity, saturation, Otsu": lambda: intensity_features(levels, divisor=gray.divisor, area=values.size),
        "  of these Otsu": lambda: otsu_threshold(levels),
        "tiles of scale 20": lambda: tile_sums(values, HASTE_SCALES),
        "tiles of scales 10, 20": lambda: tile_sums(values, ALL_SCALES),
        "LocalFocusScore 10, 20": lambda: local_focus_features(sums, scales=ALL_SCALES, per_unit=gray.divisor),
        "Correlation 20": lambda: correlation_features(gray, levels, scales=HASTE_SCALES),
        "Correlation 10, 20": lambda: correlation_features(gray, levels, scales=ALL_SCALES),
        "transform for the slope": lambda: spectrum_of(values, mean=mean, highest_px=0.0),
        "transform for slope and bands": lambda: spectrum_of(values, mean=mean, highest_px=STRUCTURE_EDGES_PX[-1]),
        "PowerLogLogSlope": lambda: power_slope(spectrum),
        "bands (mid_band_share ...)": lambda: band_power(spectrum, bands),
        "noise and energies": lambda: residual_of(values, mean=mean),
        "object_z": lambda: object_z(values, sums[TILE_PX], scale=TILE_PX, sigma=residual.sigma),
        "background, illumination": lambda: (
            signal.background_level(levels),
            signal.illumination_ratio(sums[TILE_PX].mean()),
        ),
        "256 bins, entropy": lambda: (histogram(levels), entropy_bits(levels, whole_numbers=True)),
        "pixel hash": lambda: hash_pixels(plane.pixels),
    }


def run_cellprofiler(python: Path, pixels: np.ndarray, repeats: int) -> tuple[float, dict[str, float]]:
    """Return the median milliseconds of CellProfiler's module on the pixels, and its values."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pixels.npy"
        np.save(path, pixels)
        script = Path(__file__).with_name("cellprofiler_module.py")
        command = [str(python), str(script), str(path), str(repeats), *map(str, HASTE_SCALES)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return float(np.median(found["seconds"])) * 1e3, found["values"]


def largest_difference(ours: dict[str, float], theirs: dict[str, float]) -> float:
    """Return the largest relative difference (absolute for Correlation) over the features of both."""
    return max(
        abs(ours[name] - value) / (1.0 if "Correlation" in name else max(abs(value), 1e-300))
        for name, value in theirs.items()
    )


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cellprofiler", type=Path, help="python of a CellProfiler environment")
    parser.add_argument("--image", type=Path, help="gray TIFF of 8 or 16 bits to use instead of a made-up plane")
    parser.add_argument("--size", type=int, default=2160, help="edge of the made-up plane in pixels (default 2160)")
    parser.add_argument("--repeats", type=int, default=7, help="timed calls per line; the median counts (default 7)")
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)), help="core to run on")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    arguments = parse()
    if any(os.environ.get(k) != v for k, v in ONE_THREAD.items()):
        # Libraries read these when they are loaded, which has happened: start anew.
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_THREAD)
    os.sched_setaffinity(0, {arguments.core})
    pixels = tifffile.imread(arguments.image) if arguments.image else synthetic_plane(arguments.size)
    plane, repeats = Plane(pixels), arguments.repeats
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plane.tif"
        tifffile.imwrite(path, pixels)
        read = milliseconds(path.read_bytes, repeats)
    single = pixels.astype(np.float32)
    cast = milliseconds(lambda: pixels.astype(np.float32), repeats)
    transforms = {"numpy": np.fft.rfft2} | ({"scipy": scipy_rfft2} if scipy_rfft2 else {})
    bases = {
        name: read + cast + milliseconds(partial(transform, single), repeats) for name, transform in transforms.items()
    }
    extractor = ImageQuality(FeatureSettings(scales_px=ALL_SCALES))
    totals = {
        "CellProfiler-equal, scale 20": lambda: cellprofiler_set(plane, HASTE_SCALES),
        "all features, scales 10, 20": lambda: extractor.measure(plane),
    }
    print(f"{pixels.shape[0]} x {pixels.shape[1]} {pixels.dtype}, core {arguments.core}, median of {repeats} calls\n")
    print(f"{'':34}{'ms':>9}" + "".join(f"{'/ read + ' + name:>16}" for name in bases))

    def line(name: str, time_ms: float) -> None:
        print(f"{name:34}{time_ms:9.2f}" + "".join(f"{time_ms / base:16.2f}" for base in bases.values()))

    line("read", read)
    line("cast to float32", cast)
    for name, base in bases.items():
        line(f"read + cast + rfft2 of {name}", base)
    for name, function in groups(plane).items():
        line(name, milliseconds(function, repeats))
    found = {name: milliseconds(function, repeats) for name, function in totals.items()}
    if arguments.cellprofiler:
        theirs, values = run_cellprofiler(arguments.cellprofiler, pixels, max(3, repeats // 2))
        # Measured before and after, so that a change of the machine's load shows on both sides.
        again = {name: milliseconds(function, repeats) for name, function in totals.items()}
        found = {name: (found[name] + again[name]) / 2 for name in found}
    print()
    for name, time_ms in found.items():
        line(name, time_ms)
    if arguments.cellprofiler:
        line("CellProfiler's module, scale 20", theirs)
        ours = cellprofiler_set(plane, HASTE_SCALES)
        print(f"\nCellProfiler / tierflow, same features: {theirs / found['CellProfiler-equal, scale 20']:.1f} times")
        print(f"largest difference of a value: {largest_difference(ours, values):.1e}")


if __name__ == "__main__":
    main()

"""Where a stream is measured: in warm workers of the watching process, by `tierflow work`, or in jobs of Snakemake.

    python benchmarks/outside.py [--images 30] [--rate 2] [--side 512]

Seconds from the rename of an image into the watched folder to its record, for each way in turn, one after another.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scale import make_images
from watching import TIERFLOW, Arrivals, status, until, watching

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOK_S = 0.005
STREAM = Path(__file__).resolve().parents[1] / "workflows" / "stream.smk"
WAYS = ("warm workers of the watching process", "`tierflow work`", "Snakemake, `from_queue`")


@contextmanager
def elsewhere(way: str, output: Path, *, cores: int, log: Path) -> Iterator[None]:
    """Run what measures, where the watching process doesn't."""
    argv = [*TIERFLOW, "work", str(output), "--workers", str(cores)]
    if way == WAYS[2]:
        argv = [sys.executable, "-m", "snakemake", "--snakefile", str(STREAM), "--config", f"output={output}"]
        argv += ["--cores", str(cores), "--keep-going", "--queue-input-wait-time", "1"]
    if way == WAYS[0]:
        yield
        return
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with log.open("wb") as words:
        process = subprocess.Popen(argv, stdout=words, stderr=words, env=os.environ | {"PATH": path}, cwd=log.parent)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def waits_of(way: str, folder: Path, options: argparse.Namespace) -> np.ndarray:
    """Return the seconds that each image waited for its record."""
    images, output = folder / "images", folder / "results"
    images.mkdir(parents=True)
    # The first ones, which everybody begins with, don't count.
    make_images(folder / "new", objects=options.images + 2, side=options.side)
    coming = sorted((folder / "new").iterdir())
    first, coming = coming[:2], coming[2:]
    settings = [] if way == WAYS[0] else ["stream.batches.where=outside"]
    with watching(images, output, log=folder / "watch.log", settings=settings):
        until(lambda: (output / "config.yaml").exists() and (output / ".tierflow" / "stream").exists(), seconds=120)
        with elsewhere(way, output, cores=options.cores, log=folder / "elsewhere.log"):
            for path in first:
                path.rename(images / path.name)
            until(lambda: status(output)["states"]["done"] == len(first), seconds=300)
            time.sleep(3)
            return _follow(images, output, coming, options)


def _follow(images: Path, output: Path, coming: list[Path], options: argparse.Namespace) -> np.ndarray:
    arrivals = Arrivals(output)
    written: dict[str, float] = {}
    searchable: dict[str, float] = {}
    began = time.perf_counter()
    while len(searchable) < options.images:
        now = time.perf_counter()
        while coming and now - began >= len(written) / options.rate:
            path = coming.pop(0).rename(images / f"live-{len(written):04d}.tif")
            written[path.name] = now = time.perf_counter()
        seen = [path for path in arrivals.look() if path in written and path not in searchable]
        searchable |= dict.fromkeys(seen, time.perf_counter())
        if now - began > options.images / options.rate + 600:
            raise TimeoutError(f"{options.images - len(searchable)} of {options.images} aren't searchable")
        time.sleep(LOOK_S)
    return np.array([searchable[name] - written[name] for name in written])


def main() -> None:
    """Measure all ways and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--rate", type=float, default=2.0)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    print("| measured by | images | median s | 95 % s | greatest s | load of the machine |\n|---|---|---|---|---|---|")
    for number, way in enumerate(WAYS):
        with tempfile.TemporaryDirectory(prefix="tierflow-outside-") as folder:
            waits = waits_of(way, Path(folder) / str(number), options)
        median, p95 = np.percentile(waits, (50, 95))
        load = os.getloadavg()[0]
        print(f"| {way} | {len(waits)} | {median:.2f} | {p95:.2f} | {waits.max():.2f} | {load:.1f} |", flush=True)


if __name__ == "__main__":
    main()

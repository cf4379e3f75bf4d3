"""Many small images end to end: wall time, the part of it outside the steps, memory, a rerun with nothing to do.

    python benchmarks/scale.py                       # 20,000 images of 128 x 128, 2 cores
    python benchmarks/scale.py --objects 2000 --keep somewhere

Two figures tell what the engine costs: the time in which no step process ran at all (start, planning, end), and the
share of the cores' time without one (the same, gaps between jobs, and the last job of a stage running alone).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import tifffile

from tierflow.testing.hostile import scene

STEPS = ("scan", "extract", "baseline", "score", "policy", "place", "index", "report")


def make_images(folder: Path, *, objects: int, side: int) -> None:
    """Write a MetaXpress-like plate: 384 wells, as many sites as needed, two channels."""
    random = np.random.default_rng(1)
    scenes = [scene(random, (side, side)) for _ in range(64)]
    folder.mkdir(parents=True)
    for number in range(objects):
        well, channel = (number // 2) % 384, number % 2 + 1
        name = f"plate_{chr(65 + well // 24)}{well % 24 + 1:02}_s{number // 768 + 1}_w{channel}.tif"
        image = np.roll(scenes[number % 64], number, axis=1)
        tifffile.imwrite(folder / name, image, metadata=None)


def run(folder: Path, output: Path, cores: int, *extra: str) -> float:
    """Run tierflow and return the wall time in seconds."""
    argv = [
        sys.executable,
        "-m",
        "tierflow",
        "run",
        str(folder),
        "--output",
        str(output),
        "--cores",
        str(cores),
        *extra,
    ]
    started = time.perf_counter()
    subprocess.run(argv, check=True, capture_output=True)
    return time.perf_counter() - started


def score(output: Path) -> float:
    """Score again by another function and return the wall time in seconds."""
    started = time.perf_counter()
    argv = [sys.executable, "-m", "tierflow", "score", str(output), "--set", "score.function=haste"]
    subprocess.run(argv, check=True, capture_output=True)
    return time.perf_counter() - started


def costs(output: Path) -> dict[str, list[dict[str, float]]]:
    """Return the cost lines of every step's log."""
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for log in sorted((output / "logs").rglob("*.log")):
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith('{"step"'):
                cost = json.loads(line)
                found[cost["step"]].append(cost)
    return found


def covered(intervals: list[tuple[float, float]]) -> float:
    """Return the length of the union of some intervals."""
    total, end = 0.0, float("-inf")
    for start, stop in sorted(intervals):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def main() -> None:
    """Make the images, run three times, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=128, help="edge of an image in pixels")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="work here and keep everything")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = options.keep or Path(scratch)
        folder, output = root / "plate", root / "out"
        if not folder.exists():
            make_images(folder, objects=options.objects, side=options.side)
        wall_s = run(folder, output, options.cores)
        found = costs(output)
        print(f"{options.objects:,} images of {options.side} x {options.side}, {options.cores} cores")
        print(f"{'step':10} {'jobs':>5} {'in step s':>10} {'process s':>10} {'peak MB':>8}")
        for step in STEPS:
            rows = found[step]
            in_step, process = sum(r["step_s"] for r in rows), sum(r["process_s"] for r in rows)
            print(f"{step:10} {len(rows):5} {in_step:10.1f} {process:10.1f} {max(r['peak_mb'] for r in rows):8.0f}")
        rows = [row for step_rows in found.values() for row in step_rows]
        process_s, step_s = sum(r["process_s"] for r in rows), sum(r["step_s"] for r in rows)
        covered_s = covered([(r["ended_at"] - r["process_s"], r["ended_at"]) for r in rows])
        print(f"wall {wall_s:.1f} s = {options.objects / wall_s:.0f} images/s")
        print(f"no step process was running for {wall_s - covered_s:.1f} s = {1 - covered_s / wall_s:.1%}")
        alone_s = sum(r["process_s"] for step in ("scan", "baseline", "policy", "report") for r in found[step])
        waiting = 1 - (process_s + (options.cores - 1) * alone_s) / (options.cores * wall_s)
        print(f"cores without a step process, those that wait for a data set step not counted: {waiting:.1%}")
        print(f"of the processes' time, start of Python and imports: {1 - step_s / process_s:.1%}")
        print(f"rerun with nothing to do: {run(folder, output, options.cores):.1f} s")
        print(f"another score and policy, no file touched: {score(output):.1f} s")
        print(f"the same carried out: {run(folder, output, options.cores, '--set', 'score.function=haste'):.1f} s")


if __name__ == "__main__":
    main()

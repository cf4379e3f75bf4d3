"""A watched folder: seconds from a file to its record, images per second beside a batch run, memory over many objects.

    python benchmarks/stream.py latency                     # 5 images/s for 2 min on top of 100,000 objects
    python benchmarks/stream.py latency --history 0 --rate 20
    python benchmarks/stream.py throughput --objects 5000   # the same images watched and by `tierflow run`
    python benchmarks/stream.py memory --objects 50000      # slope of memory over objects

A record counts as searchable when the table of the catalogue that holds it stands in its place: every search that
begins then finds it. That is looked at every 5 ms; at the end a search finds all of them by name.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from scale import make_images
from watching import Arrivals, memory_mb, own_memory_mb, status, tierflow, until, watching

LOOK_S = 0.005


def latency(root: Path, options: argparse.Namespace) -> None:
    """Print percentiles of the time from the rename into place to the record."""
    images, output = root / "images", root / "results"
    if not options.history:
        images.mkdir(parents=True)
    elif not (output / "report.html").exists():
        if not images.exists():
            make_images(images, objects=options.history, side=options.history_side)
        tierflow("run", str(images), "--output", str(output), "--cores", "2")
    count = round(options.rate * options.seconds)
    mark = f"live_{os.getpid()}"
    make_images(root / f"new_{mark}", objects=count, side=options.side)
    coming = sorted((root / f"new_{mark}").iterdir())
    (images / mark).mkdir()
    with watching(images, output, log=root / "watch.log") as process:
        until(lambda: _is_settled(output, options.history), seconds=600)
        time.sleep(3)
        arrivals = Arrivals(output)
        written: dict[str, float] = {}
        searchable: dict[str, float] = {}
        began = time.perf_counter()
        while len(searchable) < count:
            now = time.perf_counter()
            while coming and now - began >= len(written) / options.rate:
                path = coming.pop(0)
                hidden = images / mark / f".{path.name}.part"
                hidden.write_bytes(path.read_bytes())
                hidden.rename(images / mark / path.name)
                written[f"{mark}/{path.name}"] = now = time.perf_counter()
            seen = [path for path in arrivals.look() if path in written and path not in searchable]
            searchable |= dict.fromkeys(seen, time.perf_counter())
            if now - began > options.seconds + 120:
                raise TimeoutError(f"{count - len(searchable)} of {count} aren't searchable after two more minutes")
            time.sleep(LOOK_S)
        own, workers = memory_mb(process)
    found = json.loads(tierflow("facets", "tier", f"path:{mark}*", "--from", str(output), "--format", "json"))
    waits = np.array([searchable[path] - written[path] for path in written])
    median, p95, worst = (*np.percentile(waits, (50, 95)), waits.max())
    print("| history | images/s | images | median s | 95 % s | worst s | found by search | watcher MB | workers MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    print(
        f"| {options.history:,} | {options.rate:g} | {count} of {options.side} px | {median:.3f} | {p95:.3f} | "
        f"{worst:.3f} | {sum(row['objects'] for row in found)} | {own:.0f} | {workers:.0f} |"
    )


def throughput(root: Path, options: argparse.Namespace) -> None:
    """Print images per second of a batch run and of a watched folder that gets the same images at once."""
    images = root / "images"
    make_images(images, objects=options.objects, side=options.side)
    print("| how | images | s | images/s | of the batch run |")
    print("|---|---|---|---|---|")
    rates: list[float] = []
    for name in ("batch", "stream") * options.rounds:
        output = root / f"{name}-{len(rates)}"
        began = time.perf_counter()
        if name == "batch":
            tierflow("run", str(images), "--output", str(output), "--cores", "2")
        else:
            tierflow("watch", str(images), "--output", str(output), "--once")
        seconds = time.perf_counter() - began
        rates.append(options.objects / seconds)
        share = f"{rates[-1] / rates[-2]:.2f}" if name == "stream" else ""
        print(f"| {name} | {options.objects:,} | {seconds:.1f} | {rates[-1]:.0f} | {share} |", flush=True)


def memory(root: Path, options: argparse.Namespace) -> None:
    """Print memory, without shared libraries, at several numbers of objects, and the slope over the second half."""
    images, output = root / "images", root / "results"
    images.mkdir(parents=True)
    source = root / "source"
    make_images(source, objects=min(options.objects, 1000), side=options.side)
    files = sorted(source.iterdir())
    points: list[tuple[int, float, float]] = []
    print("| objects done | watcher MB | workers MB |")
    print("|---|---|---|")
    with watching(images, output, log=root / "watch.log") as process:
        made = 0
        while not points or points[-1][0] < options.objects:
            while made < options.objects and made < (points[-1][0] if points else 0) + 2 * options.step:
                folder = images / f"{made // 1000:04d}"
                folder.mkdir(exist_ok=True)
                os.link(files[made % len(files)], folder / files[made % len(files)].name)
                made += 1
            goal = min((len(points) + 1) * options.step, options.objects)
            until(lambda goal=goal: _done(output) >= goal, seconds=3600, every_s=2)
            points.append((_done(output), *own_memory_mb(process)))
            print(f"| {points[-1][0]:,} | {points[-1][1]:.0f} | {points[-1][2]:.0f} |", flush=True)
    late = np.array(points[len(points) // 2 :])
    slopes = [np.polyfit(late[:, 0], late[:, column], 1)[0] * 10_000 for column in (1, 2)]
    print(f"\nslope over the second half: watcher {slopes[0]:+.2f}, workers {slopes[1]:+.2f} MB per 10,000 objects")


def _done(output: Path) -> int:
    try:
        return int(status(output)["states"]["done"])
    except Exception:
        return 0


def _is_settled(output: Path, objects: int) -> bool:
    try:
        states = status(output)["states"]
    except Exception:
        return False
    return sum(states.values()) >= objects and all(
        states[name] == 0 for name in ("seen", "waiting", "ready", "running", "failed")
    )


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("latency", "throughput", "memory"))
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--history", type=int, default=100_000)
    parser.add_argument("--history-side", type=int, default=32)
    parser.add_argument("--rate", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--side", type=int, default=128, help="edge of an image in pixels")
    parser.add_argument("--step", type=int, default=2500, help="objects between two looks at the memory")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="work here and keep everything, so that a history is made once")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = options.keep or Path(scratch)
        {"latency": latency, "throughput": throughput, "memory": memory}[options.what](root, options)


if __name__ == "__main__":
    main()

"""Try the real steps on a small scale, to learn what a job of each costs on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tierflow import tables
from tierflow.errors import TierflowError, TryAgainError
from tierflow.io.atomic import write_text
from tierflow.scan import store
from tierflow.sizing.estimate import StepCost
from tierflow.sizing.trial_folder import SHARD, as_if_kept, build
from tierflow.steps import STEPS
from tierflow.steps.places import arguments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from tierflow.config import Config
    from tierflow.scan.rows import Row

FEW = 8
# In this order each finds the tables that it needs.
_STEPS = ("baseline", "score", "policy", "place", "index")
_COPIED_MB = 16
_CROWD_S = 1.5
_MOST_REPEATS = 50
# Stand-ins can't be many enough to show what a step over the whole data set takes per object, in s:
# benchmarks/scan.py, 100,000 files in 7.3 s (2026-11-21).
_KNOWN_OBJECT_CPU_S = {"scan": 7.0e-5}


@dataclass(frozen=True, slots=True)
class Probed:
    """What the probe measured: seconds by object, its extract table, and the cost of its process."""

    cpu_s: dict[str, float]
    wall_s: dict[str, float]
    table: pa.Table
    cost: dict[str, float]


@dataclass(frozen=True, slots=True)
class Tried:
    """What was learned: the cost of each step, and the scores that the trial's objects got."""

    steps: dict[str, StepCost]
    score: pa.Table


def probe(folder: Path, *, config_file: Path, root: Path, objects: Sequence[tuple[Row, int]], seconds: float) -> Probed:
    """Measure the objects of the sample, one after the other, in a process of its own.

    Args:
        folder: Where files may be written.
        config_file: The configuration.
        root: The input folder.
        objects: Scan rows with the number of their stratum.
        seconds: No object is begun later than this.

    Raises:
        TryAgainError: if the storage went away.
        TierflowError: if the process failed otherwise.
    """
    table, times = folder / "probe.parquet", folder / "probe.json"
    listed = [(row.object_id, row.path_bytes.hex(), stratum) for row, stratum in objects]
    order = {"config": str(config_file), "table": str(table), "times": str(times), "root": str(root)}
    write_text(folder / "order.json", json.dumps(order | {"objects": listed, "seconds": seconds}))
    _process([sys.executable, "-m", "tierflow.sizing.probe", str(folder / "order.json")], folder)
    found = json.loads(times.read_text(encoding="utf-8"))
    return Probed(
        cpu_s=_means(found["objects"], "cpu_s"),
        wall_s=_means(found["objects"], "wall_s"),
        table=tables.read(table),
        cost=found["cost"],
    )


def slowdown(
    folder: Path, *, config_file: Path, root: Path, objects: Sequence[tuple[Row, int]], probed: Probed, cores: int
) -> float:
    """Measure some of the sample again in several processes at once: what neighbours cost each worker.

    Cores share memory, caches and power, and often there are two hardware threads to a core.

    Args:
        folder: Where files may be written.
        config_file: The configuration.
        root: The input folder.
        objects: Scan rows with the number of their stratum, as for `probe`.
        probed: What one process alone took.
        cores: Processes at once.

    Returns:
        Wall time of an object by its wall time in one process alone, at least 1.

    Raises:
        TierflowError: if a process failed.
    """
    some: list[tuple[Row, int]] = []
    alone = 0.0
    for row, stratum in objects:
        if row.object_id in probed.wall_s and (not some or alone + probed.wall_s[row.object_id] <= _CROWD_S):
            some.append((row, stratum))
            alone += probed.wall_s[row.object_id]
    # Long enough that the processes meet, though none begins at the same moment.
    some *= max(min(int(_CROWD_S / max(alone, 1e-6)), _MOST_REPEATS), 1)
    folders = [folder / f"crowd{number}" for number in range(cores)]
    for each in folders:
        each.mkdir()

    def measure(where: Path) -> Probed:
        return probe(where, config_file=config_file, root=root, objects=some, seconds=_CROWD_S)

    with ThreadPoolExecutor(cores) as pool:
        found = list(pool.map(measure, folders))
    together = sum(sum(each.wall_s.values()) for each in found)
    same = sum(probed.wall_s[name] for each in found for name in each.wall_s)
    return max(together / max(same, 1e-9), 1.0)


def try_steps(
    folder: Path, *, config: Config, root: Path, rows: Sequence[Row], donors: Sequence[Sequence[str]], probed: Probed
) -> Tried:
    """Run every step but `extract` on some objects.

    A process for each gives its memory and its time with everything that starting costs; the same step within this
    process on few and on all of the objects gives the time per object.

    Args:
        folder: Where files may be written.
        config: The user's configuration.
        root: The input folder.
        rows: Scan rows of the objects.
        donors: For each object those whose measurements it takes.
        probed: The measurements.
    """

    def made(name: str, count: int) -> Path:
        return build(folder / name, config=config, rows=rows[:count], measured=probed.table, donors=donors[:count])

    few = min(FEW, len(rows))
    _within(made("warm", few))
    small, large = _within(made("small", few)), _within(made("large", len(rows)))
    output = made("apart", len(rows))
    costs = {step: _apart(step, output) for step in _STEPS}
    score = tables.read(output / "score" / f"{SHARD}.parquet")
    as_if_kept(output, root)
    STEPS["index"].function(**arguments("index", output, shard=SHARD))
    costs["report"] = _apart("report", output)
    scanned = folder / "scanned"
    write_text(scanned / "config.yaml", (output / "config.yaml").read_text(encoding="utf-8"))
    costs["scan"] = _apart("scan", scanned)
    n = len(rows)
    per_object = {step: max(large[step] - small[step], 0.0) / max(n - few, 1) for step in large}
    steps = {
        step: _step_cost(cost, per_object.get(step, _KNOWN_OBJECT_CPU_S.get(step, 0.0)), n)
        for step, cost in costs.items()
    }
    return Tried(steps, score)


def first_job(folder: Path, *, config_file: Path, row: Row, root: Path, probed: Probed) -> StepCost:
    """Run the real step `extract` on one object, to learn what a job costs besides its objects."""
    output = folder / "first"
    write_text(output / "config.yaml", config_file.read_text(encoding="utf-8"))
    store.save(output / "scan" / "shards", {0: [row]}, store.Former(), source=str(root), dataset="plan")
    cost = _apart("extract", output)
    own = probed.cpu_s[row.object_id]
    peak = max(cost["peak_mb"], probed.cost["peak_mb"])
    wall = sum(probed.wall_s.values()) / max(sum(probed.cpu_s.values()), 1e-9)
    return StepCost(max(cost["cpu_s"] - own, 0.0), 0.0, max(wall, 1.0), peak, 1)


def copy_cpu_per_byte(folder: Path) -> float:
    """Return the processor time, in s per byte, of a verified copy: read, hash, write, read back, hash."""
    source, target = folder / "copied", folder / "copy"
    source.write_bytes(os.urandom(1 << 20) * _COPIED_MB)
    started = time.process_time()
    data = source.read_bytes()
    hashlib.sha256(data).hexdigest()
    target.write_bytes(data)
    hashlib.sha256(target.read_bytes()).hexdigest()
    return (time.process_time() - started) / len(data)


def _means(times: Sequence[Mapping[str, Any]], key: str) -> dict[str, float]:
    """Return the mean time of each object, which may have been measured several times."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for each in times:
        found[each["object_id"]].append(each[key])
    return {name: sum(some) / len(some) for name, some in found.items()}


def _step_cost(cost: dict[str, float], per_object: float, objects: int) -> StepCost:
    return StepCost(
        fixed_cpu_s=max(cost["cpu_s"] - per_object * objects, 0.0),
        object_cpu_s=per_object,
        wall_per_cpu=max(cost["process_s"] / max(cost["cpu_s"], 1e-9), 1.0),
        peak_mb=cost["peak_mb"],
        objects=objects,
    )


def _within(output: Path) -> dict[str, float]:
    """Return the processor time of each step in this process."""
    seconds = {}
    for step in _STEPS:
        started = time.process_time()
        STEPS[step].function(**arguments(step, output, shard=SHARD))
        seconds[step] = time.process_time() - started
    return seconds


def _apart(step: str, output: Path) -> dict[str, float]:
    """Run a step in a process of its own and return what its cost line says."""
    places = arguments(step, output, shard=SHARD)
    argv = STEPS[step].argv(lambda _, name: str(places[name]))
    last = _process(argv, output).strip().splitlines()[-1]
    cost: dict[str, Any] = json.loads(last)
    return cost


def _process(argv: Sequence[str], folder: Path) -> str:
    # By way of a shell that stays: of a process that this one starts itself, Linux gives as largest memory what this
    # one holds, if that is more.
    through = ["/bin/sh", "-c", '"$@"; exit $?', "sh", *argv]
    done = subprocess.run(through, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode == TryAgainError.exit_code:
        raise TryAgainError(f"the sample could not be measured: {_tail(done.stderr)}")
    if done.returncode:
        raise TierflowError(f"the sample could not be measured ({Path(argv[2]).name}): {_tail(done.stderr)}")
    return done.stderr


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-5:])

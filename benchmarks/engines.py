"""The same images by several engines: wall time, and what each engine costs per shard.

    python benchmarks/engines.py                                    # 20,000 images by snakemake --cores 2 and by Slurm
    python benchmarks/engines.py --objects 1000 --shard-objects 100 --engines slurm,slurm-plain,slurm-arrays
    python benchmarks/engines.py --engines argo --namespace tierflow --keep FOLDER

Slurm's programs must answer (`sinfo`). For Argo, `argo/overlays/local` is installed in the namespace, FOLDER/images and
FOLDER/results are its volumes (images and results are put there), and `kubectl` reaches it. An engine is one function
that runs tierflow to the end and one line in ENGINES.

`overhead` is the cores' time in which they did no step's work, divided by the number of shards: starts of engines and
jobs, waiting for status, and idle cores. `by Slurm's jobs` is processor time: it hardly depends on what else runs here;
it needs Slurm's daemon in a control group (cpuacct) whose folder `--cpuacct` names.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from scale import make_images

from tierflow.sizing.actual import read_lines, sum_up

if TYPE_CHECKING:
    from collections.abc import Callable

# What a test machine allows: its Slurm starts jobs at once, and asking it often harms nobody.
IMPATIENT = {"slurm-init-seconds-before-status-checks": 2, "latency-wait": 15}
# An empty table of groups is refused by Snakemake; a group of one job changes nothing.
UNGROUPED = {"groups": {"scan": "scan"}, "group-components": {"scan": 1}}


@dataclass(frozen=True)
class Task:
    """What an engine is to do: the folder of images, where results go, settings, and the cores it may use."""

    images: Path
    output: Path
    settings: tuple[str, ...]
    cores: int
    namespace: str

    def tierflow(self, *arguments: str) -> None:
        """Run `tierflow run` for this task."""
        sets = [text for setting in self.settings for text in ("--set", setting)]
        argv = [sys.executable, "-m", "tierflow", "run", str(self.images), "--output", str(self.output), *sets]
        subprocess.run([*argv, *arguments], check=True, capture_output=True)


def snakemake(task: Task) -> None:
    """Snakemake on this machine."""
    task.tierflow("--cores", str(task.cores))


def slurm(task: Task) -> None:
    """The profile as it is."""
    _by_profile(task, "slurm", IMPATIENT)


def slurm_plain(task: Task) -> None:
    """The same, every step of a shard a job of its own."""
    _by_profile(task, "slurm", IMPATIENT | UNGROUPED)


def slurm_arrays(task: Task) -> None:
    """The same, the jobs of a step sent as one array."""
    _by_profile(task, "slurm", IMPATIENT | UNGROUPED | {"slurm-array-jobs": "extract,score,place,index"})


def cluster_generic(task: Task) -> None:
    """Slurm by its commands alone, without a plug-in for it."""
    _by_profile(task, "cluster-generic", {"latency-wait": 15, "seconds-between-status-checks": 2})


def cluster_generic_plain(task: Task) -> None:
    """The same, every step of a shard a job of its own."""
    _by_profile(task, "cluster-generic", UNGROUPED | {"latency-wait": 15, "seconds-between-status-checks": 2})


def argo(task: Task) -> None:
    """Argo Workflows on Kubernetes; as many pods at a time as there are cores."""
    sets = [text for setting in task.settings for text in ("--set", setting)]
    argv = [sys.executable, "-m", "tierflow", "argo", "submit", f"/images/{task.images.name}", *sets, "--wait"]
    argv += ["--output", f"/results/{task.output.name}", "--namespace", task.namespace]
    # Slurm's profile sends this number of shards to one job, too.
    argv += ["-p", "place-shards-per-job=10", "--parallelism", str(task.cores)]
    subprocess.run(argv, check=True, capture_output=True)


ENGINES: dict[str, Callable[[Task], None]] = {
    "snakemake": snakemake,
    "slurm": slurm,
    "slurm-plain": slurm_plain,
    "slurm-arrays": slurm_arrays,
    "cluster-generic": cluster_generic,
    "cluster-generic-plain": cluster_generic_plain,
    "argo": argo,
}


def _by_profile(task: Task, profile: str, changes: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "profile.yaml").write_text(yaml.safe_dump(changes))
        task.tierflow("--profile", profile, "--profile", folder)


def cpu_s(group: Path | None) -> float:
    """Return the processor time, in seconds, of a control group so far; NaN without one."""
    return float("nan") if group is None else int((group / "cpuacct.usage").read_text()) / 1e9


def main() -> None:
    """Make the images, run every engine, print a table as the documentation has it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=128, help="edge of an image in pixels")
    parser.add_argument("--shard-objects", type=int, default=1000)
    parser.add_argument("--cores", type=int, default=2, help="cores that this machine really has")
    parser.add_argument("--engines", default="snakemake,slurm", help=f"some of {','.join(ENGINES)}")
    parser.add_argument("--namespace", default="tierflow", help="Kubernetes namespace, for Argo")
    parser.add_argument("--cpuacct", type=Path, help="control group of Slurm's daemon")
    parser.add_argument("--keep", type=Path, help="work here (a folder that Slurm's nodes see) and keep everything")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = options.keep or Path(scratch)
        # Pods know these two folders as /images and /results.
        images = root / "images" / f"plate-{options.objects}-{options.side}"
        if not images.exists():
            make_images(images, objects=options.objects, side=options.side)
        print(f"{options.objects:,} images of {options.side} x {options.side}, {options.cores} cores")
        print("| engine | shards | wall s | images/s | steps' CPU s | core s per shard besides | CPU s by jobs |")
        print("|---|---|---|---|---|---|---|")
        for name in options.engines.split(","):
            output = root / "results" / f"out-{name}-{time.time():.0f}"
            settings = (f"scan.shard_objects={options.shard_objects}", "catalogue.run=same")
            task = Task(
                images=images, output=output, settings=settings, cores=options.cores, namespace=options.namespace
            )
            used, started = cpu_s(options.cpuacct), time.perf_counter()
            ENGINES[name](task)
            wall_s, used = time.perf_counter() - started, cpu_s(options.cpuacct) - used
            shards = len(json.loads((output / "scan" / "summary.json").read_text())["shards"])
            steps_s = sum(spent.cpu_s for spent in sum_up(read_lines(output / "logs")).values())
            overhead_s = (wall_s * options.cores - steps_s) / shards
            row = (
                name,
                shards,
                f"{wall_s:.0f}",
                f"{options.objects / wall_s:.0f}",
                f"{steps_s:.0f}",
                f"{overhead_s:.1f}",
            )
            print(f"| {' | '.join(map(str, row))} | {used:.0f} |", flush=True)


if __name__ == "__main__":
    main()

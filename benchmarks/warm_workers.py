"""What a micro-batch of one image costs besides measuring: warm workers against three ways by Snakemake.

    python benchmarks/warm_workers.py [--batches 20] [--edge 512]

Every way carries out step `extract` on the same batch folders, one image each, and leaves the same table.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import tifffile

from tierflow import tables
from tierflow.config import Config
from tierflow.config_io import write as write_config
from tierflow.scan.rows import Row, to_table
from tierflow.steps import STEPS
from tierflow.steps.places import arguments
from tierflow.stream.workers import Pool

SHARD = "00000"
SNAKEFILE = """
rule extract:
    input: shard="scan/shards/{shard}.parquet"
    output: table="extract/{shard}.parquet"
    params: config="config.yaml"
    log: "logs/extract/{shard}.log"
    shell: %r
"""


def make_batches(folder: Path, *, batches: int, edge: int) -> list[Path]:
    """Write images and a batch folder for each."""
    source = folder / "in"
    source.mkdir()
    config = Config(input=str(source))
    made = []
    for number in range(batches):
        path = source / f"{number:04d}.tif"
        tifffile.imwrite(path, np.random.default_rng(number).poisson(300, (edge, edge)).astype(np.uint16))
        row = Row(
            path.name,
            path.name,
            path.name.encode(),
            path.stat().st_size,
            1,
            False,
            path.name,
            "generic",
            "p",
            *[None] * 8,
        )
        batch = folder / "batches" / f"{number:08d}"
        write_config(batch / "config.yaml", config)
        tables.write(batch / "scan" / "shards" / f"{SHARD}.parquet", to_table([row]), input=str(source), dataset="b")
        (batch / "Snakefile").write_text(SNAKEFILE % STEPS["extract"].shell())
        made.append(batch)
    return made


def table_of(batch: Path) -> Path:
    """Return the table that is made."""
    return arguments("extract", batch, shard=SHARD)["table"]


def by_warm_worker(batches: list[Path]) -> list[float]:
    """Hand batches to a warm worker; seconds of each."""
    heard = threading.Event()
    pool = Pool(batches[0] / "config.yaml", batches[0], size=1, hang_s=60, wake=heard.set)
    pool.start()
    while not pool.idle():
        heard.wait(0.1)
        heard.clear()
        pool.events()
    took = []
    for number, batch in enumerate(batches):
        started = time.perf_counter()
        paths = arguments("extract", batch, shard=SHARD)
        pool.send(number, shard=paths["shard"], table=paths["table"])
        while not any(event.kind == "done" for event in pool.events()):
            heard.wait(1.0)
            heard.clear()
        took.append(time.perf_counter() - started)
    pool.close()
    return took


def by_fork(batches: list[Path]) -> list[float]:
    """Call SnakemakeApi in a child of this process, which has imported Snakemake once; seconds of each."""
    from snakemake.api import SnakemakeApi
    from snakemake.scheduling.greedy import SchedulerSettings
    from snakemake.settings.enums import Quietness
    from snakemake.settings.types import DAGSettings, OutputSettings, ResourceSettings, SchedulingSettings

    def call(batch: Path) -> None:
        with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
            workflow = api.workflow(
                resource_settings=ResourceSettings(cores=1), snakefile=batch / "Snakefile", workdir=batch
            )
            dag = workflow.dag(dag_settings=DAGSettings(targets=frozenset([f"extract/{SHARD}.parquet"])))
            dag.execute_workflow(
                executor="local",
                scheduler_settings=SchedulerSettings(),
                scheduling_settings=SchedulingSettings(scheduler="greedy"),
            )

    took = []
    for batch in batches:
        started = time.perf_counter()
        child = os.fork()
        if child == 0:
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            code = 1
            try:
                call(batch)
                code = 0
            finally:
                os._exit(code)
        if os.waitpid(child, 0)[1]:
            raise SystemExit(f"Snakemake failed in {batch}")
        took.append(time.perf_counter() - started)
    return took


def by_fork_alone(batches: list[Path]) -> list[float]:
    """The same with a job that only makes the file: Snakemake's own share."""
    for batch in batches:
        (batch / "Snakefile").write_text(SNAKEFILE % "cp {input.shard} {output.table} 2> {log}")
    return by_fork(batches)


def by_command(batches: list[Path]) -> list[float]:
    """Start `snakemake` for each batch; seconds of each."""
    took = []
    for batch in batches:
        started = time.perf_counter()
        argv = [
            sys.executable,
            "-m",
            "snakemake",
            f"extract/{SHARD}.parquet",
            "--cores",
            "1",
            "--directory",
            str(batch),
        ]
        argv += ["--snakefile", str(batch / "Snakefile"), "--quiet", "all"]
        subprocess.run(argv, check=True, capture_output=True)
        took.append(time.perf_counter() - started)
    return took


def by_step(batches: list[Path]) -> list[float]:
    """Start `tierflow step extract` for each batch, without Snakemake; seconds of each."""
    took = []
    for batch in batches:
        started = time.perf_counter()
        paths = arguments("extract", batch, shard=SHARD)
        argv = STEPS["extract"].argv(partial(_path_of, paths))
        subprocess.run(argv, check=True, capture_output=True)
        took.append(time.perf_counter() - started)
    return took


def _path_of(paths: dict[str, Path], _kind: str, name: str) -> str:
    return str(paths[name])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--edge", type=int, default=512, help="edge of an image in pixels")
    parser.add_argument("--ways", nargs="*", help="beginnings of names; all without it")
    options = parser.parse_args()
    ways = {
        "warm worker": (by_warm_worker, 5),
        "`tierflow step extract`, a process each": (by_step, 1),
        "`SnakemakeApi` in a fork, a job each": (by_fork, 1),
        "`SnakemakeApi` in a fork, a job that only copies a file": (by_fork_alone, 1),
        "`snakemake`, a process each": (by_command, 1),
    }
    print("| way | median s | greatest s | batches |\n|---|---|---|---|")
    for name, (way, times) in ways.items():
        if options.ways and not name.strip("`").startswith(tuple(options.ways)):
            continue
        with tempfile.TemporaryDirectory(prefix="tierflow-warm-") as folder:
            batches = make_batches(Path(folder), batches=options.batches * times, edge=options.edge)
            took = way(batches)
            missing = [batch for batch in batches if tables.read(table_of(batch)).num_rows != 1]
            if missing:
                raise SystemExit(f"{name}: no table in {missing[0]}")
            print(f"| {name} | {statistics.median(took):.3f} | {max(took):.3f} | {len(took)} |", flush=True)


if __name__ == "__main__":
    main()

"""What engines add to the work itself: one table of measured figures with their sources."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Engine:
    """Overhead of one engine.

    Attributes:
        name: Name of the engine.
        run_s: Seconds once per run (start, planning, end).
        job_s: Seconds per job that its worker is held besides the step's own process.
        stage_s: Seconds until the engine notices that a stage is done and begins the next.
        jobs_per_s: Jobs that the engine can begin per second, whatever the number of workers.
        shards_per_job: Shards that one job handles, by step; 1 where nothing is said.
        source: Where the figures come from.
    """

    name: str
    run_s: float
    job_s: float
    stage_s: float
    jobs_per_s: float
    source: str
    shards_per_job: Mapping[str, int] = field(default_factory=dict)


ENGINES: Mapping[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine(
            "local",
            run_s=3.0,
            job_s=0.01,
            stage_s=0.1,
            jobs_per_s=170.0,
            source=(
                "Snakemake 9.27 on 2 cores: a start of 1.8 s and 1 s at the end, 5.7 ms per job among 10,000 "
                "(2026-11); benchmarks/scale.py: no step running for 5 to 9 % of 104 s"
            ),
        ),
        Engine(
            "slurm",
            run_s=5.0,
            job_s=4.0,
            stage_s=10.0,
            jobs_per_s=1.0,
            source=(
                "Slurm 22.05 with Snakemake's plugin 2.8 on one node of 2 cores: 30 trivial jobs in 76 s, 6 in 20 s; "
                "every job starts Snakemake twice; states are asked for every 5 to 40 s (2026-11). "
                "Waiting for free nodes is not in it"
            ),
        ),
        Engine(
            "argo",
            run_s=10.0,
            job_s=4.5,
            stage_s=2.0,
            jobs_per_s=1.2,
            source=(
                "Argo 3.7 on a Kubernetes 1.33 of one node with 2 cores: a small step takes 3 to 6 s, 40 steps 34 s "
                "(2026-11). Waiting for nodes to be started is not in it"
            ),
            shards_per_job={"score": 50, "place": 5, "index": 5, "publish": 5},
        ),
    )
}

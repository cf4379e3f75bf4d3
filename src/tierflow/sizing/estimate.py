"""From what was listed and measured to processor time, wall time and memory. Pure: numbers in, numbers out."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tierflow.sizing.plan_table import Span, StepRow, WallRow
from tierflow.steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tierflow.sizing.engines import Engine

REPLICATES = 1_000
PERCENTS = (5.0, 95.0)

# Peak memory, in kB, that a step over the whole data set takes per object beyond what was measured on the trial:
# benchmarks/scan.py, 100,000 files, 361 MB against 131 MB for a few (2026-11-21). Assumed for all such steps.
DATASET_KB_PER_OBJECT = 2.3


@dataclass(frozen=True, slots=True)
class Measured:
    """The measured units of a stratum.

    Attributes:
        units: Units of the stratum, measured or not.
        size: Their bytes.
        cpu_s: Processor time to read and measure each unit of the sample, shape (unit,).
        wall_s: Wall time, likewise.
        measured_size: Bytes of the units of the sample.
    """

    units: int
    size: int
    cpu_s: NDArray[np.float64]
    wall_s: NDArray[np.float64]
    measured_size: int


@dataclass(frozen=True, slots=True)
class StepCost:
    """What a job of a step costs: `fixed_cpu_s` + objects x `object_cpu_s`.

    Attributes:
        fixed_cpu_s: Processor time of a job with nothing to do, the start of Python included.
        object_cpu_s: Processor time per object.
        wall_per_cpu: Wall time by processor time of the process.
        peak_mb: Memory of the job that was measured.
        objects: Objects of that job.
        byte_cpu_s: Processor time per byte that is copied.
    """

    fixed_cpu_s: float
    object_cpu_s: float
    wall_per_cpu: float
    peak_mb: float
    objects: int
    byte_cpu_s: float = 0.0


def stratified(strata: Sequence[Measured], *, random: np.random.Generator, wall: bool = False) -> Span:
    """Estimate the sum over all units from the measured ones.

    Sum over strata of units x mean of the sample; a stratum without a measured unit gets the seconds per byte of the
    others. The interval is a bootstrap within strata (W. G. Cochran, Sampling Techniques, 1977, for the correction by
    the part that was measured; a stratum with one measured unit shows no spread).

    Args:
        strata: The sample.
        random: Random numbers.
        wall: Sum wall time in place of processor time.

    Returns:
        Seconds, with a 90 % interval.
    """
    values = [(s, s.wall_s if wall else s.cpu_s) for s in strata]
    seconds, size = sum(float(v.sum()) for _, v in values), sum(s.measured_size for s, _ in values)
    per_byte = seconds / max(size, 1)
    total = 0.0
    deviation = np.zeros(REPLICATES)
    for stratum, times in values:
        n = len(times)
        if n == 0:
            total += stratum.size * per_byte
            continue
        total += stratum.units * float(times.mean())
        if n > 1:
            drawn = times[random.integers(0, n, (REPLICATES, n))].mean(axis=1) - times.mean()
            # A bootstrap of n values spreads too little by (n - 1) / n; what was measured is not in doubt.
            deviation += stratum.units * drawn * math.sqrt(n / (n - 1) * max(1 - n / stratum.units, 0.0))
    low, high = np.percentile(total + deviation, PERCENTS)
    return Span(value=total, low=max(float(low), 0.0), high=float(high))


def job_sizes(shards: Sequence[tuple[int, int]], per_job: int) -> list[tuple[int, int]]:
    """Return objects and bytes of jobs that handle `per_job` neighbouring shards each.

    >>> job_sizes([(10, 1), (10, 1), (4, 1)], 2)
    [(20, 2), (4, 1)]
    """
    groups = (shards[start : start + per_job] for start in range(0, len(shards), per_job))
    return [(sum(o for o, _ in group), sum(b for _, b in group)) for group in groups]


def job_cpu(
    step: str,
    *,
    shards: Sequence[tuple[int, int]],
    cost: StepCost,
    engine: Engine,
    extract_s: float,
    copied_share: float,
) -> list[float]:
    """Return the processor time of each job of a step.

    Args:
        step: Name of the step.
        shards: Objects and bytes of each shard.
        cost: What was measured of the step.
        engine: Says how many shards a job handles.
        extract_s: Processor time of measuring all objects; it is shared out over shards by bytes.
        copied_share: Share of the bytes that `place` copies.
    """
    objects, size = sum(o for o, _ in shards), sum(b for _, b in shards)
    if STEPS[step].scope == "dataset":
        jobs = [(objects, size)]
    else:
        jobs = job_sizes(shards, engine.shards_per_job.get(step, 1))
    seconds = []
    for some, held in jobs:
        work = extract_s * held / max(size, 1) if step == "extract" else 0.0
        copied = held * copied_share * cost.byte_cpu_s if step == "place" else 0.0
        seconds.append(cost.fixed_cpu_s + some * cost.object_cpu_s + work + copied)
    return seconds


def with_copies(cost: StepCost, byte_cpu_s: float) -> StepCost:
    """Return a cost with the time of copying a byte."""
    return replace(cost, byte_cpu_s=byte_cpu_s)


def peak_mb(
    step: str, *, cost: StepCost, shards: Sequence[tuple[int, int]], read_ahead_mb: int, largest_mb: tuple[float, float]
) -> float:
    """Return the memory of a step's largest job, in MB.

    Args:
        step: Name of the step.
        cost: What was measured; of `extract` the process that measured one object after the other.
        shards: Objects and bytes of each shard.
        read_ahead_mb: What `extract` may hold of coming files.
        largest_mb: Size of the largest file of the input, and of the largest that was measured, in MB.
    """
    if step == "extract":
        every, measured = largest_mb
        waiting = min(read_ahead_mb, max(max(size for _, size in shards) / 1e6 - every, 0.0))
        # Memory for one object grows with it: the file, its pixels, and copies in float32.
        return cost.peak_mb + waiting + 4 * max(every - measured, 0.0)
    if STEPS[step].scope == "dataset":
        return cost.peak_mb + max(sum(o for o, _ in shards) - cost.objects, 0) * DATASET_KB_PER_OBJECT / 1000
    return cost.peak_mb


def makespan(jobs: Sequence[float], workers: int, *, jobs_per_s: float = math.inf) -> float:
    """Return the time in which workers do jobs, each taking the next when it is free, none begun faster than the rate.

    >>> makespan([3.0, 3.0, 2.0], 2)
    5.0
    >>> makespan([1.0] * 4, 4, jobs_per_s=1.0)
    4.0
    """
    free = [0.0] * min(workers, max(len(jobs), 1))
    end = 0.0
    for number, job in enumerate(jobs):
        start = max(heapq.heappop(free), number / jobs_per_s)
        heapq.heappush(free, start + job)
        end = max(end, start + job)
    return end


def wall_s(jobs: Mapping[str, Sequence[float]], *, engine: Engine, workers: int) -> float:
    """Return the wall time of a run: step after step, each over when its last job is.

    Args:
        jobs: Wall time of every job by step, in the order of the steps.
        engine: Its overheads.
        workers: Jobs at a time.
    """
    stages = (
        makespan([job + engine.job_s for job in times], workers, jobs_per_s=engine.jobs_per_s) + engine.stage_s
        for times in jobs.values()
    )
    return engine.run_s + sum(stages)


def crowded(workers: int, *, cores: int, slowdown: float) -> float:
    """Return what neighbours do to a worker's wall time: nothing to one alone, all of it where every core is busy.

    Args:
        workers: Workers at a time; more than there were cores are taken to sit on more machines of the kind.
        cores: Cores that were busy at once when it was measured.
        slowdown: Wall time then by wall time alone.

    >>> [crowded(n, cores=3, slowdown=1.5) for n in (1, 2, 3, 50)]
    [1.0, 1.25, 1.5, 1.5]
    """
    return 1.0 + (slowdown - 1.0) * (min(workers, cores) - 1) / max(cores - 1, 1)


def wall_rows(
    jobs: Mapping[str, Sequence[float]],
    *,
    engine: Engine,
    workers: Sequence[int],
    crowding: tuple[int, float] = (1, 1.0),
) -> tuple[WallRow, ...]:
    """Return the wall time for each number of workers.

    Args:
        jobs: Wall time of every job by step, each measured alone.
        engine: Its overheads.
        workers: Numbers of jobs at a time.
        crowding: `cores` and `slowdown` of `crowded`.
    """
    rows = []
    for n in workers:
        factor = crowded(n, cores=crowding[0], slowdown=crowding[1])
        slowed = {step: [job * factor for job in times] for step, times in jobs.items()}
        rows.append(WallRow(engine=engine.name, workers=n, seconds=round(wall_s(slowed, engine=engine, workers=n), 1)))
    return tuple(rows)


def total_cpu_hours(steps: Sequence[StepRow]) -> Span:
    """Return the processor time of all steps, in hours. Only that of `extract` is in doubt, so its interval adds."""
    return Span(
        value=sum(row.cpu_s.value for row in steps) / 3600,
        low=sum(row.cpu_s.low for row in steps) / 3600,
        high=sum(row.cpu_s.high for row in steps) / 3600,
    )

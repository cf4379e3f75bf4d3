"""What a run did need: processor time from the cost lines of its logs, bytes from its catalogue."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tierflow import config_io, tables
from tierflow.clock import utc_now
from tierflow.errors import InputMissingError
from tierflow.render.snakemake import configuration_of
from tierflow.scoring.columns import compute as pc
from tierflow.scoring.folder import shard_names
from tierflow.sizing import estimate, money
from tierflow.sizing.finish import bill, general_warnings, per_day, tier_rows
from tierflow.sizing.owners import owners_of
from tierflow.sizing.plan_table import GroupRow, Plan, Span, StepRow, WallRow
from tierflow.steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from tierflow.config import Config
    from tierflow.sizing.finish import Priced

COLUMNS = ("tier", "driver", "placement", "bytes", "plate", "path", "path_bytes", "destination", "unit_id")


@dataclass(frozen=True, slots=True)
class Spent:
    """What the processes of one step used.

    Attributes:
        jobs: Times that the step was carried out, repetitions included.
        cpu_s: Their processor time.
        peak_mb: Memory of the largest.
    """

    jobs: int
    cpu_s: float
    peak_mb: float


def make_bill(output: Path, priced: Priced) -> Plan:
    """Return the table of a run with what it did need.

    A log holds what every repetition of its job left there, so that all of it counts as spent; Snakemake begins a log
    anew when it repeats a job, and what the earlier attempt used is then not known. A job that was killed leaves no
    line.

    Args:
        output: Output folder of a run.
        priced: Prices.

    Raises:
        InputMissingError: if it holds no run, or the run has no catalogue yet.
        TableError: if a table is damaged.
    """
    config = config_io.load(configuration_of(output))
    names = shard_names(output / "scan" / "summary.json")
    objects = _catalogue(output)
    lines = read_lines(output / "logs")
    spent = sum_up(lines)
    steps = tuple(
        StepRow(step=step, jobs=used.jobs, cpu_s=Span.known(used.cpu_s), peak_mb=used.peak_mb)
        for step, used in spent.items()
    )
    size = int(pc.sum(objects["bytes"]).as_py() or 0)
    rows = tier_rows(_tiers(objects, config), objects=objects.num_rows, priced=priced, config=config)
    paid = bill(steps, rows, priced=priced, size=size)
    hours = estimate.total_cpu_hours(steps)
    return Plan(
        kind="actual",
        made_at=utc_now(),
        input=config.input or "",
        policy=config.policy.kind,
        objects=objects.num_rows,
        units=len(pc.unique(objects["unit_id"])),
        size=size,
        shards=len(names),
        steps=steps,
        cpu_hours=hours,
        peak_mb=max((row.peak_mb for row in steps), default=0.0),
        wall=tuple(wall_of(lines)),
        tiers=rows,
        egress_gb=priced.egress_share * size / money.GB,
        money=paid,
        per_day=per_day(priced, objects=max(objects.num_rows, 1), size=size, cpu_hours=hours.value, paid=paid),
        groups=tuple(
            _groups(objects, output=output, config=config, priced=priced, paid_compute=paid.compute, hours=hours.value)
        ),
        warnings=tuple(_warnings(spent, priced, config)),
    )


def read_lines(logs: Path) -> list[dict[str, Any]]:
    """Return the cost lines of all logs, in the order of their ends; lines that aren't whole are passed over."""
    found = []
    for path in logs.rglob("*.log"):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith('{"step"'):
                try:
                    found.append(json.loads(line))
                except ValueError:
                    continue
    return sorted((line for line in found if line.get("step") in STEPS), key=lambda line: line["ended_at"])


def sum_up(lines: Iterable[Mapping[str, Any]]) -> dict[str, Spent]:
    """Add up cost lines by step, in the order of the steps.

    A line says what its process used since it began. Where one process did several pieces of work (`tierflow job run`),
    each line but the first counts with what was added since the one before. A line without `process` is of a process
    of its own.

    Args:
        lines: Cost lines in the order of their ends.
    """
    before: dict[tuple[str, int], float] = {}
    jobs: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in lines:
        cpu_s = float(line["cpu_s"])
        if "process" in line:
            # A number is given again to a later process, but not with the same beginning.
            key = (str(line["process"]), round((line["ended_at"] - line["process_s"]) / 10))
            near = next((k for k in (key, (key[0], key[1] - 1), (key[0], key[1] + 1)) if k in before), key)
            cpu_s, before[near] = max(cpu_s - before.get(near, 0.0), 0.0), cpu_s
        jobs[line["step"]].append((cpu_s, float(line["peak_mb"])))
    return {
        step: Spent(len(jobs[step]), round(sum(c for c, _ in jobs[step]), 4), max(p for _, p in jobs[step]))
        for step in STEPS
        if step in jobs
    }


def wall_of(lines: Sequence[Mapping[str, Any]]) -> Iterable[WallRow]:
    """Yield the time from the first process's begin to the last one's end, with the most processes that ran at a time.

    Pauses between repeated runs are in it.
    """
    if not lines:
        return
    begin = min(line["ended_at"] - line["process_s"] for line in lines)
    ends = [line["ended_at"] for line in lines]
    events = sorted(
        [(end - line["process_s"], 1) for line, end in zip(lines, ends, strict=True)] + [(e, -1) for e in ends]
    )
    most = int(np.cumsum([change for _, change in events]).max())
    yield WallRow(engine="actual", workers=most, seconds=round(max(ends) - begin, 1))


def _catalogue(output: Path) -> pa.Table:
    paths = sorted((output / "catalogue").glob("[0-9]*.parquet"))
    if not paths:
        raise InputMissingError(f"{output} has no catalogue yet: let the run end, then ask again")
    config = config_io.load(output / "config.yaml")
    more = ["metadata.owner"] if "owner" in config.metadata.fields else []
    return pa.concat_tables([tables.read(path, [*COLUMNS, *more]) for path in paths], promote_options="permissive")


def _tiers(objects: pa.Table, config: Config) -> dict[str, tuple[float, Span]]:
    summed = objects.group_by("tier").aggregate([("bytes", "sum"), ("bytes", "count"), ("tier", "count")]).to_pylist()
    by_name = {row["tier"]: row for row in summed}
    order = [
        *(name for name in (*config.tiers, "quarantine")),
        *(n for n in by_name if n not in {*config.tiers, "quarantine"}),
    ]
    return {
        name: (float(by_name[name]["tier_count"]), Span.known(float(by_name[name]["bytes_sum"] or 0)))
        if name in by_name
        else (0.0, Span.known(0.0))
        for name in order
    }


def _groups(
    objects: pa.Table, *, output: Path, config: Config, priced: Priced, paid_compute: float, hours: float
) -> Iterable[GroupRow]:
    """Yield what belongs to each owner and plate; processor time is shared out by bytes."""
    owners = owners_of(objects, output=output, config=config)
    tiers = list(config.tiers)
    sizes = np.asarray(pc.fill_null(objects["bytes"], 0).to_numpy(), dtype=np.float64)
    price = {
        name: priced.offer.storage[priced.offer.class_of(name, tiers)].gb_month / money.GB
        for name in (*tiers, "quarantine")
    }
    monthly = np.array([price.get(str(tier), 0.0) for tier in objects["tier"].to_pylist()]) * sizes
    total = max(float(sizes.sum()), 1.0)
    for by, names in (("owner", owners), ("plate", objects["plate"].to_pylist())):
        members: defaultdict[str, list[int]] = defaultdict(list)
        for position, name in enumerate(names):
            members[name or "(none)"].append(position)
        for name, positions in sorted(members.items(), key=lambda item: -float(sizes[item[1]].sum())):
            share = float(sizes[positions].sum()) / total
            yield GroupRow(
                by="owner" if by == "owner" else "plate",
                name=name,
                objects=len(positions),
                size=int(sizes[positions].sum()),
                cpu_s=share * hours * 3600,
                month=float(monthly[positions].sum()),
                compute=share * paid_compute,
            )


def _warnings(spent: Mapping[str, Spent], priced: Priced, config: Config) -> Iterable[str]:
    yield from general_warnings(priced, config)
    missing = [step for step in STEPS if step not in spent and step != "publish"]
    if missing:
        yield f"no cost was found in the logs of {', '.join(missing)}: their processor time is missing from the sum"

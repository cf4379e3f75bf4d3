"""From a workload and prices to the table: the same for a plan and for a bill. Pure."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tierflow.sizing import estimate, money
from tierflow.sizing.engines import ENGINES
from tierflow.sizing.plan_table import DayRow, Plan, Span, StepRow
from tierflow.steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tierflow.config import Config
    from tierflow.sizing.engines import Engine
    from tierflow.sizing.plan_table import Money, TierRow
    from tierflow.sizing.prices import Offer

DAYS_PER_MONTH = 365.25 / 12
GB = money.GB


@dataclass(frozen=True, slots=True)
class Priced:
    """How a result is priced and used.

    Attributes:
        name: Name of the offer.
        offer: Prices.
        engine: Engine for the wall time.
        workers: Numbers of workers, each with one core.
        egress_share: Share of all bytes that leaves the provider once.
        images_per_day: Objects per day of a steady stream; None for none.
        today: Date by which the prices' age is judged.
    """

    name: str
    offer: Offer
    engine: Engine = field(default_factory=lambda: ENGINES["local"])
    workers: tuple[int, ...] = (1, 2)
    egress_share: float = 0.0
    images_per_day: float | None = None
    today: datetime.date = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).date())


@dataclass(frozen=True, slots=True)
class Workload:
    """What was listed and measured.

    Attributes:
        root: The input folder.
        units: Units.
        shards: Objects and bytes of each shard.
        extract_s: Processor time of reading and measuring all objects.
        steps: Cost of a job of each step.
        copy_cpu_per_byte: Processor time of a verified copy, in s per byte.
        tiers: Objects and bytes by tier.
        largest_mb: Largest file of the input and of the sample, in MB.
        crowding: Cores that were busy at once, and how much slower each then was; see `estimate.crowded`.
        warnings: What a person should know.
    """

    root: str
    units: int
    shards: Sequence[tuple[int, int]]
    extract_s: Span
    steps: Mapping[str, estimate.StepCost]
    copy_cpu_per_byte: float
    tiers: Mapping[str, tuple[float, Span]]
    largest_mb: tuple[float, float]
    crowding: tuple[int, float] = (1, 1.0)
    warnings: Sequence[str] = ()


def finish(workload: Workload, priced: Priced, *, config: Config, kind: Literal["estimate", "actual"]) -> Plan:
    """Work out the table.

    Args:
        workload: What was listed and measured.
        priced: Prices and use.
        config: Drivers of the tiers, order of the tiers.
        kind: What the table is called.
    """
    objects, size = sum(o for o, _ in workload.shards), sum(b for _, b in workload.shards)
    copied = sum(
        span.value for tier, (_, span) in workload.tiers.items() if config.tier(tier).driver not in money.KEEPING
    )
    jobs = _jobs(workload, priced.engine, copied_share=copied / size if size else 0.0)
    steps = _step_rows(workload, jobs, config)
    walls = {step: [cpu * workload.steps[step].wall_per_cpu for cpu in times] for step, times in jobs.items()}
    hours = estimate.total_cpu_hours(steps)
    rows = tier_rows(workload.tiers, objects=objects, priced=priced, config=config)
    paid = bill(steps, rows, priced=priced, size=size)
    return Plan(
        kind=kind,
        made_at="",
        input=workload.root,
        policy=config.policy.kind,
        objects=objects,
        units=workload.units,
        size=size,
        shards=len(workload.shards),
        steps=steps,
        cpu_hours=hours,
        peak_mb=max(row.peak_mb for row in steps),
        wall=estimate.wall_rows(walls, engine=priced.engine, workers=priced.workers, crowding=workload.crowding),
        tiers=rows,
        egress_gb=priced.egress_share * size / GB,
        money=paid,
        per_day=per_day(priced, objects=objects, size=size, cpu_hours=hours.value, paid=paid),
        warnings=(*workload.warnings, *general_warnings(priced, config)),
    )


def _jobs(workload: Workload, engine: Engine, *, copied_share: float) -> dict[str, list[float]]:
    """Return the processor time of every job by step, in the order of the steps."""
    found = {}
    for step in STEPS:
        if step in workload.steps:
            cost = workload.steps[step]
            if step == "place":
                cost = estimate.with_copies(cost, workload.copy_cpu_per_byte)
            found[step] = estimate.job_cpu(
                step,
                shards=workload.shards,
                cost=cost,
                engine=engine,
                extract_s=workload.extract_s.value,
                copied_share=copied_share,
            )
    return found


def _step_rows(workload: Workload, jobs: Mapping[str, Sequence[float]], config: Config) -> tuple[StepRow, ...]:
    rows = []
    for step, times in jobs.items():
        total = sum(times)
        doubt = workload.extract_s if step == "extract" else Span.known(0.0)
        peak = estimate.peak_mb(
            step,
            cost=workload.steps[step],
            shards=workload.shards,
            read_ahead_mb=config.extract.read_ahead_mb,
            largest_mb=workload.largest_mb,
        )
        span = Span(value=total, low=total - doubt.value + doubt.low, high=total - doubt.value + doubt.high)
        rows.append(StepRow(step=step, jobs=len(times), cpu_s=span, peak_mb=round(peak, 1)))
    return tuple(rows)


def tier_rows(
    tiers: Mapping[str, tuple[float, Span]], *, objects: int, priced: Priced, config: Config
) -> tuple[TierRow, ...]:
    """Return a row per tier, and one for what stays at the input beside copies.

    Every object is read once to be measured; that is asked of the input.
    """
    names = list(config.tiers)
    rows = []
    stays, size = 0.0, Span.known(0.0)
    for tier, (count, span) in tiers.items():
        driver = config.tier(tier).driver
        rows.append(money.tier_row(tier, driver=driver, objects=count, size=span, offer=priced.offer, tiers=names))
        if driver not in money.KEEPING:
            stays, size = stays + count, size.plus(span)
    # What is copied is read a second time.
    source = money.tier_row(
        money.INPUT, driver="-", objects=stays, size=size, offer=priced.offer, tiers=names, reads=objects + stays
    )
    return (*rows, source)


def bill(steps: Sequence[StepRow], rows: Sequence[TierRow], *, priced: Priced, size: int) -> Money:
    """Return the sums of money."""
    hours = sum(row.cpu_s.value for row in steps) / 3600
    memory = sum(row.cpu_s.value / 3600 * row.peak_mb / 1000 for row in steps)
    compute = money.compute_money(priced.offer, cpu_hours=hours, memory_gb_hours=memory)
    return money.sums(
        rows,
        offer=priced.offer,
        name=priced.name,
        compute=compute,
        egress_gb=priced.egress_share * size / GB,
        egress_from=[row for row in rows if row.tier != money.INPUT],
    )


def per_day(priced: Priced, *, objects: int, size: int, cpu_hours: float, paid: Money) -> DayRow | None:
    """Return what a steady stream needs when its images are like those of the plan."""
    if priced.images_per_day is None:
        return None
    daily = priced.images_per_day / objects
    return DayRow(
        images_per_day=priced.images_per_day,
        cpu_hours_per_day=cpu_hours * daily,
        cores=cpu_hours * daily / 24,
        gb_per_month=size * daily * DAYS_PER_MONTH / GB,
        storage_after_12_months=paid.storage_month * daily * DAYS_PER_MONTH * 12,
        compute_per_month=paid.compute * daily * DAYS_PER_MONTH,
    )


def general_warnings(priced: Priced, config: Config) -> list[str]:
    """Return what the table leaves out, and that its prices are old."""
    warnings = [old] if (old := priced.offer.age_warning(priced.today)) else []
    if config.catalogue.elasticsearch.url:
        warnings.append("the step publish is not in the plan: its time is the server's")
    far = [name for name in config.tiers if "://" in (config.tiers[name].root or "")]
    if far:
        warnings.append(f"tiers {', '.join(far)} are at an address: the time of sending files there is not in the plan")
    return warnings

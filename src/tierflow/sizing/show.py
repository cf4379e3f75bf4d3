"""A plan or a bill for people, for programs and for spreadsheets."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from tierflow.summary import human_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from tierflow.sizing.plan_table import Plan, Span, StepRow

MOST_GROUPS = 10


def show(plan: Plan, console: Console, *, estimate: Plan | None = None) -> None:
    """Print a table.

    Args:
        plan: What to print.
        console: Where to.
        estimate: The plan that was made before the run; printed beside the actual figures.
    """
    console.print(
        f"{plan.objects:,} objects in {plan.units:,} units and {plan.shards:,} shards, {human_bytes(plan.size)}: "
        f"{plan.input}",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    if plan.sample:
        note = plan.sample
        doubt = (
            "all were measured" if note.objects == plan.objects else "( - ) is the 90 % interval of the sample alone"
        )
        console.print(
            f"sample: {note.objects} objects ({human_bytes(note.size)}) of {note.strata} classes of size, read and "
            f"measured in {note.seconds:.1f} s, {note.slowdown:.2f} times as long with {note.cores} cores busy; "
            f"{doubt}. Planning took {plan.took_s:.0f} s.",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    console.print(_steps(plan, estimate))
    console.print(_walls(plan, estimate))
    console.print(_tiers(plan, estimate))
    console.print(_money(plan, estimate))
    if plan.per_day:
        console.print(_stream(plan))
    for by in ("owner", "plate"):
        if any(row.by == by for row in plan.groups):
            console.print(_groups(plan, by))
    for warning in plan.warnings:
        console.print(f"note: {warning}", soft_wrap=True, highlight=False, markup=False)


def _grid(title: str, first: str, *others: str) -> Table:
    grid = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    grid.add_column(first, no_wrap=True)
    for heading in others:
        grid.add_column(heading, justify="right")
    return grid


def _steps(plan: Plan, estimate: Plan | None) -> Table:
    beside = ["planned CPU", "planned memory", "actual / planned"] if estimate else []
    grid = _grid("Processor time and memory", "step", "jobs", "CPU time", "memory per job", *beside)
    before = {row.step: row for row in estimate.steps} if estimate else {}
    for row in plan.steps:
        grid.add_row(
            row.step, f"{row.jobs:,}", _span_time(row.cpu_s), _mb(row.peak_mb), *_beside(row, before, estimate)
        )
    total = [f"{_span_time(estimate.cpu_hours.times(3600))}", _mb(estimate.peak_mb)] if estimate else []
    ratio = [_ratio(plan.cpu_hours.value, estimate.cpu_hours.value)] if estimate else []
    jobs = sum(row.jobs for row in plan.steps)
    grid.add_section()
    grid.add_row("all", f"{jobs:,}", _span_time(plan.cpu_hours.times(3600)), _mb(plan.peak_mb), *total, *ratio)
    return grid


def _beside(row: StepRow, before: dict[str, StepRow], estimate: Plan | None) -> list[str]:
    if estimate is None:
        return []
    planned = before.get(row.step)
    if planned is None:
        return ["-", "-", "-"]
    return [_span_time(planned.cpu_s), _mb(planned.peak_mb), _ratio(row.cpu_s.value, planned.cpu_s.value)]


def _walls(plan: Plan, estimate: Plan | None) -> Table:
    grid = _grid("Wall time", "", "workers", "time")
    for one, name in ((estimate, "planned"), (plan, plan.kind if estimate else "")):
        for row in one.wall if one else ():
            grid.add_row(
                name if row.engine == "actual" else f"{name} {row.engine}".strip(), str(row.workers), _time(row.seconds)
            )
    return grid


def _tiers(plan: Plan, estimate: Plan | None) -> Table:
    currency = plan.money.currency
    beside = ["planned", "planned / month"] if estimate else []
    grid = _grid(
        f"Tiers (policy {plan.policy})", "tier", "driver", "objects", "size", "class", f"{currency} / month", *beside
    )
    before = {row.tier: row for row in estimate.tiers} if estimate else {}
    for row in plan.tiers:
        planned = before.get(row.tier)
        more = [_span_bytes(planned.size), amount(planned.month)] if planned else ["-", "-"]
        cells = [row.driver, f"{row.objects:,.0f}", _span_bytes(row.size), row.storage_class, amount(row.month)]
        grid.add_row(row.tier, *cells, *(more if estimate else []))
    return grid


def _money(plan: Plan, estimate: Plan | None) -> Table:
    paid = plan.money
    before = estimate.money if estimate else None
    grid = _grid(f"Money, {paid.offer}", "", paid.currency, *(["planned"] if before else []))
    names = (
        ("compute", "compute"),
        ("requests", f"requests, {sum(r.puts for r in plan.tiers):,} PUT and {sum(r.gets for r in plan.tiers):,} GET"),
        ("egress", f"egress and retrieval, {plan.egress_gb:,.1f} GB"),
        ("once", "once, in all"),
        ("storage_month", "storage per month"),
        ("first_year", "first year, in all"),
    )
    for key, title in names:
        grid.add_row(title, amount(getattr(paid, key)), *([amount(getattr(before, key))] if before else []))
    return grid


def _stream(plan: Plan) -> Table:
    day = plan.per_day
    assert day is not None
    grid = _grid(f"{day.images_per_day:,.0f} images like these per day", "", "")
    grid.add_row("CPU hours per day", f"{day.cpu_hours_per_day:,.2f}")
    grid.add_row("cores busy on average", f"{day.cores:,.2f}")
    grid.add_row("new data per month", f"{day.gb_per_month:,.1f} GB")
    grid.add_row(f"compute per month, {plan.money.currency}", amount(day.compute_per_month))
    grid.add_row(f"storage per month after 12 months, {plan.money.currency}", amount(day.storage_after_12_months))
    return grid


def _groups(plan: Plan, by: str) -> Table:
    rows = [row for row in plan.groups if row.by == by]
    currency = plan.money.currency
    grid = _grid(f"By {by}", by, "objects", "size", "CPU time", f"{currency} once", f"{currency} / month")
    for row in rows[:MOST_GROUPS]:
        grid.add_row(
            row.name,
            f"{row.objects:,}",
            human_bytes(row.size),
            _time(row.cpu_s),
            amount(row.compute),
            amount(row.month),
        )
    if len(rows) > MOST_GROUPS:
        grid.add_row(f"and {len(rows) - MOST_GROUPS} more", "", "", "", "", "")
    return grid


def amount(value: float) -> str:
    """Return an amount of money with 2 decimals, or 3 digits that count where it is small.

    >>> amount(1234.5), amount(0.00001234), amount(0)
    ('1,234.50', '0.0000123', '0')
    """
    if value == 0:
        return "0"
    if abs(value) >= 0.1:
        return f"{value:,.2f}"
    return f"{value:.{2 - math.floor(math.log10(abs(value)))}f}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:,.1f} h"


def _span_time(span: Span) -> str:
    return (
        _time(span.value) if span.low == span.high else f"{_time(span.value)} ({_time(span.low)} - {_time(span.high)})"
    )


def _span_bytes(span: Span) -> str:
    if span.low == span.high:
        return human_bytes(int(span.value))
    return f"{human_bytes(int(span.value))} ({human_bytes(int(span.low))} - {human_bytes(int(span.high))})"


def _mb(value: float) -> str:
    return f"{value:,.0f} MB"


def _ratio(value: float, planned: float) -> str:
    return f"{value / planned:.2f}" if planned else "-"


def csv_rows(plan: Plan, estimate: Plan | None = None) -> Iterable[Sequence[object]]:
    """Yield (kind, section, name, quantity, unit, value, low, high): a row per number."""
    yield ("kind", "section", "name", "quantity", "unit", "value", "low", "high")
    for one in (estimate, plan):
        if one is not None:
            yield from ((one.kind, *row) for row in _numbers(one))


def _numbers(plan: Plan) -> Iterable[Sequence[object]]:
    currency = plan.money.currency
    for name, value in (("objects", plan.objects), ("units", plan.units), ("shards", plan.shards)):
        yield ("input", "", name, "", value, value, value)
    yield ("input", "", "size", "byte", plan.size, plan.size, plan.size)
    for step in plan.steps:
        yield ("step", step.step, "jobs", "", step.jobs, step.jobs, step.jobs)
        yield ("step", step.step, "cpu", "s", step.cpu_s.value, step.cpu_s.low, step.cpu_s.high)
        yield ("step", step.step, "peak", "MB", step.peak_mb, step.peak_mb, step.peak_mb)
    yield ("run", "", "cpu", "h", plan.cpu_hours.value, plan.cpu_hours.low, plan.cpu_hours.high)
    for wall in plan.wall:
        yield ("run", f"{wall.engine} x {wall.workers}", "wall", "s", wall.seconds, wall.seconds, wall.seconds)
    for tier in plan.tiers:
        yield ("tier", tier.tier, "objects", "", tier.objects, tier.objects, tier.objects)
        yield ("tier", tier.tier, "size", "byte", tier.size.value, tier.size.low, tier.size.high)
        yield ("tier", tier.tier, "storage per month", currency, tier.month, tier.month, tier.month)
        yield ("tier", tier.tier, "puts", "", tier.puts, tier.puts, tier.puts)
        yield ("tier", tier.tier, "gets", "", tier.gets, tier.gets, tier.gets)
    for name in ("compute", "requests", "egress", "once", "storage_month", "first_year"):
        value = getattr(plan.money, name)
        yield ("money", name, "amount", currency, value, value, value)
    for group in plan.groups:
        yield (group.by, group.name, "size", "byte", group.size, group.size, group.size)
        yield (group.by, group.name, "cpu", "s", group.cpu_s, group.cpu_s, group.cpu_s)
        yield (group.by, group.name, "storage per month", currency, group.month, group.month, group.month)


def as_csv(plan: Plan, estimate: Plan | None = None) -> str:
    """Return a plan, and the estimate before it, as CSV."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(csv_rows(plan, estimate))
    return stream.getvalue()

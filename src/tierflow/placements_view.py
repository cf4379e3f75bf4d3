"""How placements, undo and verification are shown on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from tierflow.errors import EXIT_INTERNAL
from tierflow.summary import human_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from tierflow.tiers.plan import Plan
    from tierflow.tiers.undo import UndoReport
    from tierflow.tiers.verify import Finding, VerifyReport

MOST_SHOWN = 20


def show_plan(plan: Plan, console: Console) -> None:
    """Print what placing would do, tier by tier, and the first acts."""
    grid = Table(title="placing would", title_justify="left")
    for heading in ("tier", "driver", "objects", "to do", "size to do", "impossible"):
        grid.add_column(heading, justify="left" if heading in ("tier", "driver") else "right")
    for tier, total in sorted(plan.tiers.items()):
        counts = (f"{total.objects:,}", f"{total.to_do:,}", human_bytes(total.bytes_to_do), f"{total.failing:,}")
        grid.add_row(tier, total.driver, *counts)
    console.print(grid)
    for act in plan.acts[:MOST_SHOWN]:
        where = f" -> {act.destination}" if act.destination else " -> back to its source"
        text = f"  {act.driver}: {act.origin}{where}" if act.doing != "fail" else f"  can't place {act.origin}"
        _line(console, text + (f" ({act.problem})" if act.problem else ""))
    if len(plan.acts) > MOST_SHOWN:
        console.print(f"  and {len(plan.acts) - MOST_SHOWN:,} more")


def show_undo(report: UndoReport, console: Console, *, output: Path) -> int:
    """Print what undo did or would do.

    Returns:
        0, or 70 when something could not be brought back whole.
    """
    would = "would be " if report.dry_run else ""
    console.print(f"{report.moved_back:,} files {would}moved back ({human_bytes(report.bytes)})", highlight=False)
    console.print(f"{report.removed:,} links and copies {would}removed; their sources had stayed", highlight=False)
    for tier, count in sorted(report.by_tier.items()):
        console.print(f"  {escape(tier)}: {count:,}", highlight=False)
    for conflict in report.conflicts[:MOST_SHOWN]:
        _line(console, f"not brought back: {conflict.source} (now at {conflict.destination}): {conflict.problem}")
    if len(report.conflicts) > MOST_SHOWN:
        console.print(f"and {len(report.conflicts) - MOST_SHOWN:,} more that were not brought back")
    if report.tables_removed:
        _line(console, f"The next `tierflow run` or `tierflow place {output}` would place the files again.")
    return EXIT_INTERNAL if report.conflicts else 0


def show_verify(report: VerifyReport, console: Console) -> int:
    """Print what verification found.

    Returns:
        0 when every object is in its one right place, else 70.
    """
    how = "contents read and compared by SHA-256" if report.hashed else "sizes compared"
    console.print(f"{report.checked:,} objects checked ({how})", highlight=False)
    for tier, count in sorted(report.by_tier.items()):
        console.print(f"  {escape(tier) or 'at their source'}: {count:,} in their right place", highlight=False)
    _findings(console, "missing", report.missing)
    _findings(console, "changed", report.changed)
    _findings(console, "in two places", report.doubled)
    _findings(console, "not finished", report.interrupted)
    _findings(console, "in tier folders but of no object", report.foreign)
    _findings(console, "unfinished copies of a killed run", report.leftovers)
    for journal, lines in sorted(report.damaged.items()):
        _line(console, f"damaged lines in journal {journal}: {lines}")
    console.print("all is well" if report.ok else "NOT all is well: see above")
    return 0 if report.ok else EXIT_INTERNAL


def _findings(console: Console, what: str, findings: Sequence[Finding]) -> None:
    if findings:
        _line(console, f"{what}: {len(findings):,}")
        for finding in findings[:MOST_SHOWN]:
            _line(console, f"  {finding.path}: {finding.problem}")
        if len(findings) > MOST_SHOWN:
            _line(console, f"  and {len(findings) - MOST_SHOWN:,} more")


def _line(console: Console, text: str) -> None:
    # File names may hold newlines and brackets: shown as they are they would break or colour the line.
    console.print(repr(text)[1:-1], markup=False, highlight=False, soft_wrap=True)

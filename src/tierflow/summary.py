"""What a run tells at its end: tiers, failures, where the report is."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from rich.table import Table

from tierflow import tables
from tierflow.config import QUARANTINE

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

MOST_REASONS = 5


def show_summary(output: Path, console: Console) -> None:
    """Print objects and bytes per tier, the commonest failures, and where the report is."""
    counts, sizes, reasons, problems = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for path in sorted((output / "catalogue").glob("*.parquet")):
        table = tables.read(path, ["tier", "bytes", "status", "reason", "problem"])
        for row in table.group_by("tier").aggregate([("bytes", "sum"), ("tier", "count")]).to_pylist():
            counts[row["tier"]] += row["tier_count"]
            sizes[row["tier"]] += row["bytes_sum"] or 0
        states = zip(table["status"].to_pylist(), table["reason"].to_pylist(), strict=True)
        reasons.update(reason for status, reason in states if status != "ok" and reason)
        problems.update(p for p in table["problem"].to_pylist() if p)
    total = counts.total()
    grid = Table(title=f"{total:,} objects", title_justify="left")
    grid.add_column("tier")
    for heading in ("objects", "share", "size"):
        grid.add_column(heading, justify="right")
    for tier in _ordered(counts, output):
        share = counts[tier] / total if total else 0.0
        grid.add_row(tier, f"{counts[tier]:,}", f"{share:.1%}", human_bytes(sizes[tier]))
    console.print(grid)
    _show_reasons(console, reasons, "could not be measured or scored")
    _show_reasons(console, problems, "could not be placed and stayed where they were")
    console.print(f"objects: {output / 'objects.csv'}", soft_wrap=True, highlight=False)
    console.print(f"report:  {output / 'report.html'}", soft_wrap=True, highlight=False)
    _show_published(console, output)


def _show_published(console: Console, output: Path) -> None:
    """Say what the server has, and what it refused."""
    receipts = [json.loads(path.read_text(encoding="utf-8")) for path in (output / "publish").glob("*.json")]
    if not receipts:
        return
    refused = sum(receipt["dead_letters"] for receipt in receipts)
    known = sum(receipt["records"] for receipt in receipts) - refused
    console.print(f"server:  {known:,} records behind {receipts[0]['alias']}", soft_wrap=True, highlight=False)
    if refused:
        folder = output / "dead_letters"
        console.print(f"         {refused:,} refused, each with the reason: {folder}", soft_wrap=True, highlight=False)


def _show_reasons(console: Console, reasons: Counter[str], what: str) -> None:
    if not reasons:
        return
    console.print(f"{reasons.total():,} {what}:")
    for reason, count in reasons.most_common(MOST_REASONS):
        console.print(f"  {count:,} x {reason}", soft_wrap=True, highlight=False, markup=False)
    if len(reasons) > MOST_REASONS:
        console.print(f"  and {len(reasons) - MOST_REASONS} other reasons, all in objects.csv")


def show_policy(output: Path, console: Console) -> None:
    """Print the cut-offs that the policy resolved to, and the objects that they give each tier."""
    policy = json.loads((output / "policy.json").read_text(encoding="utf-8"))
    grid = Table(title=f"policy: {policy['kind']}", title_justify="left")
    grid.add_column("tier")
    grid.add_column("interestingness from", justify="right")
    grid.add_column("objects", justify="right")
    for cut in policy["cuts"]:
        grid.add_row(cut["tier"], f"{cut['minimum']:.4g}", f"{policy['counts'].get(cut['tier'], 0):,}")
    grid.add_row(QUARANTINE, "", f"{policy['failed']:,}")
    console.print(grid)


def _ordered(counts: Counter[str], output: Path) -> list[str]:
    policy = json.loads((output / "policy.json").read_text(encoding="utf-8"))
    order = [cut["tier"] for cut in policy["cuts"]] + [QUARANTINE]
    return [*(t for t in order if t in counts), *sorted(set(counts) - set(order))]


def human_bytes(size: int) -> str:
    """Return a size with a decimal unit, such as `1.2 GB`.

    >>> human_bytes(999), human_bytes(1_234_567)
    ('999 B', '1.2 MB')
    """
    value = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError

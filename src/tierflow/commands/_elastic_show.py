"""How the administration of a server is shown on a terminal."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from tierflow.summary import human_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from tierflow.catalogue.elastic.compare import Comparison, Example
    from tierflow.catalogue.elastic.migrate import Outcome, Plan
    from tierflow.catalogue.elastic.rollback import Rollback
    from tierflow.catalogue.elastic.status import Status

NO_RUN = "(none)"
WORDS = {
    "missing": "in Parquet, not on the server",
    "extra": "on the server, not in Parquet",
    "different": "not the same in both",
    "dead": "refused by the server (dead letters)",
}
MOST_CHARACTERS = 120


def line(console: Console, text: str) -> None:
    """Print a line as it is, however long."""
    console.print(escape(text), highlight=False, soft_wrap=True)


def show_status(found: Status, console: Console) -> None:
    """Print health, indices and runs."""
    versions = ", ".join(found.versions) or "unknown"
    line(console, f"{found.cluster}: {found.health}, {found.nodes} node(s), version {versions}")
    if not found.indices:
        line(console, f"nothing is behind {found.alias} yet: `tierflow elastic rebuild OUTPUT` fills it")
        return
    indices = _grid(f"indices of {found.alias}", text=("index", "alias"), numbers=("documents", "size"))
    for heading in ("shards", "version", "health", "note"):
        indices.add_column(heading, overflow="fold")
    for one in found.indices:
        indices.add_row(
            escape(one.name),
            "here" if one.behind else "",
            f"{one.documents:,}",
            human_bytes(one.bytes),
            f"{one.shards} x {one.replicas + 1}",
            one.catalogue_version,
            one.health,
            one.note,
        )
    console.print(indices)
    runs = _grid("runs", text=("run", "dataset"), numbers=("objects",))
    for heading in ("last update", "output"):
        runs.add_column(heading, overflow="fold")
    for run in found.runs:
        runs.add_row(_name(run.run), escape(run.dataset), f"{run.documents:,}", run.updated_at, escape(run.output))
    console.print(runs)


def show_plan(plan: Plan, console: Console) -> None:
    """Print what a migration would do."""
    line(
        console,
        f"would fill {plan.new} ({plan.shards} shard(s), {plan.replicas} replica(s)) and swap the alias to it from "
        f"{plan.old.name}; until then nothing can be published, and searches see {plan.old.name}",
    )
    grid = _grid("runs", text=("run", "filled from"), numbers=("on the server", "to write"))
    for part in plan.parts:
        source = plan.old.name if part.output is None else str(part.output)
        count = part.on_server if part.output is None else part.records
        grid.add_row(_name(part.run), escape(source), f"{part.on_server:,}", f"{count:,}")
    console.print(grid)


def show_outcome(outcome: Outcome, console: Console) -> None:
    """Print what a migration did."""
    if outcome.resumed:
        line(console, f"the migration to {outcome.new} was complete but for a note about it, which is made now")
    else:
        grid = _grid(f"{outcome.new} is behind the alias", text=("run",), numbers=("documents", "refused"))
        for run, count in sorted(outcome.documents.items(), key=lambda pair: pair[0] or ""):
            grid.add_row(_name(run), f"{count:,}", f"{outcome.refused.get(run, 0):,}")
        console.print(grid)
    if outcome.refused:
        line(
            console,
            f"the server refused {sum(outcome.refused.values()):,} records (first: {outcome.first_reason}): "
            "`tierflow elastic check OUTPUT` lists them",
        )
    line(
        console,
        f"{outcome.old} stays for `tierflow elastic migrate --rollback`; delete it when it isn't needed any more "
        f"(Kibana, Dev Tools: DELETE /{outcome.old})",
    )


def show_rollback(found: Rollback, console: Console, *, dry_run: bool) -> None:
    """Print what a rollback did or would do."""
    would = "would " if dry_run else ""
    if found.aborted:
        line(
            console, f"{would}give up the unfinished migration; {found.new} stays behind the alias and takes documents"
        )
        return
    grid = _grid(
        f"{would}swap the alias from {found.old} to {found.new}",
        text=("run",),
        numbers=(f"in {found.old}", f"in {found.new}", "written since"),
    )
    for run, (before, after) in found.documents.items():
        grid.add_row(_name(run), f"{before:,}", f"{after:,}", f"{found.written.get(run, 0):,}")
    console.print(grid)
    behind = sorted(
        {_name(run) for run, (a, b) in found.documents.items() if a != b} | {_name(r) for r in found.written}
    )
    if behind:
        line(
            console,
            f"{found.new} lacks what was written since for {', '.join(behind)}: `tierflow elastic rebuild OUTPUT` of "
            f"each brings it up to date; {found.old} stays as it is",
        )


def show_comparison(found: Comparison, console: Console) -> None:
    """Print what differs between Parquet and the server."""
    line(console, f"run {found.run}: {found.records:,} records in Parquet, {found.documents:,} documents on the server")
    if found.equal:
        line(console, "nothing differs")
        return
    for kind, count in found.counts.items():
        if count:
            line(console, f"{count:,} {WORDS[kind]}")
    for example in found.examples:
        line(console, "  " + _example(example))
        for name, ours, theirs in example.changes:
            line(console, f"    {name}: {_value(ours)} in Parquet, {_value(theirs)} on the server")
    if len(found.examples) < sum(found.counts.values()):
        line(console, f"  and {sum(found.counts.values()) - len(found.examples):,} more (`--limit` shows more)")


def comparison_json(found: Comparison) -> str:
    """Return a comparison as JSON."""
    return json.dumps({**asdict(found), "equal": found.equal}, indent=2, default=str)


def status_json(found: Status) -> str:
    """Return the state of a server as JSON."""
    return json.dumps(asdict(found), indent=2)


def _example(example: Example) -> str:
    where = example.path or f"document {example.id}"
    reason = f": {example.reason}" if example.reason else ""
    return f"{example.kind} {example.object_id or '(no object_id)'} {where}{reason}"


def _value(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 3] + "..."


def _name(run: str | None) -> str:
    return NO_RUN if run is None else escape(run)


def _grid(title: str, *, text: Iterable[str], numbers: Iterable[str]) -> Table:
    grid = Table(title=escape(title), title_justify="left")
    for heading in text:
        grid.add_column(heading, overflow="fold")
    for heading in numbers:
        grid.add_column(heading, justify="right", overflow="fold")
    return grid

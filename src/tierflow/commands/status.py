"""`tierflow status`, `pause`, `resume`, `drain`, `retry`: look at a stream, and ask something of it."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tierflow.errors import InputMissingError, TierflowError, TryAgainError
from tierflow.stream.ledger import Ledger
from tierflow.stream.requests import ask
from tierflow.stream.states import State
from tierflow.stream.status import service_state, status_of

if TYPE_CHECKING:
    from collections.abc import Iterator

Output = Annotated[Path, Parameter(help="Output folder of the stream.")]
Wait = Annotated[float, Parameter(help="Seconds to wait for the watching process to answer.", validator=Number(gte=0))]

_SECTIONS = (State.WAITING, State.FAILED, State.QUARANTINED)


def status(
    output: Output,
    /,
    *,
    watch: Annotated[
        bool, Parameter(name=["--watch", "-w"], negative=(), help="Go on showing it until Ctrl+C.")
    ] = False,
    format: Annotated[Literal["text", "json"], Parameter(help="For people, or for programs.")] = "text",  # noqa: A002
    every_s: Annotated[
        float, Parameter(help="Seconds between two looks with --watch.", validator=Number(gte=0.1))
    ] = 1.0,
) -> None:
    """Say how a stream stands: objects by state, lag, latency, tiers, and what a person should look at.

    With `--format json` one line per look; `states.done`, `lag_s` and `service.state` are made for alarms.
    """
    if format == "json":
        for found in _looks(output, watch=watch, every_s=every_s):
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()
        return
    console = Console()
    if not watch:
        console.print(shown(status_of(output)))
        return
    with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
        for found in _looks(output, watch=True, every_s=every_s):
            live.update(shown(found), refresh=True)


def pause(output: Output, /, *, wait_s: Wait = 10.0) -> None:
    """Let a stream begin nothing new. It goes on watching, and forgets nothing."""
    _ask(output, "pause", wait_s=wait_s)


def resume(output: Output, /, *, wait_s: Wait = 10.0) -> None:
    """Let a paused stream go on."""
    _ask(output, "resume", wait_s=wait_s)


def drain(
    output: Output,
    /,
    *,
    wait_s: Wait = 10.0,
    follow: Annotated[bool, Parameter(negative=(), help="Return only when the stream has ended.")] = False,
) -> None:
    """Let a stream handle everything that is there, and then end."""
    _ask(output, "drain", wait_s=wait_s)
    while follow and status_of(output)["service"]["state"] not in ("stopped", "dead"):
        time.sleep(0.5)


def retry(
    output: Output,
    paths: Annotated[
        list[Path] | None, Parameter(help="Files, relative to the watched folder; all without any.")
    ] = None,
    /,
    *,
    state: Annotated[
        Literal["quarantined", "failed", "lost_source"], Parameter(help="Without files: objects of this state.")
    ] = "quarantined",
    wait_s: Wait = 10.0,
) -> None:
    """Have objects handled again from the beginning: those in quarantine, those that failed, or files by name."""
    arguments: dict[str, Any] = {"ids": _numbers(output, paths)} if paths else {"state": state}
    answer = _ask(output, "retry", wait_s=wait_s, arguments=arguments)
    if answer:
        sys.stdout.write(f"{answer['objects']} objects are handled again\n")


def _numbers(output: Path, paths: list[Path]) -> list[int]:
    with closing(Ledger(output, read_only=True)) as ledger:
        found = []
        for path in paths:
            rows = ledger.rows("path = ?", (os.fsencode(path),))
            if not rows:
                raise InputMissingError(
                    f"{path}: no such object in {output}; give paths relative to the watched folder"
                )
            found.append(rows[0].id)
        return found


def _ask(output: Path, name: str, *, wait_s: float, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
    # Opened to look first: a ledger must not be made by asking something of it.
    with closing(Ledger(output, read_only=True)) as ledger:
        state = service_state(ledger.fact("service"), now=time.time())["state"]
    running = state not in ("stopped", "dead")
    with closing(Ledger(output)) as ledger:
        answer = ask(ledger, name, patience_s=wait_s if running else 0.0, arguments=arguments)
    if answer.get("ok"):
        sys.stderr.write(f"tierflow: {name}: done\n")
    elif answer:
        raise TierflowError(answer["problem"])
    elif running:
        raise TryAgainError(f"{name}: the watching process hasn't answered in {wait_s:g} s; it will when it can")
    else:
        sys.stderr.write(
            f"tierflow: {name}: noted; nobody watches (state {state}), so it is done at the next `tierflow watch`\n"
        )
    return answer


def _looks(output: Path, *, watch: bool, every_s: float) -> Iterator[dict[str, Any]]:
    yield status_of(output)
    while watch:
        time.sleep(every_s)
        yield status_of(output)


def shown(found: dict[str, Any]) -> Group:
    """Return a status as people read it."""
    return Group(*_parts(found))


def _parts(found: dict[str, Any]) -> Iterator[Text | Table]:
    service = found["service"]
    state = service["state"]
    line = Text.assemble(
        (f"{state}", {"running": "green", "dead": "bold red"}.get(state, "yellow")),
        f"  {service.get('input', '')} -> {found['output']}",
    )
    yield line
    if state == "dead":
        yield Text("The watching process is gone. Start `tierflow watch` again: nothing is lost.", style="bold red")
    watcher = found.get("watcher") or {}
    if watcher.get("state") not in (None, "ok"):
        yield Text(f"watching: {watcher.get('state')}: {watcher.get('message', '')}", style="bold red")
    problem = service.get("problem")
    if problem and state not in ("stopped", "dead") and problem != watcher.get("message"):
        yield Text(f"waits: {problem}", style="yellow")
    if watcher.get("left_out_message"):
        yield Text(watcher["left_out_message"], style="yellow")
    publish = found.get("publish") or {}
    if publish.get("problem"):
        yield Text(f"publishing: {publish['problem']}", style="yellow")
    table = Table("state", "objects", show_header=True, box=None, pad_edge=False)
    for name, n in found["states"].items():
        table.add_row(name, f"{n:,}", style=None if n else "dim")
    yield table
    yield Text(_speed(found))
    if found["tiers"]:
        yield Text("tiers: " + ", ".join(f"{tier} {n:,}" for tier, n in found["tiers"].items()))
    for section in _SECTIONS:
        for one in found["reasons"][section]:
            yield Text(
                f"{section} {one['objects']:,} x {one['reason'] or 'no reason noted'} (such as {one['example']})"
            )


def _speed(found: dict[str, Any]) -> str:
    words = [f"lag {found['lag_s']:.1f} s"]
    if found["rate_per_s"] is not None:
        latency = found["latency_s"]
        words += [
            f"{found['rate_per_s']:.1f} objects/s",
            f"arrival to record {latency['median']:.2f} s (median), {latency['p95']:.2f} s (95 %)",
        ]
    return "; ".join(words)

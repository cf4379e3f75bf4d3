"""The live display of a run: objects done, rate, time left, tiers so far. Read from files that the steps leave."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from tierflow import tables
from tierflow.errors import TableError
from tierflow.progress import read_progress

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from rich.console import Console

POLL_S = 0.25
# Without a terminal (a log file, a cluster job) a line now and then says as much.
PLAIN_LINE_S = 10.0


@dataclass
class State:
    """What is known of a running run.

    Attributes:
        total: Objects found by the scan; None before it ended.
        measured: Objects measured, those of former runs included.
        failed: Objects that could not be measured in this run.
        placed: Objects placed.
        tiers: Objects per tier, of the shards that are placed.
    """

    total: int | None = None
    measured: int = 0
    failed: int = 0
    placed: int = 0
    tiers: Counter[str] = field(default_factory=Counter)


class Observer:
    """Reads the state of a run from its output folder; each finished table is read once."""

    def __init__(self, output: Path, started_at: float) -> None:
        """Observe `output`; tables older than `started_at` (seconds since 1970) count as done before."""
        self._output = output
        self._started_at = started_at
        self._shards: dict[str, int] = {}
        self._tiers: dict[str, Counter[str]] = {}

    def state(self) -> State:
        """Return the state now."""
        if not self._shards:
            self._read_summary()
        if not self._shards:
            return State()
        state = State(total=sum(self._shards.values()))
        progress = read_progress(self._output / ".tierflow/progress")
        running = {shard: p for (step, shard), p in progress.items() if step == "extract"}
        for shard, objects in self._shards.items():
            done = (self._output / "extract" / f"{shard}.parquet").exists()
            state.measured += objects if done else min(objects, int(running.get(shard, {}).get("done", 0)))
            state.failed += int(running.get(shard, {}).get("failed", 0))
            tiers = self._tiers_of(shard)
            state.tiers.update(tiers)
            state.placed += tiers.total()
        return state

    def _read_summary(self) -> None:
        path = self._output / "scan" / "summary.json"
        if path.exists():
            self._shards = {s["name"]: s["objects"] for s in json.loads(path.read_text(encoding="utf-8"))["shards"]}

    def _tiers_of(self, shard: str) -> Counter[str]:
        path = self._output / "place" / f"{shard}.parquet"
        if shard not in self._tiers and path.exists() and path.stat().st_mtime >= self._started_at:
            try:
                column = tables.read(path, ["tier"])["tier"]
            except TableError:
                return Counter()
            self._tiers[shard] = Counter(str(tier) for tier in column.to_pylist())
        return self._tiers.get(shard, Counter())


def watch(process: subprocess.Popen[bytes], output: Path, console: Console) -> None:
    """Show the progress of a run until its process ends.

    Args:
        process: Snakemake.
        output: Output folder of the run.
        console: Where to draw; without a terminal a line is printed every ten seconds.
    """
    observer = Observer(output, time.time())
    if console.is_terminal:
        _watch_terminal(process, observer, console)
    else:
        _watch_plain(process, observer, console)


def _watch_terminal(process: subprocess.Popen[bytes], observer: Observer, console: Console) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    rate = Rate()
    with Progress(*columns, console=console, transient=True) as bars:
        measuring = bars.add_task("measuring", total=None, note="looking at the folder")
        placing = bars.add_task("placing", total=None, note="", visible=False)
        while True:
            state = observer.state()
            if state.total is not None:
                rate.add(state.measured)
                bars.update(measuring, total=state.total, completed=state.measured, note=rate.note(state))
                bars.update(
                    placing,
                    total=state.total,
                    completed=state.placed,
                    note=tiers_text(state.tiers),
                    visible=state.measured >= state.total,
                )
            if process.poll() is not None:
                return
            time.sleep(POLL_S)


def _watch_plain(process: subprocess.Popen[bytes], observer: Observer, console: Console) -> None:
    rate, spoken = Rate(), time.monotonic()
    while process.poll() is None:
        time.sleep(POLL_S)
        if time.monotonic() - spoken < PLAIN_LINE_S:
            continue
        spoken, state = time.monotonic(), observer.state()
        if state.total is None:
            console.print("looking at the folder", highlight=False)
            continue
        rate.add(state.measured)
        tiers = f"; tiers so far: {tiers_text(state.tiers)}" if state.tiers else ""
        console.print(f"measured {rate.note(state)}{tiers}", highlight=False, soft_wrap=True)


def tiers_text(tiers: Counter[str]) -> str:
    """Return counts per tier as short text, such as `A 12  B 3`."""
    return "  ".join(f"{tier} {count:,}" for tier, count in sorted(tiers.items()))


class Rate:
    """Objects per second since the first object of this run, and the time that is left."""

    def __init__(self) -> None:
        """Start without any observation."""
        self._first: tuple[float, int] | None = None
        self._last: tuple[float, int] = (0.0, 0)

    def add(self, done: int) -> None:
        """Note that `done` objects are done now."""
        now = time.monotonic()
        if self._first is None:
            self._first = (now, done)
        self._last = (now, done)

    def note(self, state: State) -> str:
        """Return objects done, rate and time left in words."""
        done = f"{state.measured:,}/{state.total or 0:,}"
        failed = f", {state.failed:,} failed" if state.failed else ""
        if state.measured == 0:
            return f"{done}, starting (30 s the very first time)"
        if self._first is None or self._last[1] <= self._first[1]:
            return done + failed
        per_s = (self._last[1] - self._first[1]) / max(self._last[0] - self._first[0], 1e-6)
        left_s = round(((state.total or 0) - state.measured) / per_s)
        left = f", {left_s // 3600}:{left_s % 3600 // 60:02}:{left_s % 60:02} left" if left_s else ""
        return f"{done}, {per_s:.0f}/s{left}{failed}"

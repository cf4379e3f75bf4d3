"""What Prometheus is told about the server's copy of the catalogue: pure, states in, exposition text out.

All values are gauges: a step that runs again replaces its receipt, so sums over receipts may fall as well as rise.
The format: https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "tierflow_indexer_"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the last publication of a shard says about itself.

    Attributes:
        written_at: When the receipt was written, in seconds since 1970.
        counts: Its whole numbers and durations by name: `accepted`, `unchanged`, `deleted`, `retries`, `conflicts`,
            `bytes`, `seconds`, `waited_s`; those that it lacks count as 0.
    """

    written_at: float
    counts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShardState:
    """One shard of a run.

    Attributes:
        records: Records of its catalogue table.
        changed_at: When that table was written, in seconds since 1970.
        receipt: Its last publication; None before the first.
        dead_letters: Records that the server refused.
    """

    records: int
    changed_at: float
    receipt: Receipt | None = None
    dead_letters: int = 0

    @property
    def is_waiting(self) -> bool:
        """Whether the server doesn't have these records as they are now."""
        return self.receipt is None or self.receipt.written_at < self.changed_at


@dataclass(frozen=True, slots=True)
class RunState:
    """One run.

    Attributes:
        run: Its name.
        publishes: Whether a server is configured, or something was published before.
        shards: Its shards.
        unreadable: Receipts and tables that can't be read.
    """

    run: str
    publishes: bool
    shards: Sequence[ShardState] = ()
    unreadable: int = 0


Labels = tuple[tuple[str, str], ...]

_ABOUT = {
    "records": "Records in the catalogue of the run.",
    "publishes": "1 if the run is published to a server, 0 if not.",
    "unreadable": "Receipts and tables of the run that can't be read.",
    "documents": "Documents in the last publication of every shard, by what became of them.",
    "rejected": "Records that the server refused: dead letters, each with the server's reason.",
    "retries": "Documents sent again in the last publication of every shard.",
    "conflicts": "Version conflicts in the last publication of every shard.",
    "sent_bytes": "Bytes sent in the last publication of every shard.",
    "duration_seconds": "Time that the last publication of every shard took, summed.",
    "waited_seconds": "Part of that time in which the server was away or overloaded.",
    "shards": "Shards by whether the server has them as they are now.",
    "lag_records": "Records of shards that the server doesn't have as they are now.",
    "lag_seconds": "Age of the oldest catalogue table that the server doesn't have as it is now; 0 without one.",
    "last_success_timestamp_seconds": "When a shard was last published, in seconds since 1970; 0 if never.",
}
_SUMMED = {
    "retries": "retries",
    "conflicts": "conflicts",
    "sent_bytes": "bytes",
    "duration_seconds": "seconds",
    "waited_seconds": "waited_s",
}
_OUTCOMES = ("accepted", "unchanged", "deleted")


def exposition(states: Iterable[RunState], *, now: float) -> str:
    """Return the metrics of runs in Prometheus' text format.

    Runs that aren't published have only `records`, `publishes` and `unreadable`. Outputs with the same run name (a
    copy of an output folder, for example) count as one run, because a series may occur only once.

    Args:
        states: Runs.
        now: Seconds since 1970.
    """
    families: dict[str, dict[Labels, float]] = {name: {} for name in _ABOUT}
    for run, same in _by_run(states).items():
        for name, labels, value in _samples(same, now=now):
            families[name][(("run", run), *labels)] = value
    return "".join(family(PREFIX + name, _ABOUT[name], samples) for name, samples in families.items() if samples)


def _by_run(states: Iterable[RunState]) -> dict[str, list[RunState]]:
    found: defaultdict[str, list[RunState]] = defaultdict(list)
    for state in states:
        found[state.run].append(state)
    return dict(sorted(found.items()))


def _samples(states: Sequence[RunState], *, now: float) -> Iterable[tuple[str, Labels, float]]:
    every = [shard for state in states for shard in state.shards]
    yield "records", (), sum(shard.records for shard in every)
    yield "publishes", (), any(state.publishes for state in states)
    yield "unreadable", (), sum(state.unreadable for state in states)
    shards = [shard for state in states if state.publishes for shard in state.shards]
    if not any(state.publishes for state in states):
        return
    receipts = [shard.receipt for shard in shards if shard.receipt is not None]
    waiting = [shard for shard in shards if shard.is_waiting]
    for outcome in _OUTCOMES:
        yield "documents", (("outcome", outcome),), sum(each.counts.get(outcome, 0) for each in receipts)
    yield "rejected", (), sum(shard.dead_letters for shard in shards)
    for name, counted in _SUMMED.items():
        yield name, (), sum(each.counts.get(counted, 0) for each in receipts)
    yield "shards", (("state", "published"),), len(shards) - len(waiting)
    yield "shards", (("state", "waiting"),), len(waiting)
    yield "lag_records", (), sum(shard.records for shard in waiting)
    yield "lag_seconds", (), max((max(0.0, now - shard.changed_at) for shard in waiting), default=0)
    yield "last_success_timestamp_seconds", (), max((each.written_at for each in receipts), default=0)


def family(name: str, about: str, samples: Mapping[Labels, float]) -> str:
    """Return the lines of one gauge: what it is, then a line per series.

    Args:
        name: Full name.
        about: What it means.
        samples: Value of each series by its labels.
    """
    lines = [f"# HELP {name} {_escaped(about)}", f"# TYPE {name} gauge"]
    for labels, value in samples.items():
        inside = ",".join(f'{key}="{_escaped(text, quotes=True)}"' for key, text in labels)
        lines.append(f"{name}{{{inside}}} {_number(value)}")
    return "\n".join(lines) + "\n"


def _escaped(text: str, *, quotes: bool = False) -> str:
    # A name of a file that isn't UTF-8 must not make the whole answer unreadable.
    valid = text.encode("utf-8", "backslashreplace").decode()
    escaped = valid.replace("\\", "\\\\").replace("\n", "\\n")
    return escaped.replace('"', '\\"') if quotes else escaped


def _number(value: float) -> str:
    whole = float(value).is_integer() and abs(value) < 2**53
    return str(int(value)) if whole else repr(float(value))

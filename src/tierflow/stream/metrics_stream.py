"""What Prometheus is told about streams: how many objects stand where, how late they are, whether all is well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierflow.metrics import family
from tierflow.stream.states import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tierflow.metrics import Labels

PREFIX = "tierflow_stream_"
RUNNING = frozenset({"running", "paused", "draining"})
"""What a watching process that lives says of itself."""

_ABOUT = {
    "objects": "Objects of the stream by state.",
    "queue": "Objects that are complete and wait for their turn, or are being handled.",
    "lag_seconds": "Age of the oldest object that is complete but not handled; 0 without one.",
    "waiting_seconds": "Age of the oldest object that isn't complete; 0 without one.",
    "latency_seconds": "Seconds from the last change of a file to its record, over the last five minutes.",
    "watcher_ok": "1 if the input is watched and in order, 0 if not.",
    "service_up": "1 if the watching process gives signs of life, 0 if not.",
    "paused": "1 if somebody has paused the stream, 0 if not.",
}
_QUEUED = (State.READY, State.RUNNING, State.FAILED)


def stream_exposition(streams: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """Return the metrics of streams in Prometheus' text format, all of them gauges.

    Args:
        streams: Name of the run, and its status as `tierflow.stream.status.read_status` gives it. Of streams whose runs
            have the same name the first counts, because a series may occur only once.
    """
    families: dict[str, dict[Labels, float]] = {name: {} for name in _ABOUT}
    for run, status in streams:
        for name, labels, value in _samples(status):
            families[name].setdefault((("run", run), *labels), value)
    return "".join(family(PREFIX + name, _ABOUT[name], samples) for name, samples in families.items() if samples)


def is_up(status: Mapping[str, Any]) -> bool:
    """Tell whether the watching process gives signs of life."""
    return status["service"]["state"] in RUNNING


def watcher_ok(status: Mapping[str, Any]) -> bool:
    """Tell whether the input is watched and in order."""
    return is_up(status) and (status["watcher"] or {}).get("state") == "ok"


def _samples(status: Mapping[str, Any]) -> Iterator[tuple[str, Labels, float]]:
    counts: Mapping[str, int] = status["states"]
    for state in State:
        yield "objects", (("state", state.value),), counts.get(state, 0)
    yield "queue", (), sum(counts.get(state, 0) for state in _QUEUED)
    yield "lag_seconds", (), status["lag_s"]
    yield "waiting_seconds", (), status["waiting_s"]
    if latency := status["latency_s"]:
        yield "latency_seconds", (("quantile", "0.5"),), latency["median"]
        yield "latency_seconds", (("quantile", "0.95"),), latency["p95"]
    yield "watcher_ok", (), watcher_ok(status)
    yield "service_up", (), is_up(status)
    yield "paused", (), status["service"]["state"] == "paused"

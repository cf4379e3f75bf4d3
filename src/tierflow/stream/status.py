"""How a stream stands, from its ledger: for people, scripts, the live page and metrics."""

from __future__ import annotations

import os
import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from tierflow.io.identity import display_path
from tierflow.stream.ledger import Ledger
from tierflow.stream.states import State

if TYPE_CHECKING:
    from pathlib import Path

SILENT_S = 15.0
"""A watcher that says nothing for so long is taken for dead, or cut off."""

WINDOW_S = 300.0
"""Rates and latencies are of the objects that ended in this time, the latest ones."""

_LATEST = 5000
_REASONS = 5


def status_of(output: Path) -> dict[str, Any]:
    """Return how a stream stands.

    Args:
        output: Output folder.

    Returns:
        `states`: objects by state, all states. `lag_s`: age of the oldest object that is complete but not handled,
        since it became ready; 0 when there is none. `waiting_s`: age of the oldest one that isn't complete, since it
        was seen. `rate_per_s`, `latency_s` (`median`, `p95`, `n`; from the last change of the file to the record):
        over the last five minutes, None without any. `tiers`: objects by tier. `service`: `state` (running, paused,
        draining, stopped, dead), `pid`, `host`, `input`, `started_at`, `silent_s`. `watcher`, `publish`: as they
        tell themselves (`watcher.left_out`: files that are no objects because of their names, by ending). `batches`:
        open micro-batches by stage. `reasons`: most frequent reasons of what waits, failed or is quarantined, by state.
        `at`: seconds since 1970.

    Raises:
        InputMissingError: if the output holds no stream.
    """
    with closing(Ledger(output, read_only=True)) as ledger:
        return read_status(ledger, now=time.time())


def read_status(ledger: Ledger, *, now: float) -> dict[str, Any]:
    """Return the same as `status_of`, from an open ledger, at a time in seconds since 1970."""
    facts = ledger.facts()
    return {
        "at": round(now, 3),
        "output": str(ledger.output),
        "service": service_state(facts.get("service"), now=now),
        "states": {str(state): n for state, n in ledger.counts().items()},
        "lag_s": _age(ledger, "ready_at", (State.READY, State.RUNNING, State.FAILED), now),
        "waiting_s": _age(ledger, "seen_at", (State.SEEN, State.WAITING), now),
        **_speed(ledger, now),
        "tiers": _tiers(ledger),
        "watcher": facts.get("watcher"),
        "publish": facts.get("publish"),
        "batches": dict(
            ledger.query("SELECT stage, count(*) FROM batches WHERE stage IN ('measuring', 'recording') GROUP BY stage")
        ),
        "reasons": {str(state): _reasons(ledger, state) for state in (State.WAITING, State.FAILED, State.QUARANTINED)},
    }


def service_state(fact: dict[str, Any] | None, *, now: float) -> dict[str, Any]:
    """Return what the watching process says of itself, or `dead` when it can't say anything any more.

    Args:
        fact: The fact `service` of the ledger.
        now: Seconds since 1970.
    """
    if fact is None:
        return {"state": "stopped"}
    silent_s = max(0.0, now - float(fact.get("beat_at", 0.0)))
    found = {**fact, "silent_s": round(silent_s, 1)}
    if fact.get("state") != "stopped" and (silent_s > SILENT_S or _is_gone(fact)):
        found["state"] = "dead"
    return found


def process_space() -> int | None:
    """Return the name space that process numbers of this process are of: containers of one pod have one each.

    Returns:
        None where the system doesn't say.
    """
    try:
        return os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - a link whose target is no path
    except OSError:
        return None


def path_words(path: bytes) -> str:
    """Return a path for people: control characters, which a file's name may hold, are shown as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in display_path(path))


def _is_gone(fact: dict[str, Any]) -> bool:
    space = process_space()
    if fact.get("host") != socket.gethostname() or fact.get("process_space", space) != space or not fact.get("pid"):
        return False
    try:
        os.kill(int(fact["pid"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _age(ledger: Ledger, column: str, states: tuple[State, ...], now: float) -> float:
    marks = ", ".join("?" * len(states))
    found = ledger.query(f"SELECT min({column}) FROM objects WHERE state IN ({marks})", states)  # noqa: S608
    oldest = found[0][0]
    return 0.0 if oldest is None else round(max(0.0, now - oldest), 3)


def _speed(ledger: Ledger, now: float) -> dict[str, Any]:
    found = ledger.query(
        "SELECT ended_at, ended_at - changed_at FROM objects WHERE ended_at > ? AND state IN (?, ?) "
        "ORDER BY ended_at DESC LIMIT ?",
        (now - WINDOW_S, State.DONE, State.QUARANTINED, _LATEST),
    )
    if not found:
        return {"rate_per_s": None, "latency_s": None}
    latencies = sorted(max(0.0, latency) for _, latency in found)
    since = max(now - found[-1][0], 1.0)
    return {
        "rate_per_s": round(len(found) / since, 3),
        "latency_s": {
            "median": round(_quantile(latencies, 0.5), 3),
            "p95": round(_quantile(latencies, 0.95), 3),
            "n": len(latencies),
        },
    }


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def _tiers(ledger: Ledger) -> dict[str, int]:
    return dict(ledger.query("SELECT tier, count(*) FROM objects WHERE tier IS NOT NULL GROUP BY tier ORDER BY tier"))


def _reasons(ledger: Ledger, state: State) -> list[dict[str, Any]]:
    found = ledger.query(
        "SELECT coalesce(reason, ''), count(*), min(path) FROM objects WHERE state = ? "
        "GROUP BY reason ORDER BY count(*) DESC LIMIT ?",
        (state, _REASONS),
    )
    return [{"reason": reason, "objects": n, "example": path_words(path)} for reason, n, path in found]

"""What the watching process and the watcher say of themselves, in words that tell what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierflow.report.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

_SERVICE = {
    "running": "running",
    "paused": "paused: new files are noted, but none is measured until somebody resumes",
    "draining": "draining: what is there is finished, then the watching ends",
    "stopped": "not running: start it with `tierflow watch`",
}
_HARMLESS = frozenset({"ok", "overflow", "clock_jump", "limited"})
"""States in which every file is still found."""


def service_words(service: Mapping[str, Any], *, now: float) -> str:
    """Say how the watching process stands.

    Args:
        service: As `tierflow.stream.status.service_state` gives it.
        now: Seconds since 1970.
    """
    state = str(service.get("state"))
    if state == "dead":
        silent = span(now - float(service.get("beat_at", now)))
        return f"no sign of life for {silent}: start it again with `tierflow watch`, nothing is lost"
    words = _SERVICE.get(state, state)
    problem = service.get("problem") if state in ("running", "draining") else None
    return printable(f"{words}: {problem}" if problem else words)


def watcher_words(watcher: Mapping[str, Any], *, now: float) -> dict[str, Any]:
    """Say how the watcher stands.

    Args:
        watcher: The fact `watcher` of the ledger; empty before the first look.
        now: Seconds since 1970.

    Returns:
        `ok`: nothing is wrong; `usable`: every file is still found; `words`: what is wrong and what to do; `look`: how
        files are found, and when all were looked at.
    """
    if not watcher:
        return {"ok": False, "usable": False, "words": "the input wasn't looked at yet", "look": ""}
    state = str(watcher.get("state"))
    message = watcher.get("message") or state
    parts = [str(watcher.get("mode") or "")]
    if watcher.get("last_full_at"):
        parts.append(f"{watcher.get('files') or 0:,} files looked at {span(now - watcher['last_full_at'])} ago")
    return {
        "ok": state == "ok",
        "usable": state in _HARMLESS,
        "words": "all files are watched" if state == "ok" else printable(f"{state.replace('_', ' ')}: {message}"),
        "look": " \u00b7 ".join(part for part in parts if part),
    }


def span(seconds: float) -> str:
    """Return a time span in words.

    >>> span(3), span(150), span(7300)
    ('3 s', '2 min', '2 h')
    """
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h"

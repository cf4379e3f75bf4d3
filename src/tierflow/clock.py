"""The time of day, in the one form that tables hold it."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> str:
    """Return now in UTC to the millisecond, such as `2026-11-21T08:15:30.123Z`: text order is order in time."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

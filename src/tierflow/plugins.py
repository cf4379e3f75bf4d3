"""Find replaceable parts by entry point: extractors, interestingness functions, policies, tier drivers, layouts."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from tierflow.errors import ConfigError

Kind = Literal["extractors", "interestingness", "policies", "tiers", "layouts"]


@cache
def available(kind: Kind) -> dict[str, EntryPoint]:
    """Return the registered parts of one kind by name, sorted; nothing is imported.

    Args:
        kind: The last part of the entry-point group `tierflow.<kind>`.
    """
    return {point.name: point for point in sorted(entry_points(group=f"tierflow.{kind}"), key=lambda p: p.name)}


@cache
def load(kind: Kind, name: str) -> Any:
    """Import and return the part that is registered as `name`.

    Raises:
        ConfigError: if no such part is installed; the message lists those that are.
    """
    points = available(kind)
    if name not in points:
        near = get_close_matches(name, points, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"unknown name {name!r} for {kind}: expected one of {', '.join(points)}.{hint}")
    return points[name].load()

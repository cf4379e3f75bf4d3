"""Whether results are up to date, by time of change, as make and Snakemake see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def is_newer(made: Iterable[Path], needed: Iterable[Path]) -> bool:
    """Tell whether every result is there and none is older than what it needs; what is missing is never newer."""
    try:
        return min(r.stat().st_mtime_ns for r in made) >= max(s.stat().st_mtime_ns for s in needed)
    except FileNotFoundError:
        return False

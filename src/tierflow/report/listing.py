"""The searchable table of objects: all of a small run, the ends and the failures of a large one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.report import words
from tierflow.report.text import count, printable, score, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierflow.report.objects import Objects
    from tierflow.report.source import Source

MOST = 2000
STATIC = 40
_COLUMNS = ("plate", "well", "site", "channel", "z", "timepoint")
_HEADINGS = {"path": "file", "timepoint": "t", "interestingness": "IF", "bytes": "size"}
_READ = ("path", *_COLUMNS, "interestingness", "tier", "flags", "reason", "bytes")


@dataclass(frozen=True, slots=True)
class Listing:
    """The table.

    Attributes:
        columns: Key and heading of each column, in order.
        rows: Cells as text, by row; numbers have a sort key in `keys`.
        keys: Interestingness and bytes of each row.
        note: Which objects these are.
    """

    columns: list[tuple[str, str]]
    rows: list[list[str]]
    keys: list[tuple[float | None, int]]
    note: str


def listing(objects: Objects, source: Source) -> Listing:
    """Return the objects that the page's table holds."""
    indices, note = _chosen(objects)
    records = source.rows(indices, _READ)
    named = [key for key in _COLUMNS if any(record.get(key) not in (None, "") for record in records)]
    keys = ["path", "interestingness", "tier", "flags", *named, "bytes", "reason"]
    return Listing(
        columns=[(key, _HEADINGS.get(key, key)) for key in keys],
        rows=[[_cell(record, key) for key in keys] for record in records],
        keys=[(record.get("interestingness"), int(record.get("bytes") or 0)) for record in records],
        note=note,
    )


def _chosen(objects: Objects) -> tuple[list[int], str]:
    scored = np.flatnonzero(objects.measured)
    ranked = scored[np.argsort(-objects.interestingness[scored], kind="stable")]
    failed = np.flatnonzero(~objects.measured)
    if len(objects) <= MOST:
        return [*ranked.tolist(), *failed.tolist()], f"All {count(len(objects))} objects, best first."
    lost = failed[: MOST // 4]
    half = (MOST - len(lost)) // 2
    top, bottom = ranked[:half], ranked[half:][-half:]
    note = (
        f"{count(len(top) + len(bottom) + len(lost))} of {count(len(objects))} objects: the {count(len(top))} best, "
        f"the {count(len(bottom))} lowest and {count(len(lost))} of {count(len(failed))} that could not be measured."
    )
    return [*top.tolist(), *bottom.tolist(), *lost.tolist()], note


def _cell(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    if key == "interestingness":
        return score(value)
    if key == "bytes":
        return size(int(value or 0))
    if key == "flags":
        return ", ".join(words.spoken(printable(flag)) for flag in value or [])
    return "" if value is None else printable(str(value))

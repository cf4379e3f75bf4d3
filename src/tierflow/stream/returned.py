"""Objects that leave their micro-batch undecided: their files are no longer those that were measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tierflow.scoring.columns import compute as pc
from tierflow.scoring.columns import equals
from tierflow.stream.ended import Returned
from tierflow.stream.sources import leads_to_file, look
from tierflow.stream.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from tierflow.stream.sources import Root

INCOMPLETE = "incomplete"
"""Flag of objects that were released although others of their unit, or parts of the file, never came."""

_CHANGED = "the file was written again while it was measured"
_VANISHED = "the file vanished before it was handled"
_UNMOUNTED = "the disk it lies on isn't mounted"
_OUT_OF_REACH = "the file was out of reach while it was measured"
_OTHER = "another file of its unit changed or vanished while they were measured"


@dataclass(slots=True)
class Gone:
    """Objects that leave a batch.

    Attributes:
        by_id: How each leaves it, by object_id.
    """

    by_id: dict[str, Returned] = field(default_factory=dict)

    @classmethod
    def find(
        cls, scan: pa.Table, root: Root, *, missed: Collection[str], placed: Callable[[Collection[str]], set[str]]
    ) -> Gone:
        """Look at the files of a batch.

        A file that differs from what was measured is measured again, and so are the others of its unit: a unit is
        decided as a whole. One that vanished is lost, unless it was placed before: then its tier has it; or it lies on
        a disk of its own inside the input, which isn't mounted: then it waits.

        Args:
            scan: Scan table of the batch.
            root: The input.
            missed: Objects whose files weren't there when they were to be measured. Those that are there now are
                measured again: their share was away.
            placed: Returns those objects that a journal knows of.

        Raises:
            TryAgainError: if the input as a whole went away.
        """
        found: dict[str, Returned] = {}
        names = ("object_id", "path_bytes", "bytes", "mtime_ns")
        vanished: dict[str, bytes] = {}
        columns: list[list[Any]] = [scan[name].to_pylist() for name in names]
        for object_id, path, size, mtime_ns in zip(*columns, strict=True):
            seen = look(root.bytes, path)
            if seen is None:
                vanished[object_id] = path
            elif (seen.size, seen.mtime_ns) != (size, mtime_ns):
                found[object_id] = Returned(object_id, State.WAITING, _CHANGED, seen)
            elif object_id in missed and leads_to_file(root.bytes, path):
                found[object_id] = Returned(object_id, State.WAITING, _OUT_OF_REACH, seen)
        if vanished:
            root.require()
            kept = placed(vanished.keys())
            for object_id in vanished.keys() - kept:
                if root.is_unmounted(vanished[object_id]):
                    found[object_id] = Returned(object_id, State.WAITING, _UNMOUNTED)
                else:
                    found[object_id] = Returned(object_id, State.LOST_SOURCE, _VANISHED)
        return cls(found).with_units(scan)

    def with_units(self, scan: pa.Table) -> Gone:
        """Return these objects and the others of their units, which wait for them."""
        ids: list[Any] = scan["object_id"].to_pylist()
        units: list[Any] = scan["unit_id"].to_pylist()
        spoiled = {unit for name, unit in zip(ids, units, strict=True) if name in self.by_id}
        others = {
            name: Returned(name, State.WAITING, _OTHER)
            for name, unit in zip(ids, units, strict=True)
            if unit in spoiled and name not in self.by_id
        }
        return Gone(self.by_id | others)

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self.by_id)


def without(table: pa.Table, object_ids: Collection[str]) -> pa.Table:
    """Return a table without the rows of some objects; stamps stay."""
    if not object_ids:
        return table
    return table.filter(pc.invert(pc.is_in(table["object_id"], value_set=pa.array(list(object_ids), pa.string()))))


def note_incomplete(planes: pa.Table, reasons: Mapping[str, str]) -> pa.Table:
    """Note in the extract table that objects were released incomplete, so that every later scoring knows it.

    Args:
        planes: Extract table; stamps stay.
        reasons: Why, in words, by object.
    """
    if not reasons:
        return planes
    names: list[Any] = planes["object_id"].to_pylist()
    ok = equals(planes["status"], "ok")
    hit = np.array([name in reasons for name in names], dtype=np.bool_) & ok
    said = {"flag": [INCOMPLETE if h else None for h in hit], "reason": [reasons.get(n) for n in names]}
    for column, values in said.items():
        position = planes.schema.get_field_index(column)
        new = pc.if_else(pa.array(hit), pa.array(values, pa.string()), planes[column])
        planes = planes.set_column(position, planes.schema.field(position), new)
    return planes

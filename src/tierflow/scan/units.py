"""Which objects share one decision."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

from tierflow.io.identity import ID_DIGITS

if TYPE_CHECKING:
    from tierflow.io.layouts.base import Names

UnitKind = Literal["file", "site", "well"]


def unit_id(kind: UnitKind, *, dataset: str, object_id: str, names: Names) -> str:
    """Return the unit of an object.

    Args:
        kind: `file`: every object is a unit. `site`: the channels and z planes of one field at one time point.
            `well`: everything of a well, all times included. Objects without a well are units of their own.
        dataset: Name of the data set.
        object_id: The object.
        names: What its name says. Two acquisitions of one plate make different units.

    Returns:
        32 hex digits: the object's id for `file`, else SHA-256 over data set, plate, well (site, time point).
    """
    if kind == "file" or names.well is None:
        return object_id
    parts: list[object] = [kind, dataset, names.plate, names.acquisition, names.well]
    if kind == "site":
        parts += [names.site, names.timepoint]
    # NUL can't occur in any part, so no two lists give the same text.
    text = "\0".join("" if part is None else str(part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]

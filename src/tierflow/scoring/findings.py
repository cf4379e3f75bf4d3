"""Findings on objects: flags with the value and the limit that raised them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tierflow.scoring import columns
from tierflow.tables import FLAG_TYPE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray

    from tierflow.config import FlagRule
    from tierflow.interestingness.base import PlaneTable

DUPLICATE = "duplicate"
INCOMPLETE_UNIT = "incomplete_unit"


@dataclass(slots=True)
class Findings:
    """Findings of a shard, in the order in which they are to be shown per object; parallel lists."""

    row: list[int] = field(default_factory=list)
    flag: list[str] = field(default_factory=list)
    feature: list[str | None] = field(default_factory=list)
    value: list[float | None] = field(default_factory=list)
    limit: list[float | None] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def add(self, row: int, flag: str, text: str) -> None:
        """Note a finding on the object in `row` that no feature raised."""
        self.row.append(row)
        self.flag.append(flag)
        self.feature.append(None)
        self.value.append(None)
        self.limit.append(None)
        self.text.append(text)

    def texts_by_row(self) -> dict[int, list[str]]:
        """Return `flag: text` of every finding, by the object's row."""
        texts: dict[int, list[str]] = {}
        for row, flag, text in zip(self.row, self.flag, self.text, strict=True):
            texts.setdefault(row, []).append(f"{flag}: {text}")
        return texts

    def as_columns(self, count: int) -> tuple[pa.Array[Any], pa.Array[Any]]:
        """Return the columns `flags` (each name once) and `flag_details` for `count` objects."""
        order = np.argsort(np.array(self.row, dtype=np.int64), kind="stable").tolist()
        parts: dict[str, Sequence[Any]] = {
            "flag": self.flag,
            "feature": self.feature,
            "value": self.value,
            "limit": self.limit,
            "text": self.text,
        }
        fields = list(FLAG_TYPE)
        details = pa.StructArray.from_arrays(
            [pa.array([parts[part.name][i] for i in order], part.type) for part in fields], fields=fields
        )
        once = list(dict.fromkeys((self.row[i], self.flag[i]) for i in order))
        names = pa.array([flag for _, flag in once], pa.string())
        return (
            columns.lists([row for row, _ in once], names, count=count),
            columns.lists([self.row[i] for i in order], details, count=count),
        )


def add_rule(
    findings: Findings,
    rule: FlagRule,
    planes: PlaneTable,
    *,
    row: NDArray[np.int64],
    suffix: Sequence[str],
) -> None:
    """Judge planes by one rule and note the findings; a missing value raises nothing.

    Args:
        findings: Where to add.
        rule: The rule.
        planes: The planes to judge.
        row: Row of each plane's object, shape (plane,).
        suffix: Added to the text of each plane's finding, such as the channel.
    """
    values = planes.robust_z(rule.feature) if rule.robust_z else planes.features[rule.feature]
    limit = rule.above if rule.above is not None else rule.below
    assert limit is not None  # the model gives every rule exactly one limit
    raised = values > limit if rule.above is not None else values < limit
    side = "above" if rule.above is not None else "below"
    what = f"robust z of {rule.feature}" if rule.robust_z else rule.feature
    text = rule.text or f"{what} is {side} {limit:g}"
    found = np.flatnonzero(raised)
    findings.row += row[found].tolist()
    findings.flag += [rule.flag] * len(found)
    findings.feature += [rule.feature] * len(found)
    findings.value += values[found].tolist()
    findings.limit += [limit] * len(found)
    findings.text += [text + suffix[index] for index in found.tolist()]

"""Cut objects into shards that stay as they are when files come and go."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tierflow.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tierflow.scan.rows import Row

SHARD_LIMIT = 100_000
"""Shards are named by five digits."""


def shard_name(number: int) -> str:
    """Return the name of a shard's tables.

    >>> shard_name(7)
    '00007'
    """
    return f"{number:05d}"


def plan(
    rows: Iterable[Row], home: Mapping[str, int], *, first_new: int, max_objects: int, max_bytes: int
) -> dict[int, list[Row]]:
    """Give every object its shard.

    A unit is never split. An object that has a shard keeps it, so that no shard changes because files came elsewhere.
    New units fill new shards in the order of their paths; a new object of a unit that has a shard joins it. A unit
    whose objects lie in several shards (`scan.unit` was changed) is gathered in the lowest: writing shards in ascending
    order then stores every row at its new place before the old place loses it.

    Args:
        rows: All objects, sorted by path.
        home: Shard of every object that has one.
        first_new: Number of the first new shard.
        max_objects: Objects per new shard, at most.
        max_bytes: Bytes per new shard, at most; a larger unit makes its own shard.

    Returns:
        Rows by shard number.

    Raises:
        ConfigError: if more shards are needed than five digits name.
    """
    units: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        units[row.unit_id].append(row)
    shards: defaultdict[int, list[Row]] = defaultdict(list)
    new: list[list[Row]] = []
    for members in units.values():
        homes = [home[row.object_id] for row in members if row.object_id in home]
        if homes:
            shards[min(homes)].extend(members)
        else:
            new.append(members)
    for number, group in enumerate(_cut(new, max_objects=max_objects, max_bytes=max_bytes), start=first_new):
        shards[number] = group
    if shards and max(shards) >= SHARD_LIMIT:
        raise ConfigError(
            f"scan.shard_objects = {max_objects} makes more than {SHARD_LIMIT} shards: set a larger "
            "scan.shard_objects or scan.shard_mb and use a new output folder"
        )
    return dict(sorted(shards.items()))


def _cut(units: Sequence[list[Row]], *, max_objects: int, max_bytes: int) -> Iterable[list[Row]]:
    shard: list[Row] = []
    size = 0
    for members in units:
        unit_size = sum(row.bytes for row in members)
        if shard and (len(shard) + len(members) > max_objects or size + unit_size > max_bytes):
            yield shard
            shard, size = [], 0
        shard.extend(members)
        size += unit_size
    if shard:
        yield shard

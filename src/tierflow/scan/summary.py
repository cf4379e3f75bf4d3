"""What `scan/summary.json` says of the objects of a run: counts per shard, put together."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.io.atomic import write_text
from tierflow.scan.shards import shard_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from tierflow.scan.rows import Row

_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Part:
    """What is to be said of one shard.

    Attributes:
        objects: Number of objects.
        bytes: Their size.
        units: Number of units; none has objects in another shard.
        plates: Plates.
        wells: Hash of each (plate, well) of objects that have a well, shape (well,). A stream keeps the parts of all
            its shards for weeks: 8 bytes for a well, where names would take 100. Two wells of one hash are rarer than
            failing disks.
        channels: Objects by channel, of those that have one.
        layouts: Objects by the layout that read their names.
    """

    objects: int
    bytes: int
    units: int
    plates: frozenset[str | None]
    wells: NDArray[np.int64]
    channels: Counter[str]
    layouts: Counter[str]


def part_of_rows(rows: Sequence[Row]) -> Part:
    """Sum up the rows of a shard."""
    return Part(
        objects=len(rows),
        bytes=sum(row.bytes for row in rows),
        units=len({row.unit_id for row in rows}),
        plates=frozenset(row.plate for row in rows),
        wells=_hashes((row.plate, row.well) for row in rows if row.well is not None),
        channels=Counter(row.channel for row in rows if row.channel is not None),
        layouts=Counter(row.layout for row in rows),
    )


def part_of_table(table: pa.Table) -> Part:
    """Sum up a shard's scan table."""
    found: dict[str, list[Any]] = {
        name: table[name].to_pylist() for name in ("bytes", "unit_id", "plate", "well", "channel", "layout")
    }
    pairs = zip(found["plate"], found["well"], strict=True)
    return Part(
        objects=table.num_rows,
        bytes=sum(found["bytes"]),
        units=len(set(found["unit_id"])),
        plates=frozenset(found["plate"]),
        wells=_hashes((plate, well) for plate, well in pairs if well is not None),
        channels=Counter(name for name in found["channel"] if name is not None),
        layouts=Counter(found["layout"]),
    )


def together(parts: Mapping[int, Part], *, source: str, dataset: str) -> dict[str, Any]:
    """Return what the summary says of the objects.

    Args:
        parts: By shard number.
        source: Absolute input.
        dataset: Name of the data set.
    """
    channels: Counter[str] = Counter()
    for _, part in sorted(parts.items()):
        channels.update(part.channels)
    return {
        "input": source,
        "dataset": dataset,
        "objects": sum(part.objects for part in parts.values()),
        "bytes": sum(part.bytes for part in parts.values()),
        "units": sum(part.units for part in parts.values()),
        "plates": len({plate for part in parts.values() for plate in part.plates}),
        "wells": len(np.unique(np.concatenate([_NONE, *(part.wells for part in parts.values())]))),
        "channels": dict(channels),
        "shards": [
            {"name": shard_name(number), "objects": part.objects, "bytes": part.bytes}
            for number, part in sorted(parts.items())
        ],
    }


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write `scan/summary.json`, whole or not at all."""
    write_text(path, json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def _hashes(wells: Iterable[tuple[str | None, str]]) -> NDArray[np.int64]:
    return np.array([hash(well) for well in set(wells)], dtype=np.int64)

"""The baseline of a data set: robust statistics of every feature in every group, gathered shard by shard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tierflow import tables
from tierflow.scoring import columns, groups
from tierflow.scoring.columns import compute as pc
from tierflow.scoring.duplicates import find_duplicates
from tierflow.scoring.folder import feature_names
from tierflow.scoring.statistics import Groups, Spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

LOWEST, HIGHEST = "ImageQuality_MinIntensity", "ImageQuality_MaxIntensity"
# Feature values held at once, 256 MB: all features of a million planes need no second reading.
_MAX_VALUES = 32_000_000


@dataclass(frozen=True, slots=True)
class Planes:
    """What the baseline needs to know of all planes that were measured.

    Attributes:
        kept: Rows of each shard's extract table that count, one array per shard.
        codes: Group of each plane that counts, over all shards, shape (plane,).
        keys: Plate and channel of the groups.
        duplicates: Pixels that occur in more than one object.
    """

    kept: list[NDArray[np.int64]]
    codes: NDArray[np.int64]
    keys: list[groups.Key]
    duplicates: pa.Table


def read_planes(extracts: Sequence[Path], scans: Sequence[Path], *, by: Sequence[str]) -> Planes:
    """Read the groups and the hashes of all planes that could be measured.

    Args:
        extracts: Extract tables of all shards.
        scans: Their scan tables, likewise.
        by: Columns that make a group.

    Raises:
        InputMissingError: if a table isn't there.
        TableError: if one is damaged.
    """
    kept, codes, hashed = [], [], []
    number: dict[groups.Key, int] = {}
    for extract, scan in zip(extracts, scans, strict=True):
        objects = tables.read(scan, [*groups.SCAN_COLUMNS, "path"])
        planes = _read_keys(extract)
        rows = groups.object_rows(planes, objects)
        good = np.flatnonzero(columns.equals(planes["status"], "ok") & (rows >= 0))
        planes, rows = planes.take(good), rows[good]
        local, keys = groups.group_codes(
            groups.plates_of(objects, rows), groups.channels_of(planes, objects, rows), by=by
        )
        of_key = np.array([number.setdefault(key, len(number)) for key in keys], dtype=np.int64)
        kept.append(good)
        codes.append(of_key[local])
        hashed.append(hashed_planes(planes, objects, rows))
    together = pa.concat_tables(hashed)
    return Planes(
        kept=kept,
        codes=np.concatenate(codes) if codes else np.empty(0, dtype=np.int64),
        keys=list(number),
        duplicates=find_duplicates(together["pixel_hash"], together["object_id"], together["path"]),
    )


def summarise(extracts: Sequence[Path], planes: Planes) -> pa.Table:
    """Return the baseline table: a row per group and feature, ordered by plate, channel and feature."""
    features = list(dict.fromkeys(name for path in extracts for name in feature_names(path)))
    sums = Groups(planes.codes, count=len(planes.keys))
    parts = []
    for batch in _batches(features, size=len(planes.codes)):
        values = _read_features(extracts, planes, batch)
        parts += [_rows(planes.keys, name, sums.spread(values[name])) for name in batch]
    table = pa.concat_tables(parts) if parts else tables.BASELINE.empty_table()
    return table.sort_by([(name, "ascending") for name in ("plate", "channel", "feature")])


def _read_keys(extract: Path) -> pa.Table:
    wanted = [*groups.PLANE_COLUMNS, "status", "pixel_hash"]
    present = feature_names(extract)
    return tables.read(extract, wanted + [name for name in (LOWEST, HIGHEST) if name in present])


def hashed_planes(planes: pa.Table, objects: pa.Table, rows: NDArray[np.int64]) -> pa.Table:
    """Return hash, object and path of the planes that have a hash and aren't blank.

    Args:
        planes: Extract table of planes that were measured.
        objects: Scan table.
        rows: From `groups.object_rows`, none of them -1.
    """
    known = pc.is_valid(planes["pixel_hash"]).to_numpy()
    if LOWEST in planes.column_names and HIGHEST in planes.column_names:
        # All blank planes of one size are equal; that is no sign of a frozen camera.
        known &= columns.floats(planes[LOWEST]) != columns.floats(planes[HIGHEST])
    chosen = np.flatnonzero(known)
    return columns.table(
        {
            "pixel_hash": planes["pixel_hash"].take(chosen),
            "object_id": planes["object_id"].take(chosen),
            "path": objects["path"].take(rows).take(chosen),
        }
    )


def _batches(features: Sequence[str], *, size: int) -> Iterator[Sequence[str]]:
    step = max(1, _MAX_VALUES // max(1, size))
    for start in range(0, len(features), step):
        yield features[start : start + step]


def _read_features(extracts: Sequence[Path], planes: Planes, names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    values = {name: np.full(len(planes.codes), np.nan) for name in names}
    start = 0
    for extract, kept in zip(extracts, planes.kept, strict=True):
        stop = start + len(kept)
        present = set(feature_names(extract))
        table = tables.read(extract, [name for name in names if name in present])
        for name in table.column_names:
            values[name][start:stop] = columns.floats(table[name])[kept]
        start = stop
    return values


def _rows(keys: Sequence[groups.Key], feature: str, spread: Spread) -> pa.Table:
    rows = {
        "plate": [plate for plate, _ in keys],
        "channel": [channel for _, channel in keys],
        "feature": [feature] * len(keys),
        "n": spread.n,
        "median": spread.median,
        "mad": spread.mad,
    }
    return columns.table(rows, schema=tables.BASELINE)

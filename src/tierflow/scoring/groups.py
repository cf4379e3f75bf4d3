"""Which planes are compared with each other: plate x channel, as the configuration says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tierflow.scoring import columns
from tierflow.scoring.columns import compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

Key = tuple[str, str]
"""Plate and channel of a group."""

SCAN_COLUMNS = ["object_id", "plate", "channel"]
PLANE_COLUMNS = ["object_id", "channel_name", "c"]


def object_rows(planes: pa.Table, objects: pa.Table) -> NDArray[np.int64]:
    """Return the row in `objects` of each plane's object, -1 where it isn't there, shape (plane,)."""
    found = pc.index_in(planes["object_id"], value_set=objects["object_id"].combine_chunks())
    return columns.integers(found, null=-1)


def plates_of(objects: pa.Table, rows: NDArray[np.int64]) -> pa.ChunkedArray[Any]:
    """Return the plate of each plane's object, "" where it has none, shape (plane,)."""
    plates: pa.ChunkedArray[Any] = pc.fill_null(objects["plate"], "").take(rows)
    return plates


def channels_of(planes: pa.Table, objects: pa.Table, rows: NDArray[np.int64]) -> pa.ChunkedArray[Any]:
    """Return the channel of each plane, shape (plane,).

    The name's channel where the name gave one, else the file's own channel name, else "c" and the channel index, so
    that the channels of one file never share a group.

    Args:
        planes: Extract table with `PLANE_COLUMNS`.
        objects: Scan table with `SCAN_COLUMNS`.
        rows: From `object_rows`, none of them -1.
    """
    named: pa.ChunkedArray[Any] = objects["channel"].take(rows)
    if not named.null_count:
        return named
    index = pc.binary_join_element_wise("c", pc.cast(pc.fill_null(planes["c"], 0), "string"), "")
    channels: pa.ChunkedArray[Any] = pc.coalesce(named, planes["channel_name"], index)
    return channels


def group_codes(
    plates: pa.ChunkedArray[Any], channels: pa.ChunkedArray[Any], *, by: Sequence[str]
) -> tuple[NDArray[np.int64], list[Key]]:
    """Number the groups of comparable planes.

    Args:
        plates: Plate of each plane, shape (plane,), no null.
        channels: Channel of each plane, likewise.
        by: `plate`, `channel`, both or none; what isn't named is "" in the key.

    Returns:
        Group of each plane, shape (plane,), and the keys (plate, channel) of the groups.
    """
    plate, plate_names = columns.codes(plates)
    channel, channel_names = columns.codes(channels)
    if "plate" not in by:
        plate, plate_names = np.zeros_like(plate), np.array([""], dtype=object)
    if "channel" not in by:
        channel, channel_names = np.zeros_like(channel), np.array([""], dtype=object)
    width = max(1, len(channel_names))
    pairs, codes = np.unique(plate * width + channel, return_inverse=True)
    keys = [(str(plate_names[pair // width]), str(channel_names[pair % width])) for pair in pairs.tolist()]
    return codes.astype(np.int64), keys

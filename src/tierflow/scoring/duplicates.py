"""Frozen frames and copies: the same pixels in more than one object."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from tierflow import tables
from tierflow.scoring import columns
from tierflow.scoring.columns import compute as pc


def find_duplicates(
    pixel_hash: pa.ChunkedArray[Any], object_id: pa.ChunkedArray[Any], path: pa.ChunkedArray[Any]
) -> pa.Table:
    """Find pixels that occur in more than one object.

    Args:
        pixel_hash: Hash of each plane's pixels, shape (plane,), no null. Leave blank planes out: all blank planes of a
            size are equal, which says nothing about a frozen camera.
        object_id: Object of each plane, likewise.
        path: Its path, likewise.

    Returns:
        A table of the schema `tables.DUPLICATES`: a row per hash and object, ordered by hash and path; the first object
        by path is listed too, with itself as the first.
    """
    code, hashes = columns.codes(pixel_hash)
    repeated = np.flatnonzero(np.bincount(code, minlength=len(hashes))[code] > 1)
    whole = {"pixel_hash": pixel_hash, "path": path, "object_id": object_id}
    found = columns.table({name: column.take(repeated) for name, column in whole.items()})
    # The same object may hold the same pixels twice, in different planes.
    found = found.group_by(["pixel_hash", "path", "object_id"]).aggregate([])
    found = found.take(pc.sort_indices(found, sort_keys=[(name, "ascending") for name in found.column_names]))
    code, hashes = columns.codes(found["pixel_hash"])
    # Rows are sorted, so the first of each hash is the first by path.
    first = np.searchsorted(code, np.arange(len(hashes)))[code]
    shared = pa.array(np.bincount(code, minlength=len(hashes))[code] > 1)
    rows = {
        "pixel_hash": found["pixel_hash"],
        "object_id": found["object_id"],
        "first_object_id": found["object_id"].take(first),
        "first_path": found["path"].take(first),
    }
    return columns.table(rows, schema=tables.DUPLICATES).filter(shared)

"""Columns of tables as numpy arrays, with nulls said plainly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

# The published type stubs know too few of the overloads of pyarrow's compute functions.
compute: Any = pyarrow.compute


def table(columns: Mapping[str, Any], schema: pa.Schema | None = None) -> pa.Table:
    """Build a table from arrays, chunked arrays, numpy arrays and lists alike."""
    made: pa.Table = pa.table(dict(columns), schema=schema)
    return made


def floats(column: pa.ChunkedArray[Any]) -> NDArray[np.float64]:
    """Return numbers, shape (row,); NaN for null."""
    return np.array(compute.fill_null(column, float("nan")).to_numpy(), dtype=np.float64)


def integers(column: pa.ChunkedArray[Any], *, null: int = 0) -> NDArray[np.int64]:
    """Return whole numbers, shape (row,); `null` for null."""
    return np.asarray(compute.fill_null(column, null).to_numpy(), dtype=np.int64)


def equals(column: pa.ChunkedArray[Any], value: str) -> NDArray[np.bool_]:
    """Tell which rows equal `value`, shape (row,); a null equals nothing."""
    return np.asarray(compute.fill_null(compute.equal(column, value), False).to_numpy(), dtype=np.bool_)


def texts(column: pa.ChunkedArray[Any]) -> NDArray[np.object_]:
    """Return text, shape (row,); None for null."""
    return np.asarray(column.to_numpy(), dtype=object)


def codes(column: pa.ChunkedArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Number the distinct values of a column in the order of their first appearance.

    Returns:
        Position in the distinct values for every row, shape (row,), and the distinct values. Null is a value.
    """
    encoded: Any = column.combine_chunks()
    encoded = encoded.dictionary_encode(null_encoding="encode")
    return (
        np.asarray(encoded.indices.to_numpy(), dtype=np.int64),
        np.asarray(encoded.dictionary.to_numpy(zero_copy_only=False), dtype=object),
    )


def nullable(values: NDArray[np.generic[Any]], valid: NDArray[np.bool_]) -> pa.Array[Any]:
    """Return values as a column that is null where `valid` is false; None is null as well."""
    made: pa.Array[Any] = pa.array(values, mask=~valid)
    return made


def lists(rows: Sequence[int], values: pa.Array[Any], *, count: int) -> pa.Array[Any]:
    """Return a column of lists from values that are sorted by row.

    Args:
        rows: Row of each value, ascending.
        values: The values.
        count: Number of rows; those without a value get an empty list.
    """
    sizes = np.bincount(np.array(rows, dtype=np.int64), minlength=count)
    offsets: Any = pa.array(np.concatenate(([0], np.cumsum(sizes))), pa.int32())
    made: pa.Array[Any] = pa.ListArray.from_arrays(offsets, values)
    return made

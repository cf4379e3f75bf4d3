"""What is known about the objects from elsewhere: a user's table, checked against its declaration and joined."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tierflow import tables
from tierflow.catalogue.schema import metadata_field
from tierflow.errors import ConfigError
from tierflow.io.layouts.base import well_of
from tierflow.metadata_cells import checked, read_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tierflow.config import Config, Metadata

_LOG = logging.getLogger(__name__)
_SHOWN = 3


def digest(config: Config) -> str:
    """Return a digest of the bytes of the table, "" where there is none (its step says what is wrong)."""
    path = config.metadata.table
    if not path:
        return ""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


def read(config: Config) -> pa.Table:
    """Read the table that `metadata.table` names, which must be given; `load` says what it returns and raises."""
    return load(Path(config.metadata.table or ""), config.metadata)


def load(path: Path, declared: Metadata) -> pa.Table:
    """Read a CSV or Parquet file and check it against its declaration.

    Rows without any value are left out; cells without one are null.

    Args:
        path: The file.
        declared: Key and fields.

    Returns:
        The key's columns as text in their normal form (wells as B03), then a column for each field.

    Raises:
        InputMissingError: if the file isn't there.
        ConfigError: naming the file and the column, row, value or key that is wrong, and what was expected. Rows are
            counted as spreadsheets do: the header is row 1.
    """
    texts, where = read_texts(path), str(path)
    _check_columns(list(texts), declared, where=where)
    whole = pa.table({name: texts[name] for name in [*declared.key, *declared.fields]})
    rows = np.arange(whole.num_rows, dtype=np.int64) + 2
    filled = np.zeros(whole.num_rows, dtype=np.bool_)
    for column in whole.columns:
        filled |= pc.is_valid(column).to_numpy()
    whole, rows = whole.filter(pa.array(filled)), rows[filled]
    keys: dict[str, Any] = {name: _key_column(whole[name], name, rows, where=where) for name in declared.key}
    _check_unique(keys, rows, where=where)
    arrays: list[Any] = list(keys.values())
    fields = [pa.field(name, pa.string()) for name in declared.key]
    for name, about in declared.fields.items():
        fields.append(metadata_field(name, about))
        arrays.append(checked(whole[name], about.type, name=name, rows=rows, where=where).cast(fields[-1].type))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def join(objects: pa.Table, table: pa.Table, declared: Metadata) -> pa.Table:
    """Return the user's fields of each object, in order; null where nothing in the table matches.

    Args:
        objects: Scan table.
        table: As `load` gives it.
        declared: Key and fields.
    """
    found = table.take(pa.array(_matches(objects, table, declared.key)))
    columns = [metadata_field(name, about) for name, about in declared.fields.items()]
    return found.select([column.name for column in columns]).cast(pa.schema(columns))


def for_shard(shard: Path, config: Config) -> pa.Table | None:
    """Return the user's fields of a shard's objects; None where the configuration names no table.

    Args:
        shard: The shard's scan table; those of the other shards lie beside it.
        config: The configuration.

    Raises:
        InputMissingError: if the table isn't there.
        ConfigError: if the table is wrong, or matches no object of the whole data set.
    """
    declared = config.metadata
    if not declared.table:
        return None
    table, objects = read(config), tables.read(shard)
    found = count_matches(objects, table, declared)
    if not found and objects.num_rows:
        _require_any(shard, table, declared)
    if found < objects.num_rows:
        _LOG.warning("%s knows %d of the %d objects of shard %s", declared.table, found, objects.num_rows, shard.stem)
    return join(objects, table, declared)


def count_matches(objects: pa.Table, table: pa.Table, declared: Metadata) -> int:
    """Return how many objects have a row in the table."""
    matches = _matches(objects, table, declared.key)
    return int(len(matches) - matches.null_count)


def _require_any(shard: Path, table: pa.Table, declared: Metadata) -> None:
    """See that the table knows at least one object of the data set; only asked where it knows none of a shard."""
    columns = list(declared.key)
    for other in sorted(shard.parent.glob("*.parquet")):
        if count_matches(tables.read(other, columns), table, declared):
            return
    ours, theirs = tables.read(shard, columns), table.select(columns)
    key = ", ".join(columns)
    raise ConfigError(
        f"{declared.table} matches no object by its key ({key}): the objects have {_examples(ours)}; the table has "
        f"{_examples(theirs)}: make the table's key columns say what the objects' names say, or choose another "
        "`metadata.key`"
    )


def _examples(table: pa.Table) -> str:
    rows = dict.fromkeys(tuple(row.values()) for row in table.slice(0, 1000).to_pylist())
    shown = [" / ".join("(none)" if value is None else str(value) for value in row) for row in list(rows)[:_SHOWN]]
    return ", ".join(repr(text) for text in shown) or "no rows"


def _matches(objects: pa.Table, table: pa.Table, key: Sequence[str]) -> Any:
    """Return the row of the table for every object, null where there is none."""
    own = _joined({name: _normal(objects[name].cast(pa.string()), name) for name in key})
    return pc.index_in(own, value_set=_joined({name: table[name] for name in key}), skip_nulls=True)


def _joined(columns: Mapping[str, Any]) -> Any:
    """Return one text per row from all key columns; null where one of them is."""
    # NUL can't occur in a file's name, and no two lists of parts give the same text.
    separator: Any = pa.scalar("\0")
    return pc.binary_join_element_wise(*columns.values(), separator)


def _normal(values: Any, name: str) -> Any:
    if name != "well":
        return values
    encoded = values.combine_chunks().dictionary_encode() if isinstance(values, pa.ChunkedArray) else values
    known = encoded.dictionary.to_pylist()
    normal = pa.array([(well_of(text) or (text,))[0] for text in known], pa.string())
    return normal.take(encoded.indices)


def _check_columns(found: Sequence[str], declared: Metadata, *, where: str) -> None:
    missing: list[str] = [name for name in declared.key if name not in found]
    if missing:
        raise ConfigError(
            f"{where}: the key's column {missing[0]!r} is missing, found {', '.join(found)}: add it, or change `key`"
        )
    missing = [name for name in declared.fields if name not in found]
    if missing:
        raise ConfigError(
            f"{where}: the declared field {missing[0]!r} has no column, found {', '.join(found)}: add the column, "
            "or remove the field from `fields`"
        )
    unknown = [name for name in found if name not in {*declared.key, *declared.fields}]
    if unknown:
        raise ConfigError(
            f"{where}: the column {unknown[0]!r} isn't declared: say its type under `fields`, or remove the column "
            f"(declared are {', '.join([*declared.key, *declared.fields])})"
        )


def _key_column(column: Any, name: str, rows: NDArray[np.int64], *, where: str) -> Any:
    if column.null_count:
        row = rows[pc.is_null(column).to_numpy()][0]
        raise ConfigError(f"{where}, row {row}: the key's column {name!r} is empty: fill it in, or remove the row")
    if name == "well":
        bad = [place for place, text in enumerate(column.to_pylist()) if well_of(text) is None]
        if bad:
            text = column[bad[0]].as_py()
            raise ConfigError(
                f"{where}, row {rows[bad[0]]}: {text!r} is no well: expected a letter and a number, as B03"
            )
    return _normal(column, name)


def _check_unique(keys: Mapping[str, Any], rows: NDArray[np.int64], *, where: str) -> None:
    joined = _joined(keys)
    first = pc.index_in(joined, value_set=pc.unique(joined)).to_numpy()
    _, starts = np.unique(first, return_index=True)
    again = np.setdiff1d(np.arange(len(first)), starts)
    if len(again):
        place = int(again[0])
        before = int(starts[np.searchsorted(first[starts], first[place])])
        shown = ", ".join(f"{name} {column[place].as_py()}" for name, column in keys.items())
        raise ConfigError(
            f"{where}: rows {rows[before]} and {rows[place]} have the same key ({shown}): keep one of them, or add a "
            "column to `key` that tells them apart"
        )


def require_readable(config: Config) -> None:
    """Read and check the table, before hours are spent on images.

    Raises:
        InputMissingError: if it isn't there.
        ConfigError: if it is wrong.
    """
    if config.metadata.table:
        read(config)

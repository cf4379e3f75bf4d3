"""Join the tables of one shard into catalogue records: pure, tables in, table out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tierflow.catalogue.schema import catalogue_schema, feature_units
from tierflow.errors import TableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Column = Any
"""A chunked array; pyarrow's stubs can't follow its kernels."""

PLANE_FACTS = ("height", "width", "samples", "dtype", "pixel_size_um", "pixel_hash")


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made the records: constant over a shard.

    Attributes: see the columns of the same names in `tierflow.catalogue.schema`.
    """

    dataset: str
    run: str
    config_digest: str
    function: str
    parameters: str
    parameter_set: str
    extractors: str
    version: str
    measured_at: str | None = None
    scored_at: str | None = None


def join(
    *,
    shard: pa.Table,
    extract: pa.Table,
    score: pa.Table,
    place: pa.Table,
    provenance: Provenance,
    metadata: pa.Table | None = None,
    histogram: bool = False,
) -> pa.Table:
    """Join one shard's tables into one record per object, in the order of the shard.

    Features and facts of the image are those of the plane that decided. Of an object that failed, the facts are those
    of its first row and the features are null. A feature that isn't a finite number becomes null, so that sorting
    and other stores treat it as missing.

    Args:
        shard: Table `SCAN` of the shard.
        extract: Its extract table.
        score: Its score table.
        place: Its place table.
        provenance: What made the records.
        metadata: The user's fields, a row per object in the order of the shard, as `schema.metadata_field` names them.
        histogram: Whether the histogram of the deciding plane is kept.

    Raises:
        TableError: if a table lacks an object of the shard.
        ConfigError: if a feature has the name of another column.
    """
    ids = shard["object_id"]
    score_rows = rows_of(ids, score, "score")
    best = best_rows(ids, extract, score["best_plane"].take(score_rows))
    facts = extract.take(pc.fill_null(best, rows_of(ids, extract, "extract")))
    schema = catalogue_schema(
        feature_units(extract.schema), metadata=() if metadata is None else metadata.schema, histogram=histogram
    )
    sources = {
        **_columns(place.take(rows_of(ids, place, "place"))),
        **{name: facts[name] for name in PLANE_FACTS},
        **{name: _finite(extract[name]).take(best) for name in feature_units(extract.schema)},
        **_columns(shard),
        **_columns(score.take(score_rows)),
        **{name: _constant(getattr(provenance, name), len(ids)) for name in Provenance.__slots__},
        **({} if metadata is None else _columns(metadata)),
        "histogram": extract["histogram"].take(best),
        "channel": pc.coalesce(shard["channel"], facts["channel_name"]),
        "planes": pa.array(_measured_planes(ids, extract), pa.int32()),
        "bytes": pc.coalesce(score["bytes"].take(score_rows), shard["bytes"]),
    }
    return pa.table({name: sources[name].cast(schema.field(name).type) for name in schema.names}, schema=schema)


def _columns(table: pa.Table) -> dict[str, Any]:
    return {name: table[name] for name in table.column_names}


def _constant(value: str | None, length: int) -> pa.Array[Any]:
    return pa.array([value] * length, pa.string())


def _finite(values: Column) -> Column:
    finite: Column = pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))
    return finite


def rows_of(ids: Column, table: pa.Table, name: str) -> Column:
    """Return the (first) row of `table` of every object."""
    rows: Column = pc.index_in(ids, value_set=table["object_id"])
    if rows.null_count:
        missing = ids.filter(pc.is_null(rows))[0].as_py()
        raise TableError(
            f"the {name} table lacks {rows.null_count} of the shard's {len(ids)} objects (first: {missing}): "
            f"delete it and run again"
        )
    return rows


def best_rows(ids: Column, extract: pa.Table, best_plane: Column) -> Column:
    """Return the row of the extract table that decided each object; null where none did."""
    slash: Any = pa.scalar("/")
    objects: Any = extract["object_id"]
    keys = pc.binary_join_element_wise(objects, extract["plane"].cast(pa.string()), slash)
    wanted = pc.binary_join_element_wise(ids, best_plane.cast(pa.string()), slash)
    rows: Column = pc.index_in(wanted, value_set=keys, skip_nulls=True)
    return rows


def _measured_planes(ids: Column, extract: pa.Table) -> NDArray[np.int64]:
    measured = extract.filter(pc.equal(extract["status"], pa.scalar("ok")))["object_id"]
    owner = pc.index_in(measured, value_set=ids).drop_null().to_numpy()
    return np.bincount(owner, minlength=len(ids))

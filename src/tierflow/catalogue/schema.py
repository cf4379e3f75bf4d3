"""The catalogue's columns: one row per object, with unit and meaning in the field metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tierflow import tables
from tierflow.catalogue.fields import METADATA_PREFIX
from tierflow.errors import ConfigError
from tierflow.tables import field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tierflow.config import MetadataField

MAX_FEATURE_NAME = 200
TIME_UNIT = "ISO 8601"
CATALOGUE_VERSION = "2"
"""Version of the columns below, stamped on every file as `tierflow.catalogue_version`."""

RECORD_SECTIONS = (
    "dataset",
    "scan",
    "extract",
    "baseline",
    "score",
    "policy",
    "tiers",
    "quarantine",
    "place",
    "metadata.key",
    "metadata.fields",
    "catalogue.histogram",
)
"""Sections of the configuration that decide what a record says, and so make its `config_digest`.

`input` isn't among them: the same data under another mount point gives the same records. Nor are the run's name and
the server: they say where a record is, not what it says.
"""


def time_field(name: str, about: str) -> pa.Field[Any]:
    """Make a column of moments: text of fixed width in UTC, so that the order of text is that of time."""
    return field(name, pa.string(), f"{about}; UTC, such as 2026-11-21T08:15:30.123Z", TIME_UNIT)


PROVENANCE = [
    field("config_digest", pa.string(), "12 hex digits over the configuration that made this record"),
    field("function", pa.string(), "interestingness function that scored it"),
    field("parameters", pa.string(), "the function's parameters with all defaults, as JSON"),
    field("parameter_set", pa.string(), "saved parameter set and digest of the score's settings, as NAME@DIGEST"),
    field("extractors", pa.string(), "extractors that measured it and the versions of their packages"),
    field("version", pa.string(), "version of tierflow that made this record"),
    time_field("measured_at", "when the shard's files were read and measured"),
    time_field("scored_at", "when the shard was scored"),
]

BASE = [
    tables.SCAN.field("object_id"),
    tables.SCAN.field("path"),
    tables.SCAN.field("path_bytes"),
    field("dataset", pa.string(), "name of the data set"),
    field("run", pa.string(), "name of the run that made this record"),
    tables.SCAN.field("unit_id"),
    tables.SCORE.field("status"),
    tables.SCORE.field("reason"),
    tables.SCORE.field("interestingness"),
    tables.PLACE.field("tier"),
    tables.PLACE.field("why"),
    tables.PLACE.field("policy_tier"),
    tables.PLACE.field("corrected_by"),
    tables.PLACE.field("corrected_at"),
    tables.PLACE.field("correction"),
    tables.SCORE.field("flags"),
    tables.SCORE.field("flag_details"),
    tables.PLACE.field("placement"),
    tables.PLACE.field("destination"),
    tables.PLACE.field("problem"),
    tables.PLACE.field("driver"),
    tables.SCORE.field("sha256"),
    tables.SCORE.field("bytes"),
    *tables.NAME_FIELDS,
    field("planes", pa.int32(), "planes of the object that were measured"),
    tables.SCORE.field("best_plane"),
    field("height", pa.int32(), "rows (y) of the deciding plane", "px"),
    field("width", pa.int32(), "columns (x) of the deciding plane", "px"),
    field("samples", pa.int32(), "1 for gray, 3 for RGB"),
    field("dtype", pa.string(), "type of the pixels in the file"),
    field("pixel_size_um", pa.float64(), "edge of a pixel, from metadata or configuration", "um"),
    field("pixel_hash", pa.string(), "hash of the deciding plane's pixels"),
    *PROVENANCE,
]
BASE_COLUMNS = [f.name for f in BASE]
HISTOGRAM = field(
    "histogram",
    pa.list_(pa.uint32(), tables.HISTOGRAM_BINS),
    "counts of 256 equal bins from min to max of the deciding plane",
)


def catalogue_schema(
    features: Mapping[str, str], *, metadata: Iterable[pa.Field[Any]] = (), histogram: bool = False
) -> pa.Schema:
    """Return the schema of a catalogue table.

    Args:
        features: Unit by feature name, in the order of the columns.
        metadata: Columns of the user's fields, as `metadata_field` makes them.
        histogram: Whether the 256-bin histogram is kept.

    Raises:
        ConfigError: if a feature has the name of another column.
    """
    check_feature_names(features)
    kept = [HISTOGRAM] if histogram else []
    measured = (field(name, pa.float64(), "feature", unit) for name, unit in features.items())
    return pa.schema([*BASE, *kept, *metadata, *measured])


_METADATA_TYPES: dict[str, pa.DataType] = {"integer": pa.int64(), "number": pa.float64()}


def metadata_field(name: str, declared: MetadataField) -> pa.Field[Any]:
    """Return the column of a declared field. Booleans are the texts true and false, dates are ISO 8601 text."""
    kind = _METADATA_TYPES.get(declared.type, pa.string())
    unit = declared.unit or (TIME_UNIT if declared.type == "date" else "")
    return field(METADATA_PREFIX + name, kind, declared.about or f"{name}, from the table of the data set", unit)


def check_feature_names(names: Iterable[str]) -> None:
    """Refuse feature names that can't be columns of the catalogue.

    Case doesn't tell columns apart, because it doesn't in SQL. A dot would part the name into two fields on a server.

    Raises:
        ConfigError: naming the feature and what its name collides with.
    """
    taken = {name.lower(): f"the catalogue's column {name!r}" for name in [*BASE_COLUMNS, HISTOGRAM.name]}
    for name in names:
        if "." in name or not 0 < len(name) <= MAX_FEATURE_NAME:
            raise ConfigError(
                f"feature {name!r} can't be a column of the catalogue: its extractor must give a name "
                f"without dots and of 1 to {MAX_FEATURE_NAME} characters"
            )
        if name.lower() in taken:
            raise ConfigError(
                f"feature {name!r} has the name of {taken[name.lower()]}: rename it in its extractor, "
                "for example by a prefix"
            )
        taken[name.lower()] = f"the feature {name!r}"


def feature_units(schema: pa.Schema) -> dict[str, str]:
    """Return the unit ("" for none) of every feature column of an extract or catalogue table, in its order."""
    return {
        name: (schema.field(name).metadata or {}).get(b"unit", b"").decode() for name in tables.feature_columns(schema)
    }

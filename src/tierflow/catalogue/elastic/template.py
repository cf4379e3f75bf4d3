"""The index template, generated from the catalogue's record: every field has one declared type, all else is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tierflow.catalogue.fields import METADATA_PREFIX
from tierflow.catalogue.record import Record, column_of
from tierflow.catalogue.schema import CATALOGUE_VERSION, TIME_UNIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tierflow.config import Elasticsearch

Tree = dict[str, Any]
KEYWORD: Tree = {"type": "keyword"}
DATE = {"type": "date", "format": "strict_date_optional_time", "ignore_malformed": True}
NUMBER: Tree = {"type": "double", "coerce": False}
# Sorting, aggregations and ranges work from column values; an inverted index would cost a quarter more disk.
FEATURE: Tree = {"type": "double", "index": False, "coerce": False}
DATES = frozenset({"acquired_at"})
"""Columns of text that hold moments or days as far as they can be read as such."""

# `Contains` is compiled to a regular expression of one class per letter.
MAX_PATTERN = 20_000
FIELD_LIMIT = 2000


def runs_alias(alias: str) -> str:
    """Return the alias of the index that holds a document per run.

    >>> runs_alias("lab-objects")
    'lab-runs'
    """
    return f"{alias.removesuffix('-objects')}-runs"


def first_index(alias: str) -> str:
    """Return the name of the first index behind an alias."""
    return f"{alias}-000001"


def index_template(settings: Elasticsearch, features: Mapping[str, str]) -> Tree:
    """Return the body of the index template; its parts are `component_templates`.

    Args:
        settings: Alias, shards and replicas.
        features: Unit by name of the features that are known beforehand; others may come with the documents.
    """
    return {
        "index_patterns": [f"{settings.alias}-*"],
        "priority": 500,
        "version": int(CATALOGUE_VERSION),
        "composed_of": list(component_templates(settings, features)),
        "_meta": {"managed_by": "tierflow"},
    }


def component_templates(settings: Elasticsearch, features: Mapping[str, str]) -> dict[str, Tree]:
    """Return the component templates by name: settings, and mappings."""
    parts = whole_index(settings, features)
    return {f"{settings.alias}-{name}": {"template": {name: part}} for name, part in parts.items()}


def whole_index(settings: Elasticsearch, features: Mapping[str, str]) -> Tree:
    """Return `settings` and `mappings` of an index of objects."""
    return {
        "settings": {
            "index": {
                "number_of_shards": settings.shards,
                "number_of_replicas": settings.replicas,
                "codec": "best_compression",
                "max_regex_length": MAX_PATTERN,
                "mapping": {"total_fields": {"limit": FIELD_LIMIT}},
            }
        },
        "mappings": mappings(features),
    }


def mappings(features: Mapping[str, str]) -> Tree:
    """Return the mapping: strict at the root and under `metadata`, numbers only under `features`."""
    return {
        "_meta": {"managed_by": "tierflow", "catalogue_version": CATALOGUE_VERSION},
        "dynamic": "strict",
        "date_detection": False,
        "dynamic_templates": [
            {
                "features": {
                    "path_match": "features.*",
                    # Text and booleans are caught too, and then refused: without a rule they would become text fields.
                    "match_mapping_type": ["double", "long", "string", "boolean"],
                    "mapping": FEATURE,
                }
            }
        ],
        "properties": {
            **{name: field_mapping(column_of(name)) for name in Record.model_fields if name not in Record.NESTED},
            "features": {"type": "object", "dynamic": True, "properties": dict.fromkeys(features, FEATURE)},
            "metadata": {"type": "object", "dynamic": "strict"},
            "not_finite": KEYWORD,
            "indexed_at": DATE,
            "digest": {"type": "keyword", "index": False},
        },
    }


def field_mapping(column: pa.Field[Any]) -> Tree:
    """Return the mapping of a column.

    Text is compared exactly, as keyword; moments can be used as dates under `NAME.date`. What can't be searched is
    kept in the document only.
    """
    kind = column.type
    if pa.types.is_string(kind):
        is_time = column.name in DATES or (column.metadata or {}).get(b"unit") == TIME_UNIT.encode()
        return {**KEYWORD, "fields": {"date": DATE}} if is_time else KEYWORD
    if pa.types.is_int64(kind):
        return {"type": "long", "coerce": False}
    if pa.types.is_integer(kind):
        return {"type": "integer", "coerce": False}
    if pa.types.is_floating(kind):
        return NUMBER
    if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        return KEYWORD
    return {"type": "object", "enabled": False}


def metadata_properties(columns: Iterable[pa.Field[Any]]) -> Tree:
    """Return what is put into the mapping before documents with these columns of a catalogue table are sent.

    Columns that aren't metadata are left out.
    """
    found = {
        column.name.removeprefix(METADATA_PREFIX): field_mapping(column)
        for column in columns
        if column.name.startswith(METADATA_PREFIX)
    }
    return {"properties": {"metadata": {"properties": found}}}

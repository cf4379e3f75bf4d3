"""What the server knows about its fields: columns with units and meanings, from the runs and from the mapping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tierflow.catalogue.elastic.template import runs_alias
from tierflow.catalogue.elastic.views import asking, hits, view
from tierflow.catalogue.fields import METADATA_PREFIX
from tierflow.catalogue.schema import BASE, CATALOGUE_VERSION, HISTOGRAM, TIME_UNIT
from tierflow.errors import ConfigError
from tierflow.tables import field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from elasticsearch import Elasticsearch as Client

    from tierflow.catalogue.elastic.compile import Tree
    from tierflow.catalogue.elastic.runs import RunDocument
    from tierflow.config import Elasticsearch

PAGE = 200
_TYPES: dict[str, pa.DataType] = {"long": pa.int64(), "int64": pa.int64(), "double": pa.float64()}
"""Column type by that of a mapping or of a run's document; everything else is text."""


def read_schema(client: Client, settings: Elasticsearch, *, run: str | None) -> pa.Schema:
    """Return the schema of the server's catalogue.

    Args:
        client: Client of the server.
        settings: Names the alias.
        run: Run that the catalogue is restricted to; None for all.

    Raises:
        InputMissingError: if there is no catalogue.
        ConfigError: if a newer tierflow wrote it.
    """
    with asking(settings):
        mappings = [found["mappings"] for found in client.indices.get_mapping(index=settings.alias).values()]
    for mapping in mappings:
        _check_version(mapping, settings)
    query = {"match_all": {}} if run is None else {"term": {"run": {"value": run}}}
    with view(client, settings, index=runs_alias(settings.alias)) as search:
        pages = hits(
            search,
            query=query,
            sort=[{"run": {"order": "asc"}}],
            page=PAGE,
            limit=None,
            source=["features", "metadata", "histogram"],
        )
        runs = [hit["_source"] for page in pages for hit in page]
    return described(runs, mappings)


def described(runs: Iterable[RunDocument], mappings: Iterable[Mapping[str, Any]]) -> pa.Schema:
    """Return the union of the columns of runs, and after them what only a mapping knows.

    Args:
        runs: Documents of runs.
        mappings: `mappings` of the indices behind the alias.
    """
    features: dict[str, str] = {}
    metadata: dict[str, pa.Field[Any]] = {}
    histogram = False
    for run in runs:
        for column in run.get("features", ()):
            features.setdefault(column["name"], column.get("unit", ""))
        for column in run.get("metadata", ()):
            metadata.setdefault(column["name"], _metadata(column["name"], column))
        histogram |= run.get("histogram", False)
    for mapping in mappings:
        for name in _properties(mapping, "features"):
            features.setdefault(name, "")
        for name, found in _properties(mapping, "metadata").items():
            unit = TIME_UNIT if found.get("fields") else ""
            metadata.setdefault(name, _metadata(name, {"type": found["type"], "unit": unit}))
    kept = [HISTOGRAM] if histogram else []
    measured = (field(name, pa.float64(), "feature", unit) for name, unit in features.items())
    return pa.schema([*BASE, *kept, *metadata.values(), *measured])


def _properties(mapping: Mapping[str, Any], section: str) -> Tree:
    found: Tree = mapping.get("properties", {}).get(section, {}).get("properties", {})
    return found


def _metadata(name: str, column: Mapping[str, str]) -> pa.Field[Any]:
    return field(
        METADATA_PREFIX + name,
        _TYPES.get(column.get("type", ""), pa.string()),
        column.get("about", ""),
        column.get("unit", ""),
    )


def _check_version(mapping: Mapping[str, Any], settings: Elasticsearch) -> None:
    version = mapping.get("_meta", {}).get("catalogue_version")
    if version is None:
        raise ConfigError(
            f"{settings.alias!r} at {settings.url} wasn't made by tierflow: give another alias, such as "
            "http://host:9200/lab-objects"
        )
    if int(version) > int(CATALOGUE_VERSION):
        raise ConfigError(
            f"the catalogue {settings.alias!r} at {settings.url} is of version {version}, this tierflow reads version "
            f"{CATALOGUE_VERSION}: install a newer tierflow"
        )

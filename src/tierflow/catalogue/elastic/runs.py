"""One document per run, beside those of its objects: what a search has to know that no single object says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elasticsearch import NotFoundError

from tierflow import tables
from tierflow.catalogue.elastic.template import DATE, KEYWORD, runs_alias
from tierflow.catalogue.fields import METADATA_PREFIX
from tierflow.catalogue.schema import CATALOGUE_VERSION, HISTOGRAM
from tierflow.clock import utc_now

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from elasticsearch import Elasticsearch as Client

    from tierflow.config import Elasticsearch

RunDocument = dict[str, Any]
"""Keys: `run`, `dataset`, `input` (root of the images), `output` (folder of the results), `features` and `metadata`
(lists of `{"name", "type", "unit", "about"}` in the order of the columns, metadata without prefix, types as Arrow names
them), `histogram` (whether records have one), `config_digest`, `function`, `parameter_set`, `catalogue_version` and
`updated_at`.
"""


def run_index(settings: Elasticsearch) -> dict[str, Any]:
    """Return settings and mapping of the index of runs, which is small."""
    kept = {"type": "object", "enabled": False}
    return {
        "settings": {"index": {"number_of_shards": 1, "number_of_replicas": settings.replicas}},
        "mappings": {
            "_meta": {"managed_by": "tierflow", "catalogue_version": CATALOGUE_VERSION},
            "dynamic": "strict",
            "date_detection": False,
            "properties": {
                **dict.fromkeys(("run", "dataset", "input", "output"), KEYWORD),
                **dict.fromkeys(("config_digest", "function", "parameter_set", "catalogue_version"), KEYWORD),
                "features": kept,
                "metadata": kept,
                "histogram": {"type": "boolean"},
                "updated_at": {**KEYWORD, "fields": {"date": DATE}},
            },
        },
    }


def run_document(table: pa.Table, *, output: Path) -> RunDocument:
    """Return the document of the run that a catalogue table belongs to, but for `updated_at`.

    Args:
        table: A shard's records; at least one.
        output: Output folder of the run.
    """
    stamp = tables.metadata_of(table)
    measured = set(tables.feature_columns(table.schema))
    first = {name: table[name][0].as_py() for name in ("run", "dataset", "config_digest", "function", "parameter_set")}
    return {
        **{name: value for name, value in first.items() if value is not None},
        "input": stamp.get("input", ""),
        "output": str(output),
        "features": [_column(column) for column in table.schema if column.name in measured],
        "metadata": [_column(column) for column in table.schema if column.name.startswith(METADATA_PREFIX)],
        "histogram": HISTOGRAM.name in table.column_names,
        "catalogue_version": CATALOGUE_VERSION,
    }


def publish_run(client: Client, settings: Elasticsearch, document: RunDocument) -> bool:
    """Write the document of a run, unless the server has it already.

    Returns:
        Whether anything was sent.
    """
    alias = runs_alias(settings.alias)
    try:
        found = dict(client.get(index=alias, id=document["run"])["_source"])
    except NotFoundError as error:
        if error.error == "index_not_found_exception":
            raise
        found = {}
    found.pop("updated_at", None)
    if found == document:
        return False
    client.index(index=alias, id=document["run"], document={**document, "updated_at": utc_now()}, require_alias=True)
    return True


def _column(column: pa.Field[Any]) -> dict[str, str]:
    metadata = column.metadata or {}
    return {
        "name": column.name.removeprefix(METADATA_PREFIX),
        "type": str(column.type),
        **{key: metadata.get(key.encode(), b"").decode() for key in ("unit", "about")},
    }

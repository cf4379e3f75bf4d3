"""Fill a server with records, as `publish` does for a shard."""

from __future__ import annotations

from pathlib import Path

import orjson

from tierflow import tables
from tierflow.catalogue.elastic.bulk import Action, send
from tierflow.catalogue.elastic.documents import document_id, documents
from tierflow.catalogue.elastic.index import ensure, put_metadata
from tierflow.catalogue.elastic.runs import publish_run, run_document
from tierflow.catalogue.elastic.template import runs_alias
from tierflow.catalogue.schema import feature_units


def fill(client, settings, table, *, source="/input", output=Path("/output")):
    """Send a catalogue table; what it holds can be searched when this returns."""
    known = {} if client.indices.exists_alias(name=settings.alias) else feature_units(table.schema)
    ensure(client, settings, features=known)
    put_metadata(client, settings, table.schema)
    actions = [
        Action(document_id(found["run"], found["object_id"]), 1, orjson.dumps(found)) for found in documents(table)
    ]
    outcomes = list(send(client, actions, settings=settings, index=settings.alias))
    assert {outcome.kind for outcome in outcomes} <= {"accepted"}, outcomes
    stamped = table.replace_schema_metadata({"tierflow.input": str(source)})
    assert tables.metadata_of(stamped) == {"input": str(source)}
    for run in dict.fromkeys(table["run"].to_pylist()):
        publish_run(client, settings, run_document(stamped, output=output) | {"run": run})
    client.indices.refresh(index=[settings.alias, runs_alias(settings.alias)])

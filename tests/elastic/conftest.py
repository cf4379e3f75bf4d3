"""A real Elasticsearch for the tests of this folder: each gets an alias of its own, and leaves nothing behind."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from elasticsearch import Elasticsearch as Client

from tierflow.catalogue.elastic.template import runs_alias
from tierflow.config import Elasticsearch


@pytest.fixture(scope="session")
def server_url(real_elasticsearch) -> str:
    """Address of the server."""
    if real_elasticsearch is None:
        pytest.skip("no Elasticsearch: set TIERFLOW_ES_URL to the address of a server for tests")
    return real_elasticsearch


@pytest.fixture(scope="session")
def client(server_url) -> Iterator[Client]:
    """A client that tests look over the shoulder with."""
    with Client(server_url, request_timeout=60) as found:
        yield found


@pytest.fixture
def elastic(server_url, client) -> Iterator[Elasticsearch]:
    """Settings with an alias of its own; its indices and templates are deleted afterwards."""
    settings = Elasticsearch(url=server_url, alias=f"t-{uuid.uuid4().hex[:10]}-objects", patience_s=20)
    yield settings
    forget(client, settings)


@pytest.fixture(scope="module")
def module_elastic(server_url, client) -> Iterator[Elasticsearch]:
    """The same, shared by a module's tests, which only read."""
    settings = Elasticsearch(url=server_url, alias=f"t-{uuid.uuid4().hex[:10]}-objects", patience_s=20)
    yield settings
    forget(client, settings)


def forget(client: Client, settings: Elasticsearch) -> None:
    """Delete everything that belongs to an alias."""
    stem = settings.alias.removesuffix("-objects")
    for alias in (settings.alias, runs_alias(settings.alias)):
        names = list(client.indices.get(index=f"{alias}-*", expand_wildcards="all"))
        if names:
            client.indices.delete(index=names)
    for name in client.options(ignore_status=404).indices.get_index_template(name=f"{stem}-*")["index_templates"]:
        client.indices.delete_index_template(name=name["name"])
    for part in client.options(ignore_status=404).cluster.get_component_template(name=f"{stem}-*")[
        "component_templates"
    ]:
        client.cluster.delete_component_template(name=part["name"])

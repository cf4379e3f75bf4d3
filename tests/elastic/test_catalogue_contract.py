"""The catalogue of a server meets the contract of catalogues, with one shard and with several."""

from __future__ import annotations

import uuid

import pytest
from filling import fill

from conftest import forget
from tierflow.catalogue.elastic.search import ElasticCatalogue
from tierflow.config import Elasticsearch
from tierflow.testing.catalogue import CatalogueContract


class OnServer(CatalogueContract):
    shards = 1

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _server(cls, server_url, client):
        cls.used = []
        cls.url, cls.client = server_url, client
        yield
        for settings in cls.used:
            forget(client, settings)

    @classmethod
    def make(cls, records, folder):
        settings = Elasticsearch(url=cls.url, alias=f"t-{uuid.uuid4().hex[:10]}-objects", shards=cls.shards)
        cls.used.append(settings)
        fill(cls.client, settings, records, output=folder)
        return ElasticCatalogue(settings)


class TestElasticCatalogue(OnServer):
    pass


class TestElasticCatalogueOfThreeShards(OnServer):
    shards = 3


del OnServer, CatalogueContract

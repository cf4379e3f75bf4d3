"""What searches say when something is wrong, and what they see when several runs share a server."""

from __future__ import annotations

import uuid

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from filling import fill

from tierflow.catalogue.elastic.search import ElasticCatalogue
from tierflow.catalogue.query import And, Contains, Eq, In, Not, Or, Query, Sort
from tierflow.config import Elasticsearch
from tierflow.errors import InputMissingError, QueryError, TryAgainError
from tierflow.testing.catalogue_model import planted_records


def of_run(table, run, scored_at):
    for name, value in (("run", run), ("scored_at", scored_at)):
        column = pa.array([value] * len(table), pa.string())
        table = table.set_column(table.column_names.index(name), table.schema.field(name), column)
    return table


def test_runs_are_told_apart(client, elastic, tmp_path):
    table = planted_records()
    fill(client, elastic, of_run(table, "old", "2026-01-01T00:00:00.000Z"), source="/a", output="/old")
    fill(client, elastic, of_run(table, "new", "2026-02-01T00:00:00.000Z"), source="/b", output="/new")
    both = ElasticCatalogue(elastic)
    assert both.count() == 36
    assert both.facets("run") == [("new", 18), ("old", 18)]
    found, cursor = [], None
    for _ in range(8):
        page = both.search(Query(sort=(Sort("tier"),), limit=5, cursor=cursor))
        found += [(row["tier"], row["object_id"], row["run"]) for row in page.rows]
        cursor = page.next_cursor
    assert cursor is None
    assert found == sorted(found)
    assert len(set(found)) == 36
    object_id = table["object_id"][0].as_py()
    assert both.get(object_id)["run"] == "new"
    old = ElasticCatalogue(elastic, run="old")
    assert old.get(object_id)["run"] == "old"
    assert old.count() == 18
    assert [s.count for s in old.stats("row")] == [18]
    assert old.batches(Query(limit=None)).read_all()["run"].unique().to_pylist() == ["old"]
    kept = table.filter(pc.is_null(table["destination"]))["path_bytes"][0].as_py()
    assert {path for path in both.paths(Query(limit=None)) if path.endswith(b"/" + kept)} == {
        b"/a/" + kept,
        b"/b/" + kept,
    }
    assert ElasticCatalogue(elastic, run="no such run").count() == 0


def test_no_catalogue_names_the_remedy(server_url):
    nowhere = ElasticCatalogue(Elasticsearch(url=server_url, alias=f"t-{uuid.uuid4().hex[:8]}-objects"))
    with pytest.raises(InputMissingError, match=r"has no catalogue.*tierflow elastic rebuild OUTPUT"):
        nowhere.count()


def test_an_alias_that_vanishes(client, elastic):
    fill(client, elastic, planted_records())
    catalogue = ElasticCatalogue(elastic)
    assert catalogue.count() == 18
    client.indices.delete(index=f"{elastic.alias}-000001")
    with pytest.raises(InputMissingError, match="has no catalogue"):
        catalogue.search(Query())
    with pytest.raises(InputMissingError, match="has no catalogue"):
        catalogue.percentiles("row")


def test_a_server_that_is_away():
    away = ElasticCatalogue(Elasticsearch(url="http://127.0.0.1:9", alias="x-objects"))
    with pytest.raises(TryAgainError, match=r"http://127\.0\.0\.1:9"):
        away.count()


def test_queries_beyond_the_servers_limits(client, elastic):
    fill(client, elastic, planted_records())
    catalogue = ElasticCatalogue(elastic)
    with pytest.raises(QueryError, match="more conditions than the server allows"):
        catalogue.count(Or(tuple(Eq("path", str(n)) for n in range(70_000))))
    deep = Eq("tier", "A")
    for _ in range(70):
        deep = Not(And((Or((Eq("well", "A"), Eq("site", "1"))), Or((Eq("plate", "p"), deep)))))
    with pytest.raises(QueryError, match="nested deeper"):
        catalogue.count(deep)
    assert catalogue.count(In("path", tuple(str(n) for n in range(70_000)))) == 0
    with pytest.raises(QueryError, match="repeats itself too often"):
        catalogue.count(Contains("path", "a" * 500))
    assert catalogue.count(Contains("path", "a" * 100)) == 0

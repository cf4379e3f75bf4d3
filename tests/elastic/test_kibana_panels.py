"""Every panel of every dashboard, asked of a real server: its numbers are those of the Parquet catalogue."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from elasticsearch import helpers

from tierflow import tables
from tierflow.catalogue.elastic.documents import document_id, documents
from tierflow.catalogue.elastic.index import ensure
from tierflow.catalogue.elastic.runs import publish_run, run_document
from tierflow.catalogue.elastic.template import runs_alias
from tierflow.catalogue.parquet import ParquetCatalogue
from tierflow.catalogue.query import Query
from tierflow.catalogue.schema import feature_units
from tierflow.kibana.aggregations import aggregation, listing
from tierflow.kibana.dashboards import DASHBOARDS, SEARCHES
from tierflow.kibana.panels import Bins, Dates, Terms
from tierflow.testing.tables import make_run

RECEIVED = ("2026-11-21T08:15:30.123Z", "2026-11-21T09:59:59.999Z", "2026-11-21T10:00:00.000Z")
PANELS = [(board.name, panel) for board in DASHBOARDS for panel in board.charts]


@pytest.fixture(scope="module")
def filled(module_elastic, client, tmp_path_factory):
    """Two runs of two plates each, on the server and in Parquet: settings, and the Parquet catalogue."""
    output = tmp_path_factory.mktemp("both")
    for seed, name in enumerate(("first", "second")):
        made = make_run(
            tmp_path_factory.mktemp(name), objects=600, shard_objects=300, seed=seed, failed_share=0.1, catalogue=True
        )
        for shard in sorted((made / "catalogue").glob("*.parquet")):
            table = _named(tables.read(shard), name)
            tables.write(output / "catalogue" / f"{name}-{shard.name}", table, **_stamp(table))
            ensure(client, module_elastic, features=feature_units(table.schema))
            helpers.bulk(client, _actions(table), index=module_elastic.alias, require_alias=True)
        publish_run(client, module_elastic, run_document(table, output=made))
    client.indices.refresh(index=[module_elastic.alias, runs_alias(module_elastic.alias)])
    return module_elastic, ParquetCatalogue(output)


def _stamp(table):
    kept = tables.metadata_of(table)
    return {name: kept[name] for name in ("input", "dataset", "catalogue_version")}


def _named(table, run):
    """Return the records as those of a named run, some of them corrected by a person."""
    names = table.column_names
    columns = {
        "run": [run] * len(table),
        "parameter_set": [f"focus@{run[:2]}"] * len(table),
        "corrected_by": ["anna" if i % 50 == 0 else None for i in range(len(table))],
        "corrected_at": [RECEIVED[0] if i % 50 == 0 else None for i in range(len(table))],
    }
    for name, values in columns.items():
        table = table.set_column(names.index(name), table.schema.field(name), pa.array(values, pa.string()))
    return table


def _actions(table):
    for found in documents(table):
        received = {"indexed_at": _received(found["object_id"])}
        yield {"_id": document_id(found["run"], found["object_id"]), "_source": found | received}


def _rows(catalogue, where):
    """Return the records that a filter finds in Parquet, with the time that the server knows besides."""
    found = catalogue.batches(Query(where, limit=None)).read_all().to_pylist()
    return [row | {"indexed_at": _received(row["object_id"])} for row in found]


def _received(object_id):
    return RECEIVED[int(object_id[:8], 16) % len(RECEIVED)]


def _value_of(row, field):
    return row[field.removeprefix("features.").removesuffix(".date")]


def _keys(bucket, row):
    """Return the groups that a record belongs to: as many as it has flags, otherwise one or none."""
    value = _value_of(row, bucket.field)
    if value is None:
        return []
    match bucket:
        case Terms():
            return value if isinstance(value, list) else [value]
        case Bins(_, _, interval):
            return [round(math.floor(value / interval) * interval, 9)]
        case Dates(_, _, "1d"):
            return [value[:10]]
        case Dates():
            return [value[:13]]


def _grouped(panel, rows):
    groups = defaultdict(list)
    for row in rows:
        keys = [()]
        for bucket in panel.buckets:
            keys = [(*key, part) for key in keys for part in _keys(bucket, row)]
        for key in keys:
            groups[key].append(row)
    return dict(groups)


def _answered(panel, answer):
    """Return the innermost groups of an answer by their keys."""

    def walk(node, depth, key):
        if depth == len(panel.buckets):
            return {key: node}
        bucket, found = panel.buckets[depth], {}
        for part in node[f"g{depth}"]["buckets"]:
            found |= walk(part, depth + 1, (*key, _key(bucket, part)))
        return found

    whole = answer.get("aggregations", {})
    return walk({**whole, "doc_count": answer["hits"]["total"]["value"]}, 0, ())


def _key(bucket, part):
    match bucket:
        case Terms():
            return part["key"]
        case Bins():
            return round(part["key"], 9)
        case Dates(_, _, interval):
            return part["key_as_string"][: 10 if interval == "1d" else 13]


def _check_value(value, node, name, rows):
    """Compare one number of one group; percentiles are approximate on the server."""
    if value.operation == "count":
        assert node["doc_count"] == len(rows)
        return
    known = [found for row in rows if (found := _value_of(row, value.field)) is not None]
    if value.operation == "unique_count":
        assert node[name]["value"] == len(set(known))
    elif value.field.endswith(".date"):
        assert node[name]["value_as_string"][:19] == max(known)[:19]
    elif value.operation in ("median", "percentile"):
        share = 0.5 if value.operation == "median" else value.percent / 100
        found = node[name]["values"][0]["value"]
        if not known:
            assert found is None
            return
        low, high = (np.quantile(known, min(max(q, 0), 1)) for q in (share - 0.05, share + 0.05))
        assert low - 1e-9 <= found <= high + 1e-9
    else:
        expected = {"average": np.mean, "min": np.min, "max": np.max}[value.operation](known)
        assert node[name]["value"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=[f"{board}-{panel.name}" for board, panel in PANELS])
def test_a_panel_shows_the_numbers_of_the_catalogue(filled, client, board, panel):
    settings, catalogue = filled
    answer = client.search(index=settings.alias, **aggregation(panel)).body
    expected, found = _grouped(panel, _rows(catalogue, panel.where)), _answered(panel, answer)
    assert found
    assert answer["hits"]["total"]["value"] == catalogue.count(panel.where)
    if _is_cut(panel):
        assert set(found) < set(expected)
    else:
        assert set(found) == set(expected)
    for key, node in found.items():
        for i, value in enumerate(panel.values):
            _check_value(value, node, f"v{i}", expected[key])


def _is_cut(panel):
    """Tell whether there are more groups than the panel shows: the list of single images alone."""
    return panel.name == "worst-table"


def test_the_worst_images_are_the_worst(filled, client):
    settings, catalogue = filled
    panel = next(panel for _, panel in PANELS if _is_cut(panel))
    answer = client.search(index=settings.alias, **aggregation(panel)).body
    found = [bucket["v0"]["value"] for bucket in answer["aggregations"]["g0"]["buckets"]]
    lowest = defaultdict(list)
    for row in _rows(catalogue, panel.where):
        lowest[row["object_id"]].append(row["interestingness"])
    assert found == sorted(min(scores) for scores in lowest.values())[: panel.across.size]


@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: search.name)
def test_a_saved_search_lists_the_records(filled, client, search):
    settings, catalogue = filled
    is_runs = search.view == "runs"
    index = runs_alias(settings.alias) if is_runs else settings.alias
    answer = client.search(index=index, **listing(search, size=2000)).body
    rows = [hit["_source"] for hit in answer["hits"]["hits"]]
    assert len(rows) == answer["hits"]["total"]["value"] == (2 if is_runs else catalogue.count(search.where))
    assert rows
    # Every column is filled in some record, but for what nothing in these runs has.
    assert {name for row in rows for name in row} >= set(search.columns) - {"problem"}


def test_a_field_that_is_not_in_the_index_is_no_panel(filled, client):
    """The server answers a misspelt field with nothing at all: that is why every panel's answer must hold something."""
    settings, _ = filled
    body = {"size": 0, "aggs": {"g0": {"terms": {"field": "tiers"}}}}
    assert client.search(index=settings.alias, **body).body["aggregations"]["g0"]["buckets"] == []

"""The two backends give equal answers to a thousand random questions."""

from __future__ import annotations

import math
import random
import uuid

import pyarrow as pa
import pytest
from filling import fill

from conftest import forget
from tierflow import tables
from tierflow.catalogue.elastic.search import ElasticCatalogue
from tierflow.catalogue.fields import Fields
from tierflow.catalogue.parquet import ParquetCatalogue
from tierflow.catalogue.query import EVERYTHING, Query, Sort
from tierflow.catalogue.schema import CATALOGUE_VERSION
from tierflow.config import Elasticsearch
from tierflow.testing.catalogue_model import planted_records, random_filter
from tierflow.testing.tables import make_run

QUESTIONS = 500
OBJECTS = 2000


def planted(folder):
    output = folder / "output"
    tables.write(
        output / "catalogue" / "00000.parquet", planted_records(), input="/input", catalogue_version=CATALOGUE_VERSION
    )
    return output


def synthetic(folder):
    return make_run(folder, objects=OBJECTS, shard_objects=700, planes=1, catalogue=True)


@pytest.fixture(scope="module", params=[(planted, 1), (synthetic, 3)], ids=["planted", "synthetic"])
def both(request, tmp_path_factory, server_url, client):
    make, shards = request.param
    output = make(tmp_path_factory.mktemp("both"))
    settings = Elasticsearch(url=server_url, alias=f"t-{uuid.uuid4().hex[:10]}-objects", shards=shards)
    parts = [tables.read(path) for path in sorted((output / "catalogue").glob("*.parquet"))]
    table = pa.concat_tables(parts)
    fill(client, settings, table, source=tables.metadata_of(parts[0])["input"], output=output)
    yield ParquetCatalogue(output), ElasticCatalogue(settings), table
    forget(client, settings)


def equal(ours, theirs):
    """The same, where means and deviations of numbers are summed in another order."""
    return len(ours) == len(theirs) and all(
        (a.group, a.count, a.minimum, a.maximum) == (b.group, b.count, b.minimum, b.maximum)
        and all(x == y or math.isclose(x, y, rel_tol=1e-9, abs_tol=1e-300) for x, y in ((a.mean, b.mean), (a.sd, b.sd)))
        for a, b in zip(ours, theirs, strict=True)
    )


def test_a_thousand_random_questions(both):
    embedded, server, table = both
    rng = random.Random(8_192)
    rows = table.to_pylist()
    fields = Fields.of_schema(table.schema)
    sortable = [name for name, field in fields.items() if field.kind in ("text", "integer", "number")]
    countable = [name for name, field in fields.items() if field.kind != "opaque"]
    numbers = [name for name, field in fields.items() if field.kind in ("integer", "number")]
    sample = rng.sample(rows, min(200, len(rows)))
    for _ in range(QUESTIONS):
        filters = rng.choice([EVERYTHING, random_filter(rng, sample, fields)])
        kind = rng.choice(["search"] * 4 + ["count", "facets", "histogram", "percentiles", "stats", "stats by"])
        about = f"{kind} of {filters}"
        if kind == "search":
            sort = tuple(Sort(name, descending=rng.random() < 0.5) for name in rng.sample(sortable, rng.randint(0, 3)))
            cursor = None
            limit = rng.choice([1, 7, 100, 3000])
            columns = tuple(rng.sample(countable, rng.choice([0, 4])))
            for _ in range(3):
                asked = Query(filters, sort=sort, limit=limit, cursor=cursor, columns=columns)
                ours, theirs = embedded.search(asked), server.search(asked)
                assert ours == theirs, about
                cursor = ours.next_cursor
                if cursor is None:
                    break
        elif kind == "count":
            assert embedded.count(filters) == server.count(filters), about
        elif kind == "facets":
            name, limit = rng.choice(countable), rng.choice([1, 3, 100, 20_000])
            ours = embedded.facets(name, filters=filters, limit=limit)
            assert ours == server.facets(name, filters=filters, limit=limit), (about, name)
        elif kind == "histogram":
            name, bins = rng.choice(numbers), rng.choice([1, 3, 10, 5000])
            ours = embedded.histogram(name, bins=bins, filters=filters)
            assert ours == server.histogram(name, bins=bins, filters=filters), (about, name, bins)
        elif kind == "percentiles":
            name, percents = rng.choice(numbers), (0.0, 1.0, 25.0, 50.0, 99.9, 100.0, rng.uniform(0, 100))
            ours = embedded.percentiles(name, percents=percents, filters=filters)
            # The two neighbours are the same; the engine may round once less between them.
            theirs = server.percentiles(name, percents=percents, filters=filters)
            close = ours if None in ours.values() else pytest.approx(ours, rel=4e-16, abs=0)
            assert theirs == close, (about, name)
        else:
            name, by = rng.choice(numbers), rng.choice(countable) if kind == "stats by" else None
            ours = embedded.stats(name, by=by, filters=filters)
            assert equal(ours, server.stats(name, by=by, filters=filters)), (about, name, by)


def test_exports_are_the_same_bytes(both, tmp_path):
    embedded, server, _ = both
    for fmt in ("csv", "json", "paths0"):
        for columns in ((), ("path_bytes", "flags", "flag_details", "interestingness")):
            asked = Query(sort=(Sort("interestingness", descending=True),), limit=None, columns=columns)
            ours, theirs = tmp_path / f"ours.{fmt}", tmp_path / f"theirs.{fmt}"
            assert embedded.export(asked, fmt, ours) == server.export(asked, fmt, theirs)
            expected = ours.read_bytes().replace(b"-0.0,", b"0.0,")
            assert theirs.read_bytes() == expected, (fmt, columns)


def test_parquet_exports_are_the_same(both):
    embedded, server, table = both
    asked = Query(sort=(Sort("path"),), limit=len(table) - 1)
    ours, theirs = embedded.batches(asked).read_all(), server.batches(asked).read_all()
    assert ours.num_rows == len(table) - 1
    assert theirs.schema.equals(ours.schema, check_metadata=True)
    assert theirs.to_pylist() == ours.to_pylist()


def test_every_record_is_the_same(both):
    embedded, server, table = both
    for object_id in table["object_id"].to_pylist()[:50]:
        assert server.get(object_id) == embedded.get(object_id)

"""The catalogue on a server beside the embedded one: sending, searching, exporting, and bytes per object.

    TIERFLOW_ES_URL=http://127.0.0.1:9200 python benchmarks/elastic.py throughput
    TIERFLOW_ES_URL=http://127.0.0.1:9200 python benchmarks/elastic.py queries --objects 1000000

`throughput` sends the same documents by a bare `streaming_bulk` and by tierflow, in turns, in one run. `queries` times
every kind of question on both backends. Writes only to indices of its own, and deletes them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch as Client
from elasticsearch import helpers
from synthetic_catalogue import make_catalogue

from tierflow import config_io, tables
from tierflow.catalogue.base import Catalogue
from tierflow.catalogue.elastic.connection import connect
from tierflow.catalogue.elastic.documents import document_id, documents
from tierflow.catalogue.elastic.index import ensure
from tierflow.catalogue.elastic.publish import publish
from tierflow.catalogue.elastic.search import ElasticCatalogue
from tierflow.catalogue.elastic.template import runs_alias
from tierflow.catalogue.language import parse
from tierflow.catalogue.parquet import ParquetCatalogue
from tierflow.catalogue.query import Query, Sort
from tierflow.catalogue.schema import feature_units
from tierflow.config import Elasticsearch

REPEATS = 20


@contextmanager
def alias(url: str) -> Iterator[Elasticsearch]:
    """Give settings with an alias of its own; its indices and templates are deleted afterwards."""
    settings = Elasticsearch(url=url, alias=f"bench-{uuid.uuid4().hex[:8]}-objects")
    stem = settings.alias.removesuffix("-objects")
    client = Client(url, request_timeout=60)
    try:
        yield settings
    finally:
        for name in (settings.alias, runs_alias(settings.alias)):
            client.indices.delete(
                index=",".join(client.indices.get(index=f"{name}-*")) or "none", ignore_unavailable=True
            )
        for template in client.indices.get_index_template(name=f"{stem}-*")["index_templates"]:
            client.indices.delete_index_template(name=template["name"])
        client.cluster.delete_component_template(name=f"{stem}-*")


def use(output: Path, settings: Elasticsearch) -> None:
    """Point the run's configuration at the server."""
    tree = config_io.read_tree(output / "config.yaml")
    tree["catalogue"]["elasticsearch"] = settings.model_dump(mode="json")
    config_io.write(output / "config.yaml", config_io.validate(tree))


def publish_all(output: Path) -> float:
    """Send every shard, one after the other; return the seconds."""
    started = time.perf_counter()
    for shard in sorted((output / "catalogue").glob("*.parquet")):
        publish(shard, config=output / "config.yaml", receipt=output / "publish" / f"{shard.stem}.json")
    return time.perf_counter() - started


def bare(output: Path, settings: Elasticsearch, **options: Any) -> float:
    """Send the same documents by the client's own helper; reading and joining aren't timed, its JSON is."""
    actions = [
        {
            "_op_type": "index",
            "_id": document_id(d["run"], d["object_id"]),
            "version": 1,
            "version_type": "external_gte",
            "_source": d,
        }
        for shard in sorted((output / "catalogue").glob("*.parquet"))
        for d in documents(tables.read(shard))
    ]
    with Client(settings.url or "", request_timeout=60, max_retries=0, **options) as client:
        started = time.perf_counter()
        sent = helpers.streaming_bulk(
            client,
            actions,
            index=settings.alias,
            chunk_size=1000,
            max_chunk_bytes=5 << 20,
            raise_on_error=False,
            require_alias=True,
        )
        assert all(ok for ok, _ in sent)
        return time.perf_counter() - started


def throughput(url: str, objects: int, rounds: int) -> None:
    """Time sending to fresh indices, in turns."""
    ours, plain, fast, again = [], [], [], []
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(rounds):
            output = make_catalogue(Path(scratch) / str(number), objects=objects, per_shard=objects // 4)
            units = feature_units(tables.read(next((output / "catalogue").glob("*.parquet"))).schema)
            for seconds, options in ((plain, {}), (fast, {"serializer": "orjson"})):
                with alias(url) as settings, connect(settings) as client:
                    ensure(client, settings, features=units)
                    given = {"serializer": orjson_serializer()} if options else {}
                    seconds.append(bare(output, settings, **given))
            with alias(url) as settings:
                use(output, settings)
                ours.append(publish_all(output))
                again.append(publish_all(output))
    print(f"{objects:,} documents, {rounds} rounds, documents per second (median)")
    for name, seconds in (
        ("bare streaming_bulk", plain),
        ("bare streaming_bulk, orjson", fast),
        ("tierflow publish, with reading, digests and ledger", ours),
        ("tierflow publish again, nothing changed", again),
    ):
        print(f"  {name:52s} {objects / statistics.median(seconds):9,.0f}")
    print(f"  ratio to bare streaming_bulk: {statistics.median(plain) / statistics.median(ours):.2f}")
    print(f"  ratio to bare streaming_bulk with orjson: {statistics.median(fast) / statistics.median(ours):.2f}")


def orjson_serializer() -> Any:
    """Return the client's fast serializer."""
    from elasticsearch.serializer import OrjsonSerializer

    return OrjsonSerializer()


def questions(catalogue: Catalogue) -> dict[str, Callable[[], Any]]:
    """Return one call per kind of question."""
    fields = catalogue.fields()
    best = (Sort("interestingness", descending=True),)
    exact = parse("tier:A and well:B0* and features.snr>5", fields)
    some = parse("plate:plate_00007", fields)
    inside = parse("path:*e_00012/IMAGE_00003*", fields)
    [page] = [catalogue.search(Query(exact, sort=best, limit=50))]
    known = page.rows[0]["object_id"]
    return {
        "get by id": lambda: catalogue.get(known),
        "search tier, well, snr; best 50": lambda: catalogue.search(Query(exact, sort=best, limit=50)),
        "its next page": lambda: catalogue.search(Query(exact, sort=best, limit=50, cursor=page.next_cursor)),
        "search text inside paths": lambda: catalogue.search(Query(inside, limit=50)),
        "count one plate": lambda: catalogue.count(some),
        "facets tier": lambda: catalogue.facets("tier"),
        "facets plate, 1,000": lambda: catalogue.facets("plate", limit=1000),
        "facets flags": lambda: catalogue.facets("flags"),
        "histogram of interestingness, 20": lambda: catalogue.histogram("interestingness", bins=20),
        "histogram of snr, 100": lambda: catalogue.histogram("features.snr", bins=100),
        "percentiles of snr (exact)": lambda: catalogue.percentiles("features.snr"),
        "stats of snr by tier": lambda: catalogue.stats("features.snr", by="tier"),
        "stats of score by well": lambda: catalogue.stats("interestingness", by="well"),
    }


def timed(call: Callable[[], Any], repeats: int, forget: Callable[[], object]) -> tuple[float, float]:
    """Return median and 95th percentile in milliseconds, after one call that isn't counted.

    `forget` empties the server's cache of answers before each call: the same question twice costs nothing otherwise.
    """
    call()
    seconds = []
    for _ in range(repeats):
        forget()
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) * 1e3, sorted(seconds)[int(0.95 * (repeats - 1))] * 1e3


def queries(url: str, objects: int, repeats: int) -> None:
    """Time questions and exports on both backends over the same records."""
    with tempfile.TemporaryDirectory() as scratch, alias(url) as settings:
        output = make_catalogue(Path(scratch), objects=objects)
        parquet_bytes = sum(path.stat().st_size for path in (output / "catalogue").iterdir())
        use(output, settings)
        seconds = publish_all(output)
        print(f"published {objects:,} records in {seconds:.0f} s: {objects / seconds:,.0f}/s")
        client = Client(url, request_timeout=600)
        client.indices.refresh(index=settings.alias)
        client.indices.flush(index=settings.alias)
        size = client.indices.stats(index=settings.alias)["_all"]["primaries"]["store"]["size_in_bytes"]
        print(
            f"bytes per object: index {size / objects:,.0f} (as merged so far), Parquet {parquet_bytes / objects:,.0f}"
        )
        backends: dict[str, Catalogue] = {
            "server": ElasticCatalogue(settings),
            "embedded": ParquetCatalogue(output, threads=2),
        }

        def forget() -> object:
            return client.indices.clear_cache(index=settings.alias, request=True)

        asked = {name: questions(catalogue) for name, catalogue in backends.items()}
        print(f"{'milliseconds, median (p95) of ' + str(repeats):44s}" + "".join(f"{name:>22s}" for name in backends))
        for question in asked["server"]:
            found = [timed(asked[name][question], repeats, forget) for name in backends]
            print(f"{question:44s}" + "".join(f"{median:12,.0f} ({p95:6,.0f})" for median, p95 in found))
        for title, columns in (
            ("export, three columns", ("tier", "interestingness", "features.snr")),
            ("export, all columns", ()),
        ):
            rates = []
            for catalogue in backends.values():
                limit = min(objects, 200_000)
                started = time.perf_counter()
                rows = sum(
                    b.num_rows for b in catalogue.batches(Query(sort=(Sort("path"),), limit=limit, columns=columns))
                )
                rates.append(rows / (time.perf_counter() - started))
            print(f"{title + ', records per second':44s}" + "".join(f"{rate:22,.0f}" for rate in rates))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["throughput", "queries"])
    parser.add_argument("--objects", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    given = parser.parse_args()
    address = os.environ.get("TIERFLOW_ES_URL") or parser.error("set TIERFLOW_ES_URL")
    if given.what == "throughput":
        throughput(address, given.objects, given.rounds)
    else:
        queries(address, given.objects, given.repeats)

"""Faults of a real server and around it: nothing is lost, nothing doubled, and the step says what to do.

The servers are started, killed and reset by these tests alone. One speaks to everybody; the other one wants a
password and takes little at a time.
"""

from __future__ import annotations

import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import elasticsearch
import pyarrow as pa
import pytest
from elasticsearch import Elasticsearch as Client
from own_server import OwnServer, need_script, own_port
from publishing import Shard, finish, wait_until, with_value, writes
from tls_proxy import TlsProxy, tls_proxy

from tierflow import tables
from tierflow.catalogue.elastic import index
from tierflow.catalogue.elastic.connection import connect
from tierflow.catalogue.elastic.documents import documents
from tierflow.config import Elasticsearch
from tierflow.errors import ConfigError, TryAgainError
from tierflow.testing.tables import make_run

pytestmark = [pytest.mark.shared, pytest.mark.slow, pytest.mark.xdist_group("own-elasticsearch")]

OBJECTS = 6000
PASSWORD = "Rain-on-slate-417"
WATERMARK = "cluster.routing.allocation.disk"
MORE_THAN_ANY_DISK = "900tb"


@pytest.fixture(scope="session")
def records(tmp_path_factory) -> pa.Table:
    """The catalogue of one large shard."""
    output = make_run(tmp_path_factory.mktemp("run"), objects=OBJECTS, shard_objects=OBJECTS, catalogue=True)
    return tables.read(output / "catalogue" / "00000.parquet")


@pytest.fixture(scope="session")
def own() -> Iterator[OwnServer]:
    """The server that speaks to everybody; not started yet."""
    need_script()
    with own_port() as port, OwnServer(port, {"cluster.info.update.interval": "10s"}).ours() as server:
        yield server


@pytest.fixture
def server(own) -> Iterator[OwnServer]:
    """The same, answering; started again after a test that left it dead or asleep."""
    own.heal()
    yield own
    own.heal()


@pytest.fixture
def client(server) -> Iterator[Client]:
    with server.client() as found:
        yield found


@pytest.fixture(scope="session")
def narrow() -> Iterator[OwnServer]:
    """The server with a password that takes little at a time."""
    need_script()
    limits = {
        "indexing_pressure.memory.limit": "512kb",
        "thread_pool.write.queue_size": "2",
        "http.max_content_length": "1mb",
    }
    with own_port() as port, OwnServer(port, limits, password=PASSWORD).ours() as server:
        server.run("start")
        yield server


@pytest.fixture
def narrow_client(narrow, monkeypatch) -> Iterator[Client]:
    """A client of it; the step finds the password too."""
    monkeypatch.setenv("TIERFLOW_ES_PASSWORD", PASSWORD)
    with narrow.client() as found:
        yield found


@pytest.fixture
def make(tmp_path, records) -> Callable[..., Shard]:
    """Makes a shard whose records go behind an alias of the test's own."""
    alias = f"f-{uuid.uuid4().hex[:10]}-objects"

    def shard(server: OwnServer, *, rows: int = OBJECTS, **settings: Any) -> Shard:
        known = {"patience_s": 60, "timeout_s": 20} | settings
        return Shard.make(tmp_path, records.slice(0, rows), Elasticsearch(url=server.url, alias=alias, **known))

    return shard


@contextmanager
def half_done(shard: Shard, client: Client, *, documents: int = 500) -> Iterator[subprocess.Popen[bytes]]:
    """Run the step as a process, up to the moment when the server has some of the documents but not all."""
    step = shard.start()
    try:
        wait_until(lambda: writes(client, shard.settings.alias) >= documents, f"{documents} documents")
        yield step
    finally:
        step.kill()
        step.wait()


# ---- the server goes away


def test_server_absent_at_the_start(own, make):
    own.run("stop")
    shard = make(own, rows=1000, patience_s=1)
    assert shard.code() == 75
    assert own.url in shard.said()
    assert not shard.receipt.exists()
    own.run("start")
    assert shard.code() == 0
    with own.client() as client:
        assert shard.differences(client) == []
        assert shard.receipt.exists()


def test_server_killed_in_the_middle_and_back_while_the_step_goes_on(server, client, make):
    shard = make(server, chunk_documents=20, patience_s=120)
    with half_done(shard, client) as step:
        server.run("kill9")
        assert step.poll() is None
        server.run("start")
        assert finish(step) == 0
    assert shard.differences(client) == []
    assert shard.receipt.exists()
    assert shard.dead_letters() == []


def test_server_killed_in_the_middle_and_staying_away(server, client, make):
    shard = make(server, chunk_documents=20, patience_s=1)
    with half_done(shard, client) as step:
        server.run("kill9")
        assert finish(step) == 75
    assert server.url in shard.said()
    assert not shard.receipt.exists()
    server.run("start")
    assert len(shard.differences(client)) > 1
    assert shard.code() == 0
    assert shard.differences(client) == []
    assert shard.receipt.exists()


def test_server_that_hangs_for_a_while(server, client, make):
    shard = make(server, chunk_documents=20, timeout_s=1, patience_s=120)
    with half_done(shard, client) as step:
        server.run("pause")
        wait_until(lambda: "timed out" in shard.said(), "a request that timed out")
        assert step.poll() is None
        server.run("resume")
        assert finish(step) == 0
    assert shard.differences(client) == []


def test_late_writes_of_a_server_that_hung_do_not_undo_newer_ones(server, client, make, records):
    shard = make(server, chunk_documents=20, timeout_s=1, patience_s=1)
    with half_done(shard, client) as step:
        server.run("pause")
        assert finish(step) == 75
    assert server.url in shard.said()
    assert not shard.receipt.exists()
    shard.write(with_value(records, "tier", "D"))
    server.run("resume")
    assert shard.code() == 0
    assert shard.differences(client) == []
    assert client.count(index=shard.settings.alias, query={"term": {"tier": "D"}})["count"] == OBJECTS


# ---- the server refuses


@pytest.mark.parametrize(("block", "word"), [("write", "block"), ("read_only_allow_delete", "disk")])
def test_index_that_is_read_only(server, client, make, records, block, word):
    shard = make(server, rows=1000)
    shard.publish()
    shard.receipt.unlink()
    shard.write(with_value(records.slice(0, 2000), "tier", "B", rows={7}))
    client.indices.put_settings(index=shard.settings.alias, settings={f"index.blocks.{block}": True})
    with pytest.raises(TryAgainError, match=word):
        shard.publish()
    assert not shard.receipt.exists()
    assert shard.dead_letters() == []
    client.indices.put_settings(index=shard.settings.alias, settings={f"index.blocks.{block}": None})
    shard.publish()
    assert shard.differences(client) == []


def test_block_in_the_middle(server, client, make):
    shard = make(server, chunk_documents=20)
    with half_done(shard, client) as step:
        client.indices.put_settings(index=shard.settings.alias, settings={"index.blocks.write": True})
        assert finish(step) == 75
    assert not shard.receipt.exists()
    client.indices.put_settings(index=shard.settings.alias, settings={"index.blocks.write": None})
    assert shard.code() == 0
    assert shard.differences(client) == []


def test_full_disk_of_the_server(server, client, make, records):
    shard = make(server, rows=1000)
    shard.publish()
    shard.receipt.unlink()
    shard.write(with_value(records.slice(0, 1000), "tier", "C"))
    watermarks = {f"{WATERMARK}.watermark.{name}": MORE_THAN_ANY_DISK for name in ("low", "high", "flood_stage")}
    client.cluster.put_settings(persistent={f"{WATERMARK}.threshold_enabled": True, **watermarks})
    try:
        wait_until(lambda: _flooded(client, shard), "the block of a full disk")
        with pytest.raises(TryAgainError, match="disk"):
            shard.publish()
    finally:
        client.cluster.put_settings(persistent={f"{WATERMARK}.*": None})
    assert not shard.receipt.exists()
    assert shard.dead_letters() == []
    wait_until(lambda: not _flooded(client, shard), "the end of the block")
    shard.publish()
    assert shard.differences(client) == []


def _flooded(client: Client, shard: Shard) -> bool:
    found = client.indices.get_settings(index=shard.settings.alias, flat_settings=True)
    return any("index.blocks.read_only_allow_delete" in each["settings"] for each in found.values())


def test_server_with_a_small_queue_and_many_writers(narrow, narrow_client, records, tmp_path):
    settings = Elasticsearch(url=narrow.url, alias="queue-objects", chunk_documents=100, patience_s=120)
    shards = [
        Shard.make(tmp_path, records.slice(first, 500), settings, name=f"{number:05d}")
        for number, first in enumerate(range(0, OBJECTS, 500))
    ]
    before = _rejected(narrow_client)
    with ThreadPoolExecutor(len(shards)) as pool:
        list(pool.map(Shard.publish, shards))
    assert _rejected(narrow_client) > before
    whole = Shard.make(tmp_path / "whole", records, settings)
    assert whole.differences(narrow_client) == []
    assert [shard.dead_letters() for shard in shards] == [[]] * len(shards)
    assert all(shard.receipt.exists() for shard in shards)


def _rejected(client: Client) -> int:
    """Requests that the server turned away because it had too much to do."""
    [node] = client.nodes.stats(metric=["indexing_pressure", "thread_pool"])["nodes"].values()
    memory = node["indexing_pressure"]["memory"]["total"]
    return int(
        memory["coordinating_rejections"] + memory["primary_rejections"] + node["thread_pool"]["write"]["rejected"]
    )


@pytest.mark.parametrize(("rows", "status"), [(500, 429), (1000, 413)])
def test_chunk_that_the_server_never_takes(narrow, narrow_client, make, records, rows, status):
    shard = make(narrow, rows=2 * rows, chunk_documents=rows)
    assert _status_of_bulk(narrow_client, records.slice(0, rows)) == status
    shard.publish()
    assert shard.differences(narrow_client) == []
    assert shard.dead_letters() == []


def test_record_that_the_server_never_takes(narrow, narrow_client, make, records):
    shard = make(narrow, rows=1000)
    details = [{"flag": "huge", "feature": None, "value": None, "limit": None, "text": "x" * 1_200_000}]
    shard.write(with_value(records.slice(0, 1000), "flag_details", details, rows={500}))
    shard.publish()
    [letter] = shard.dead_letters()
    assert letter["object_id"] == records["object_id"][500].as_py()
    assert "413" in letter["reason"]
    assert len(shard.expected()) == 999
    assert shard.differences(narrow_client) == []


def _status_of_bulk(client: Client, records: pa.Table) -> int:
    """Send records at once to an index that isn't there; return what the server says of the whole request."""
    lines = [line for document in documents(records) for line in ({"index": {"_id": document["object_id"]}}, document)]
    try:
        client.bulk(index="nowhere", operations=lines, require_alias=True)
    except elasticsearch.ApiError as error:
        return error.status_code
    return 200


def test_one_document_of_a_thousand_does_not_fit_the_mapping(server, client, make, records):
    shard = make(server, rows=1000)
    with connect(shard.settings) as writer:
        index.ensure(writer, shard.settings, features={})
    # Somebody's older extractor counted in whole numbers.
    whole = {"properties": {"features": {"properties": {"black_share": {"type": "long", "coerce": False}}}}}
    client.indices.put_mapping(index=shard.settings.alias, **whole)
    shard.write(with_value(with_value(records.slice(0, 1000), "black_share", 0.0), "black_share", 0.5, rows={321}))
    assert shard.code() == 0
    [letter] = shard.dead_letters()
    assert letter["object_id"] == records["object_id"][321].as_py()
    assert "black_share" in letter["reason"]
    assert len(shard.expected()) == 999
    assert shard.differences(client) == []
    assert shard.receipt_says()["dead_letters"] == 1
    assert shard.receipt_says()["accepted"] == 999


# ---- credentials and certificates


def test_wrong_password(narrow, make):
    shard = make(narrow, rows=100, patience_s=1)
    wrong = "Sun-on-basalt-952"
    assert shard.code({"TIERFLOW_ES_PASSWORD": wrong}) == 78
    assert "TIERFLOW_ES_PASSWORD" in shard.said()
    assert not shard.receipt.exists()
    assert shard.code({"TIERFLOW_ES_PASSWORD": PASSWORD}) == 0
    with narrow.client() as client:
        assert shard.differences(client) == []
    assert not [path for path in shard.output.rglob("*") if path.is_file() and _holds(path, wrong, PASSWORD)]


def _holds(path: Path, *secrets: str) -> bool:
    content = path.read_bytes()
    return any(secret.encode() in content for secret in secrets)


@pytest.fixture(scope="session")
def tls(narrow, tmp_path_factory) -> Iterator[TlsProxy]:
    """The narrow server behind TLS."""
    with tls_proxy(narrow.port, tmp_path_factory.mktemp("certificates")) as proxy:
        yield proxy


@pytest.mark.parametrize("known_by", ["ca_file", "fingerprint"])
def test_certificate(narrow, narrow_client, tls, make, known_by):
    right = {"ca_file": str(tls.ca_file), "fingerprint": tls.fingerprint}
    wrong = {"ca_file": str(tls.other_ca_file), "fingerprint": "ab" * 32}
    shard = make(narrow, rows=100, patience_s=1)
    server = {"url": tls.url}
    shard = shard.configure(shard.settings.model_copy(update=server | {known_by: wrong[known_by]}))
    with pytest.raises(ConfigError, match="certificate") as caught:
        shard.publish()
    assert tls.url in str(caught.value)
    assert not shard.receipt.exists()
    shard = shard.configure(shard.settings.model_copy(update=server | {known_by: right[known_by]}))
    shard.publish()
    assert shard.differences(narrow_client) == []


def test_unknown_certificate_is_never_taken(narrow_client, narrow, tls, make):
    shard = make(narrow, rows=100, patience_s=1)
    shard = shard.configure(shard.settings.model_copy(update={"url": tls.url}))
    with pytest.raises(ConfigError, match="certificate"):
        shard.publish()
    assert not shard.receipt.exists()


# ---- clocks and processes


@pytest.mark.parametrize("ledger", ["kept", "lost"])
def test_clock_that_goes_backwards(server, client, make, records, monkeypatch, ledger):
    shard = make(server, rows=1000)
    _set_clock(monkeypatch, 4_000_000_000_000)
    shard.publish()
    shard.receipt.unlink()
    if ledger == "lost":
        for path in (shard.output / ".tierflow" / "published").glob("*"):
            path.unlink()
    shard.write(with_value(records.slice(0, 1000), "tier", "A", rows={1, 2, 3}))
    _set_clock(monkeypatch, 1_000_000_000_000)
    shard.publish()
    assert shard.differences(client) == []
    assert shard.receipt.exists()


def _set_clock(monkeypatch, now_ms: int) -> None:
    monkeypatch.setattr("tierflow.catalogue.elastic.publish.now_ms", lambda: now_ms)


def test_publisher_killed_in_the_middle(server, client, make):
    shard = make(server, chunk_documents=20)
    with half_done(shard, client) as step:
        step.send_signal(signal.SIGKILL)
        assert step.wait() == -signal.SIGKILL
    assert not shard.receipt.exists()
    assert len(shard.differences(client)) > 1
    assert shard.code() == 0
    assert shard.differences(client) == []
    written = writes(client, shard.settings.alias)
    shard.receipt.unlink()
    assert shard.code() == 0
    assert writes(client, shard.settings.alias) == written


def test_two_publishers_of_one_shard_at_once(server, client, make):
    shard = make(server, chunk_documents=100)
    steps = [shard.start(), shard.start()]
    assert [finish(step) for step in steps] == [0, 0]
    assert shard.differences(client) == []
    assert shard.receipt.exists()
    assert client.indices.get_alias(name=shard.settings.alias).body.keys() == {f"{shard.settings.alias}-000001"}


def test_publisher_that_slept_does_not_undo_a_newer_catalogue(server, client, make, records):
    shard = make(server, chunk_documents=20)
    with half_done(shard, client) as stale:
        stale.send_signal(signal.SIGSTOP)
        shard.write(with_value(records, "tier", "D"))
        shard.publish()
        told = shard.receipt.read_bytes()
        stale.send_signal(signal.SIGCONT)
        assert finish(stale) == 75
    assert shard.receipt.read_bytes() == told
    assert shard.differences(client) == []
    shard.publish()
    assert shard.differences(client) == []

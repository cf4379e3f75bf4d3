"""Publishing a shard to a real server: only what differs is sent, and the server ends up with exactly the shard."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pyarrow as pa
import pytest
from publishing import Shard, with_value, writes

from tierflow import tables
from tierflow.catalogue.elastic import index, ledger
from tierflow.catalogue.elastic.connection import connect
from tierflow.catalogue.elastic.documents import document_id
from tierflow.catalogue.elastic.source import Source
from tierflow.catalogue.elastic.template import first_index, runs_alias
from tierflow.catalogue.schema import metadata_field
from tierflow.config import MetadataField
from tierflow.errors import ConfigError, TryAgainError
from tierflow.testing.tables import make_run

OBJECTS = 60


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> pa.Table:
    output = make_run(tmp_path_factory.mktemp("run"), objects=OBJECTS, shard_objects=OBJECTS, catalogue=True)
    return tables.read(output / "catalogue" / "00000.parquet")


@pytest.fixture
def shard(tmp_path, records, elastic) -> Shard:
    return Shard.make(tmp_path, records, elastic)


def with_metadata(records: pa.Table, value: object, declared: MetadataField) -> pa.Table:
    column = metadata_field("dose", declared)
    return records.append_column(column, pa.array([value] * len(records), column.type))


def test_fresh_server_gets_everything(shard, client):
    shard.publish()
    assert shard.differences(client) == []
    told = shard.receipt_says()
    assert told["records"] == told["sent"] == told["accepted"] == OBJECTS
    assert told["bytes"] > OBJECTS * 100
    assert {told[name] for name in ("unchanged", "deleted", "dead_letters", "rejected", "conflicts", "retries")} == {0}
    assert told["alias"] == shard.settings.alias
    settings = client.indices.get_settings(index=first_index(shard.settings.alias), flat_settings=True)
    assert told["index_uuid"] == settings[first_index(shard.settings.alias)]["settings"]["index.uuid"]
    assert told["started_at"] <= told["ended_at"]


def test_second_time_sends_nothing(shard, client):
    shard.publish()
    written = writes(client, shard.settings.alias)
    shard.publish()
    assert writes(client, shard.settings.alias) == written == OBJECTS
    told = shard.receipt_says()
    assert (told["sent"], told["unchanged"], told["bytes"]) == (0, OBJECTS, 0)


def test_rewritten_table_with_equal_records_sends_nothing(shard, client, records):
    shard.publish()
    tables.write(shard.catalogue, records, **tables.metadata_of(records), remark="other bytes")
    shard.publish()
    assert shard.receipt_says()["sent"] == 0
    assert writes(client, shard.settings.alias) == OBJECTS


def test_one_changed_record_is_sent_alone(shard, client, records):
    shard.publish()
    shard.write(with_value(records, "tier", "D", rows={7}))
    shard.publish()
    assert shard.receipt_says()["sent"] == 1
    assert shard.receipt_says()["unchanged"] == OBJECTS - 1
    assert shard.differences(client) == []


def test_removed_record_is_deleted(shard, client, records):
    shard.publish()
    shard.write(records.slice(2))
    shard.publish()
    told = shard.receipt_says()
    assert (told["deleted"], told["sent"], told["unchanged"]) == (2, 0, OBJECTS - 2)
    assert shard.differences(client) == []
    shard.write(records)
    shard.publish()
    assert shard.receipt_says()["sent"] == 2
    assert shard.differences(client) == []


def test_object_that_moved_to_another_shard_stays(shard, client, records):
    shard.publish()
    other = Shard(shard.output, shard.settings, "00001")
    other.write(records.slice(0, 2))
    other.publish()
    shard.write(records.slice(2))
    shard.publish()
    assert shard.receipt_says()["deleted"] == 0
    client.indices.refresh(index=shard.settings.alias)
    assert client.count(index=shard.settings.alias)["count"] == OBJECTS


def test_shard_that_a_newer_scan_lacks_is_deleted(shard, client, records):
    other = Shard(shard.output, shard.settings, "00001")
    shard.write(records.slice(0, 40))
    other.write(records.slice(40))
    shard.publish()
    other.publish()
    (shard.output / "scan").mkdir()
    (shard.output / "scan" / "summary.json").write_text(json.dumps({"shards": [{"name": "00000", "objects": 40}]}))
    shard.publish()
    assert shard.differences(client) == []
    assert not other.receipt.exists()


def test_lost_ledger_costs_requests_only(shard, client):
    shard.publish()
    (shard.output / ".tierflow" / "published" / "00000.parquet").unlink()
    shard.publish()
    assert shard.receipt_says()["sent"] == shard.receipt_says()["accepted"] == OBJECTS
    assert shard.differences(client) == []


def test_damaged_ledger_costs_requests_only(shard, client):
    shard.publish()
    (shard.output / ".tierflow" / "published" / "00000.parquet").write_bytes(b"PAR1 not at all")
    shard.publish()
    assert shard.differences(client) == []


def test_index_that_was_deleted_is_made_and_filled_anew(shard, client):
    shard.publish()
    client.indices.delete(index=first_index(shard.settings.alias))
    shard.publish()
    assert shard.receipt_says()["sent"] == OBJECTS
    assert shard.differences(client) == []


def test_other_cluster_or_alias_gets_everything(shard, client, records):
    shard.publish()
    ours = ledger.read(shard.output / ".tierflow" / "published" / "00000.parquet")
    assert len(ours.entries) == OBJECTS
    ledger.write(
        shard.output / ".tierflow" / "published" / "00000.parquet",
        ledger.Ledger("another-cluster/another-index", ours.entries, ours.whole),
    )
    shard.publish()
    assert shard.receipt_says()["sent"] == OBJECTS


def test_higher_version_of_a_clock_that_was_wrong_is_outbid(shard, client, records, monkeypatch):
    monkeypatch.setattr("tierflow.catalogue.elastic.publish.now_ms", lambda: 4_000_000_000_000)
    shard.publish()
    (shard.output / ".tierflow" / "published" / "00000.parquet").unlink()
    monkeypatch.undo()
    shard.write(with_value(records, "tier", "D", rows={1, 2}))
    shard.publish()
    told = shard.receipt_says()
    assert told["conflicts"] == OBJECTS
    assert told["sent"] == told["accepted"] == OBJECTS
    assert shard.differences(client) == []
    # Those that were the same were looked at, not sent.
    assert writes(client, shard.settings.alias) == OBJECTS + 2


def test_higher_version_of_a_deleted_document_is_outbid(shard, client, records, monkeypatch):
    monkeypatch.setattr("tierflow.catalogue.elastic.publish.now_ms", lambda: 4_000_000_000_000)
    shard.publish()
    shard.write(records.slice(1))
    shard.publish()
    (shard.output / ".tierflow" / "published" / "00000.parquet").unlink()
    monkeypatch.undo()
    shard.write(records)
    shard.publish()
    assert shard.differences(client) == []


def test_stale_job_is_refused(shard, client, records, monkeypatch):
    shard.publish()
    shard.receipt.unlink()
    fresh = with_value(records, "tier", "D")
    shard.write(with_value(records, "tier", "C"))
    ensure = index.ensure

    def newer_job_first(*args, **kwargs):
        monkeypatch.setattr(index, "ensure", ensure)
        shard.write(fresh)
        shard.publish()
        shard.receipt.unlink()
        ensure(*args, **kwargs)

    monkeypatch.setattr(index, "ensure", newer_job_first)
    with pytest.raises(TryAgainError, match="replaced"):
        shard.publish()
    assert not shard.receipt.exists()
    assert shard.differences(client) == []
    shard.publish()
    assert shard.receipt_says()["sent"] == 0


def test_stale_job_whose_table_looks_right_at_first(shard, client, records, monkeypatch):
    # The older job looks at its table, sleeps, and sends when the newer one is done: versions decide.
    shard.publish()
    shard.receipt.unlink()
    shard.write(with_value(records, "tier", "C"))
    looked = []

    def sleepy(self):
        if not looked:
            looked.append(True)
            shard.write(with_value(records, "tier", "D"))
            time.sleep(0.01)
            shard.publish()
            shard.receipt.unlink()
            return
        original(self)

    original = Source.require_current
    monkeypatch.setattr(Source, "require_current", sleepy)
    with pytest.raises(TryAgainError, match="replaced"):
        shard.publish()
    assert not shard.receipt.exists()
    assert shard.differences(client) == []


def test_dead_letters(shard, client, records):
    with connect(shard.settings) as writer:
        index.ensure(writer, shard.settings, features={})
    client.indices.put_mapping(
        index=shard.settings.alias,
        properties={"features": {"properties": {"black_share": {"type": "long", "coerce": False}}}},
    )
    shard.write(with_value(with_value(records, "black_share", 0.0), "black_share", 0.5, rows={3}))
    shard.publish()
    [letter] = shard.dead_letters()
    assert letter["object_id"] == records["object_id"][3].as_py()
    assert letter["path"] == records["path"][3].as_py()
    assert "black_share" in letter["reason"]
    assert letter["error"] == "document_parsing_exception"
    assert json.loads(letter["document"])["features"]["black_share"] == 0.5
    told = shard.receipt_says()
    assert (told["sent"], told["accepted"], told["rejected"], told["dead_letters"]) == (OBJECTS, OBJECTS - 1, 1, 1)
    assert shard.differences(client) == []

    shard.publish()
    told = shard.receipt_says()
    assert (told["sent"], told["rejected"], told["dead_letters"]) == (0, 0, 1)
    assert shard.dead_letters() == [letter]

    shard.write(with_value(with_value(records, "black_share", 0.0), "black_share", 1.0, rows={3}))
    shard.publish()
    assert (shard.receipt_says()["sent"], shard.receipt_says()["dead_letters"]) == (1, 0)
    assert shard.dead_letters() == []
    assert shard.differences(client) == []


def test_dead_letters_are_tried_again_at_another_index(shard, client, records):
    whole_numbers = {"features": {"properties": {"black_share": {"type": "long", "coerce": False}}}}
    with connect(shard.settings) as writer:
        index.ensure(writer, shard.settings, features={})
    client.indices.put_mapping(index=shard.settings.alias, properties=whole_numbers)
    shard.write(with_value(records, "black_share", 0.5))
    shard.publish()
    assert len(shard.dead_letters()) == OBJECTS
    client.indices.delete(index=first_index(shard.settings.alias))
    shard.publish()
    assert shard.dead_letters() == []
    assert shard.differences(client) == []


def test_numbers_that_are_not_finite_are_named_and_left_out(shard, client, records):
    shard.write(with_value(with_value(records, "black_share", float("nan"), rows={1}), "interestingness", float("inf")))
    shard.publish()
    assert shard.receipt_says()["dead_letters"] == 0
    assert shard.differences(client) == []
    key = document_id(records["run"][1].as_py(), records["object_id"][1].as_py())
    found = client.get(index=shard.settings.alias, id=key)["_source"]
    assert set(found["not_finite"]) == {"interestingness", "features.black_share"}


def test_metadata_is_put_into_the_mapping(shard, client, records):
    shard.publish()
    shard.write(with_metadata(records, 2.5, MetadataField(type="number", unit="uM")))
    shard.publish()
    assert shard.dead_letters() == []
    assert shard.differences(client) == []
    mapping = client.indices.get_mapping(index=first_index(shard.settings.alias))
    properties = mapping[first_index(shard.settings.alias)]["mappings"]["properties"]
    assert properties["metadata"]["properties"]["dose"]["type"] == "double"


def test_metadata_of_another_type_in_another_data_set_is_explained(shard, client, records, tmp_path):
    shard.write(with_metadata(records, 2.5, MetadataField(type="number")))
    shard.publish()
    other = Shard.make(tmp_path / "other", with_metadata(records, "high", MetadataField(type="text")), shard.settings)
    with pytest.raises(ConfigError, match=r"metadata\.dose is a number .* text in this one.*dose_2"):
        other.publish()
    assert not other.receipt.exists()
    assert shard.differences(client) == []


def test_run_document(shard, client, records):
    shard.write(with_metadata(records, 2.5, MetadataField(type="number", unit="uM", about="what was given")))
    shard.publish()
    run = records["run"][0].as_py()
    found = client.get(index=runs_alias(shard.settings.alias), id=run)
    document = found["_source"]
    assert document["run"] == run
    assert document["dataset"] == records["dataset"][0].as_py()
    assert document["input"] == tables.metadata_of(records)["input"]
    assert Path(document["output"]) == shard.output
    assert [each["name"] for each in document["features"]] == tables.feature_columns(records.schema)
    assert document["metadata"] == [{"name": "dose", "type": "double", "unit": "uM", "about": "what was given"}]
    assert document["updated_at"].endswith("Z")
    shard.publish()
    assert client.get(index=runs_alias(shard.settings.alias), id=run)["_version"] == found["_version"]


def test_shard_without_records(shard, client, records):
    shard.write(records.slice(0, 0))
    shard.publish()
    assert shard.receipt_says()["records"] == shard.receipt_says()["sent"] == 0
    assert shard.differences(client) == []


def test_alias_that_is_an_index_is_refused(shard, client):
    client.indices.create(index=shard.settings.alias)
    try:
        with pytest.raises(ConfigError, match="expects an alias"):
            shard.publish()
        assert not shard.receipt.exists()
    finally:
        client.indices.delete(index=shard.settings.alias)


@pytest.mark.parametrize(("version", "words"), [("1", "migrate"), ("99", "newer tierflow"), (None, "made by tierflow")])
def test_index_of_another_version_is_refused(shard, client, version, words):
    meta = {} if version is None else {"catalogue_version": version}
    client.indices.create(
        index=first_index(shard.settings.alias),
        aliases={shard.settings.alias: {"is_write_index": True}},
        mappings={"_meta": meta},
    )
    with connect(shard.settings) as writer, pytest.raises(ConfigError, match=words):
        index.ensure(writer, shard.settings, features={})


def test_alias_without_an_index_to_write_to_is_explained(shard, client):
    shard.publish()
    client.indices.create(index=f"{shard.settings.alias}-000002")
    actions = [
        {"add": {"index": f"{shard.settings.alias}-00000{n}", "alias": shard.settings.alias, "is_write_index": False}}
        for n in (1, 2)
    ]
    client.indices.update_aliases(actions=actions)
    with pytest.raises(ConfigError, match="is_write_index"):
        shard.publish()


def test_two_jobs_make_the_index_once(elastic, client):
    with connect(elastic) as one:
        index.put_templates(one, elastic, features={})
        index.create(one, alias=elastic.alias, index=first_index(elastic.alias))
        index.create(one, alias=elastic.alias, index=first_index(elastic.alias))
        index.create(one, alias=elastic.alias, index=f"{elastic.alias}-000002")
        index.ensure(one, elastic, features={})
    assert client.indices.get_alias(name=elastic.alias).body.keys() == {first_index(elastic.alias)}


def test_server_that_is_away_is_waited_for_once(shard, tmp_path):
    away = shard.configure(shard.settings.model_copy(update={"url": "http://127.0.0.1:9", "patience_s": 0.5}))
    with pytest.raises(TryAgainError, match="nothing is lost"):
        away.publish()
    notes = shard.output / ".tierflow" / "errors"
    notes.mkdir(parents=True, exist_ok=True)
    (notes / "publish-77.json").write_text(json.dumps({"step": "publish", "exit_code": 75, "message": ""}))
    hopeless = shard.configure(away.settings.model_copy(update={"patience_s": 3600}))
    with pytest.raises(TryAgainError, match=r"127\.0\.0\.1:9 doesn't answer"):
        hopeless.publish()
    assert not shard.receipt.exists()
    # The server is back: a note of an earlier failure doesn't keep anything from being sent.
    shard.configure(shard.settings).publish()
    assert shard.receipt_says()["sent"] == OBJECTS


def test_unknown_column_makes_dead_letters_of_all_and_stops_nothing(shard, client, records):
    extra = pa.field("added_later", pa.string())
    shard.write(records.append_column(extra, pa.array(["x"] * OBJECTS)))
    shard.publish()
    assert len(shard.dead_letters()) == OBJECTS
    assert {letter["error"] for letter in shard.dead_letters()} == {"strict_dynamic_mapping_exception"}
    assert shard.receipt_says()["rejected"] == OBJECTS


def test_small_requests_give_the_same(tmp_path, records, elastic, client):
    shard = Shard.make(tmp_path, records, elastic.model_copy(update={"chunk_documents": 7}))
    shard.publish()
    assert shard.differences(client) == []

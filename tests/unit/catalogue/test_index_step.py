import hashlib
import json
import math

import pyarrow as pa
import pytest

from tierflow import __version__, config_io, tables
from tierflow.catalogue.schema import BASE_COLUMNS, CATALOGUE_VERSION
from tierflow.config import Config
from tierflow.errors import ConfigError, InputMissingError, TableError
from tierflow.steps import index
from tierflow.testing.tables import FEATURES, make_run


def run_index(output, name="00000.parquet", **changed):
    ports = {
        "shard": output / "scan" / "shards" / name,
        "extract": output / "extract" / name,
        "score": output / "score" / name,
        "place": output / "place" / name,
        "config": output / "config.yaml",
        "catalogue": output / "catalogue" / name,
        "receipt": output / "index" / "00000.json",
    } | changed
    index.run(**ports)
    return tables.read(ports["catalogue"])


def rewrite(path, change):
    table = tables.read(path)
    rows = table.to_pylist()
    change(rows)
    stamp = {k: v for k, v in tables.metadata_of(table).items() if k != "schema_version"}
    tables.write(path, pa.Table.from_pylist(rows, schema=table.schema), **stamp)


@pytest.fixture
def output(tmp_path):
    return make_run(tmp_path, objects=24, shard_objects=24, planes=3, failed_share=0.1)


def test_one_record_per_object_in_the_order_of_the_shard(output):
    shard = tables.read(output / "scan" / "shards" / "00000.parquet")
    for folder in ("extract", "score", "place"):
        rewrite(output / folder / "00000.parquet", lambda rows: rows.reverse())
    records = run_index(output)
    assert records["object_id"].to_pylist() == shard["object_id"].to_pylist()
    assert records.column_names == [*BASE_COLUMNS, *FEATURES]
    score = {row["object_id"]: row for row in tables.read(output / "score" / "00000.parquet").to_pylist()}
    place = {row["object_id"]: row for row in tables.read(output / "place" / "00000.parquet").to_pylist()}
    for row in records.to_pylist():
        assert row["interestingness"] == score[row["object_id"]]["interestingness"]
        assert row["flag_details"] == score[row["object_id"]]["flag_details"]
        assert (row["tier"], row["why"]) == (place[row["object_id"]]["tier"], place[row["object_id"]]["why"])


def test_features_are_those_of_the_plane_that_decided(output):
    rewrite(
        output / "score" / "00000.parquet", lambda rows: [r.update(best_plane=2) for r in rows if r["best_plane"] == 0]
    )
    planes = tables.read(output / "extract" / "00000.parquet").to_pylist()
    decided = {row["object_id"]: row for row in planes if row["plane"] == 2}
    for row in run_index(output).to_pylist():
        if row["status"] == "ok":
            expected = decided[row["object_id"]]
            assert {name: row[name] for name in FEATURES} == {name: expected[name] for name in FEATURES}
            assert (row["best_plane"], row["planes"], row["pixel_hash"]) == (2, 3, expected["pixel_hash"])


def test_failed_objects_have_no_features_but_facts_and_reason(output):
    def declare_size(rows):
        for row in rows:
            if row["plane"] == -1:
                row.update(height=99_999, width=99_999, dtype="uint16")

    rewrite(output / "extract" / "00000.parquet", declare_size)
    failed = [row for row in run_index(output).to_pylist() if row["status"] == "failed"]
    assert failed
    for row in failed:
        assert all(row[name] is None for name in FEATURES)
        assert (row["planes"], row["best_plane"], row["interestingness"]) == (0, None, None)
        assert (row["height"], row["dtype"]) == (99_999, "uint16")
        assert row["reason"]
        assert row["tier"] == "quarantine"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_become_null(output, value):
    rewrite(output / "extract" / "00000.parquet", lambda rows: [r.update(snr=value) for r in rows])
    assert run_index(output)["snr"].null_count == 24


def test_channel_falls_back_to_the_file(output):
    rewrite(output / "scan" / "shards" / "00000.parquet", lambda rows: [r.update(channel=None) for r in rows[:12]])
    rewrite(output / "extract" / "00000.parquet", lambda rows: [r.update(channel_name="from file") for r in rows])
    channels = run_index(output)["channel"].to_pylist()
    assert channels[:12] == ["from file"] * 12
    assert set(channels[12:]) == {"DAPI", "GFP"}


def test_same_tables_same_bytes(output, tmp_path):
    run_index(output)
    first = (output / "catalogue" / "00000.parquet").read_bytes()
    run_index(output)
    assert (output / "catalogue" / "00000.parquet").read_bytes() == first
    receipt = json.loads((output / "index" / "00000.json").read_text())
    assert receipt == {"rows": 24, "digest": hashlib.sha256(first).hexdigest()}


def test_provenance_can_be_queried_and_stamps_say_where_from(output, tmp_path):
    records = run_index(output)
    assert set(records["function"].to_pylist()) == {"focus"}
    assert set(records["version"].to_pylist()) == {__version__}
    assert set(records["dataset"].to_pylist()) == {"synthetic"}
    stamp = tables.metadata_of(records)
    assert stamp["input"] == str(tmp_path / "input")
    assert stamp["catalogue_version"] == CATALOGUE_VERSION
    [digest] = set(records["config_digest"].to_pylist())
    moved = Config(input="/elsewhere", dataset="synthetic")
    config_io.write(output / "config.yaml", moved)
    assert set(run_index(output)["config_digest"].to_pylist()) == {digest}
    rescored = Config.model_validate({"dataset": "synthetic", "score": {"function": "constant"}})
    config_io.write(output / "config.yaml", rescored)
    assert set(run_index(output)["config_digest"].to_pylist()) != {digest}


def test_units_and_meanings_are_kept(output):
    schema = run_index(output).schema
    assert tables.feature_columns(schema) == list(FEATURES)
    assert schema.field("noise_sigma").metadata[b"unit"] == b"count"
    assert schema.field("bytes").metadata[b"unit"] == b"byte"
    assert all(field.metadata[b"about"] for field in schema)


@pytest.mark.parametrize("kept", [True, False])
def test_histograms_only_when_asked_for(tmp_path, kept):
    output = make_run(tmp_path, objects=6, histogram=True)
    config_io.write(output / "config.yaml", Config.model_validate({"catalogue": {"histogram": kept}}))
    records = run_index(output)
    assert ("histogram" in records.column_names) == kept
    if kept:
        lengths = {None if h is None else len(h) for h in records["histogram"].to_pylist()}
        assert lengths == {None, 256}


@pytest.mark.parametrize("name", ["extract", "score", "place"])
def test_a_table_that_lacks_an_object_is_refused(output, name):
    missing = tables.read(output / "scan" / "shards" / "00000.parquet")["object_id"][5].as_py()

    def drop(rows):
        rows[:] = [row for row in rows if row["object_id"] != missing]

    rewrite(output / name / "00000.parquet", drop)
    with pytest.raises(TableError, match=f"{name} table lacks 1 of the shard's 24 objects .*{missing}"):
        run_index(output)
    assert not (output / "catalogue" / "00000.parquet").exists()


def test_a_missing_table_names_itself(output):
    with pytest.raises(InputMissingError, match=r"nowhere\.parquet is missing"):
        run_index(output, place=output / "nowhere.parquet")


def test_a_feature_named_like_a_column_is_refused(output):
    path = output / "extract" / "00000.parquet"
    table = tables.read(path)
    names = ["Tier" if name == "snr" else name for name in table.column_names]
    tables.write(path, table.rename_columns(names))
    with pytest.raises(ConfigError, match="feature 'Tier' has the name of the catalogue's column 'tier'"):
        run_index(output)


def test_an_empty_shard_makes_an_empty_table(output):
    for folder in ("scan/shards", "extract", "score", "place"):
        rewrite(output / folder / "00000.parquet", lambda rows: rows.clear())
    assert run_index(output).num_rows == 0

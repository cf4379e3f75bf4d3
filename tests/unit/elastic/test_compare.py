"""Comparing two streams of records, and what is said about those that differ."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow import config_io
from tierflow.catalogue.elastic.compare import (
    Expected,
    Found,
    Records,
    changed_fields,
    content_digest,
    differences,
)
from tierflow.catalogue.elastic.documents import document_id, documents
from tierflow.catalogue.elastic.outputs import common_settings, open_output
from tierflow.errors import ConfigError, InputMissingError
from tierflow.testing.tables import index_run, make_run

URL = "http://nowhere.invalid:9200"


def made(folder, *, run="one", alias="lab-objects", url=URL, objects=30):
    output = make_run(folder, objects=objects, shard_objects=12)
    tree = config_io.read_tree(output / "config.yaml")
    tree["catalogue"] |= {"run": run, "elasticsearch": {"url": url, "alias": alias}}
    config_io.write(output / "config.yaml", config_io.validate(tree))
    index_run(output)
    return output


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return open_output(made(tmp_path_factory.mktemp("run")))


def kinds(expected, found):
    return sorted((d.kind, (d.expected or d.found).id) for d in differences(expected, found))


def test_equal_streams_have_no_difference():
    assert kinds([Expected("a", "1", "x"), Expected("b", "2", "y")], [Found("a", "1", "x"), Found("b", "2", "y")]) == []
    assert kinds([], []) == []


def test_each_kind_of_difference():
    expected = [
        Expected("a", "1", "x"),
        Expected("b", "2", "y"),
        Expected("c", "3", "z"),
        Expected("d", "4", "w", dead="too long"),
        Expected("e", "5", "new", dead="too long"),
        Expected("f", "6", "same", dead="was mended since"),
    ]
    found = [Found("", "0", "x"), Found("b", "2", "other"), Found("c", "3", "z"), Found("c", "foreign", "z")]
    found += [Found("e", "5", "old"), Found("f", "6", "same"), Found("zz", "9", "x")]
    assert kinds(expected, found) == [
        ("dead", "4"),
        ("dead", "5"),
        ("different", "2"),
        ("extra", "0"),
        ("extra", "9"),
        ("extra", "foreign"),
        ("missing", "1"),
    ]


_SIDE = st.dictionaries(st.text("abc", max_size=3), st.sampled_from("xy"), max_size=12)


@given(_SIDE, _SIDE)
def test_agrees_with_sets(ours, theirs):
    expected = [Expected(key, f"id-{key}", ours[key]) for key in sorted(ours)]
    found = [Found(key, f"id-{key}", theirs[key]) for key in sorted(theirs)]
    wanted = (
        [("missing", f"id-{key}") for key in ours.keys() - theirs.keys()]
        + [("extra", f"id-{key}") for key in theirs.keys() - ours.keys()]
        + [("different", f"id-{key}") for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]]
    )
    assert kinds(expected, found) == sorted(wanted)


def test_digest_is_that_of_the_record_and_sees_every_change(output):
    document = next(documents(next(output.tables())))
    sent = {**document, "indexed_at": "2026-11-21T08:15:30.123Z"}
    assert content_digest(sent) == document["digest"]
    for changed in (
        {**sent, "tier": "Z"},
        {**sent, "features": {**sent["features"], "snr": 1e9}},
        {name: value for name, value in sent.items() if name != "tier"},
        {**sent, "digest": "0" * 32},
        {name: value for name, value in sent.items() if name != "digest"},
    ):
        assert content_digest(changed) != document["digest"]


def test_changed_fields_are_named_with_both_values():
    record = {"tier": "A", "features": {"snr": 1.0, "x": 2.0}, "metadata": {}, "digest": "1"}
    source = {"tier": "B", "features": {"snr": 1.0, "y": 3.0}, "metadata": {}, "digest": "2", "indexed_at": "now"}
    assert changed_fields(record, source) == (("features.x", 2.0, None), ("features.y", None, 3.0), ("tier", "A", "B"))
    only_digest = {**record, "digest": "other"}
    assert changed_fields(record, only_digest) == (("digest", "1", "other"),)
    assert changed_fields({"features": {}}, {"features": 5}) == (("features", None, 5),)


def test_records_are_all_there_in_order_with_their_reasons(output):
    refused = pa.table({"object_id": ["0" * 32], "reason": ["no such object any more"]})
    first = next(output.tables())["object_id"][0].as_py()
    reasons = pa.table({"object_id": [first], "reason": ["too long"]})
    seen = []
    records = Records(output, reasons=[refused, reasons], on_progress=seen.append)
    found = list(records)
    records.close()
    assert records.count == len(found) == sum(seen) == output.records == 30
    assert [one.object_id for one in found] == sorted(one.object_id for one in found)
    assert {one.object_id: one.dead for one in found if one.dead} == {first: "too long"}
    whole = {doc["object_id"]: doc for table in output.tables() for doc in documents(table)}
    assert {one.object_id: (one.id, one.digest, one.path) for one in found} == {
        key: (document_id("one", key), doc["digest"], doc["path"]) for key, doc in whole.items()
    }


def test_outputs_of_one_server_and_alias_only(tmp_path):
    first = open_output(made(tmp_path / "1"))
    assert common_settings([first]).alias == "lab-objects"
    for other, word in (
        (made(tmp_path / "2", run="two", alias="other-objects"), "other-objects"),
        (made(tmp_path / "3", run="two", url="http://elsewhere.invalid:9200"), "elsewhere"),
        (made(tmp_path / "4"), "both run 'one'"),
    ):
        with pytest.raises(ConfigError, match=word):
            common_settings([first, open_output(other)])


def test_an_output_that_is_none(tmp_path):
    with pytest.raises(InputMissingError, match=r"config\.yaml is missing"):
        open_output(tmp_path)


def test_records_of_another_run_than_the_configuration_says(tmp_path):
    folder = made(tmp_path)
    tree = config_io.read_tree(folder / "config.yaml")
    tree["catalogue"]["run"] = "renamed"
    config_io.write(folder / "config.yaml", config_io.validate(tree))
    with pytest.raises(ConfigError, match=r"records of run 'one'.*says 'renamed'"):
        open_output(folder)

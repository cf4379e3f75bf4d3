"""The running baseline of a stream, against the step `baseline` and against medians by hand."""

import json
import math
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierflow import config_io, tables
from tierflow.scoring import history
from tierflow.steps import baseline
from tierflow.stream import window as module
from tierflow.stream.window import Window

FEATURES = ("snr", "sharpness", "saturated_share")
FLAGS = [{"flag": "odd", "feature": "saturated_share", "above": 3, "robust_z": True}]


def config(*, by=("plate", "channel"), planes=1000, function="logistic", **parameters):
    if function == "logistic":
        parameters = {"feature": "snr", "k": 1, "x0": 0} | parameters
    tree = {"score": {"function": function, "parameters": parameters, "flags": FLAGS}, "baseline": {"by": list(by)}}
    return config_io.validate(tree | {"stream": {"window_planes": planes}})


def scan(objects):
    usual = {"bytes": 1, "plate": "P", "channel": "w1"}
    rows = [
        usual | {"object_id": name, "unit_id": name, "path": name, "path_bytes": name.encode()} | more
        for name, more in objects
    ]
    return tables.from_rows(rows, tables.SCAN)


def extract(planes, features=FEATURES):
    rows = [{"plane": 0, "c": 0, "status": "ok", "object_id": name} | more for name, more in planes]
    return tables.from_rows(rows, tables.extract_schema(dict.fromkeys(features, "")))


def save(output, number, objects, planes):
    name = f"{number:05d}"
    tables.write(output / f"scan/shards/{name}.parquet", objects)
    tables.write(output / f"extract/{name}.parquet", planes)


def by_step(folder, settings_, parts):
    """Return what the step `baseline` makes of tables, of the features that a window holds."""
    names = []
    for number, (objects, planes) in enumerate(parts):
        save(folder, number, objects, planes)
        names.append({"name": f"{number:05d}"})
    (folder / "scan/summary.json").write_text(json.dumps({"shards": names}))
    config_io.write(folder / "config.yaml", settings_)
    results = {name: folder / f"{name}.parquet" for name in ("baseline", "duplicates", "history")}
    paths = {"summary": folder / "scan/summary.json", "extracts": folder / "extract", "config": folder / "config.yaml"}
    baseline.run(**paths, **results)
    found = tables.read(results["baseline"])
    return found.filter(pc.is_in(found["feature"], value_set=pa.array(["snr", "saturated_share"])))


def rows(table):
    """Return a table's rows with NaN that equals itself."""
    return [
        {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
        for row in table.to_pylist()
    ]


VALUES = st.one_of(st.none(), st.just(math.nan), st.just(math.inf), st.sampled_from([0.0, 1.0]), st.floats(-1e9, 1e9))


@st.composite
def worlds(draw):
    count = draw(st.integers(1, 25))
    objects, planes = [], []
    for number in range(count):
        name = f"{number:03d}.tif"
        where = {"plate": draw(st.sampled_from(["P", "Q", None])), "channel": draw(st.sampled_from(["w1", "w2", None]))}
        objects.append((name, where | {"mtime_ns": draw(st.integers(0, 5))}))
        if draw(st.integers(0, 5)) == 0:
            planes.append((name, {"plane": -1, "status": "failed"}))
            continue
        for plane in range(draw(st.integers(1, 3))):
            planes.append((name, {"plane": plane, "c": plane} | {feature: draw(VALUES) for feature in FEATURES}))
    return objects, planes, [0, *sorted(draw(st.lists(st.integers(0, count), max_size=5))), count]


@settings(deadline=None, max_examples=40)
@given(world=worlds(), by=st.sampled_from([("plate", "channel"), ("channel",), ()]))
def test_equals_the_step_as_long_as_nothing_left_the_window(tmp_path_factory, world, by):
    objects, planes, cuts = world
    settings_ = config(by=by)
    window, parts = Window(settings_), []
    for start, stop in pairwise(cuts):
        names = {name for name, _ in objects[start:stop]}
        parts.append((scan(objects[start:stop]), extract([plane for plane in planes if plane[0] in names])))
        window.add(*parts[-1])
    folder = tmp_path_factory.mktemp("run")
    expected = by_step(folder, settings_, parts)
    assert window.baseline().schema.equals(expected.schema)
    assert rows(window.baseline()) == rows(expected)
    again = Window(settings_)
    again.load(folder)
    assert rows(again.baseline()) == rows(expected)


def one(number, value, **more):
    name = f"{number:04d}"
    return scan([(name, {"mtime_ns": number} | more)]), extract([(name, {"snr": value})])


def statistics(window, feature="snr"):
    return {
        (row["plate"], row["channel"]): (row["n"], row["median"], row["mad"])
        for row in window.baseline().to_pylist()
        if row["feature"] == feature
    }


def test_only_the_latest_planes_of_a_group_count():
    window = Window(config(planes=4))
    for number, value in enumerate([100.0, 100.0, 1.0, 2.0, 4.0, 8.0]):
        window.add(*one(number, value))
    window.add(*one(10, 7.0, channel="w2"))
    assert statistics(window) == {("P", "w1"): (4, 3.0, 1.4826 * 1.5), ("P", "w2"): (1, 7.0, 0.0)}


def test_the_batch_itself_counts_in_the_order_of_the_stream():
    window = Window(config(planes=2))
    objects = scan([(f"{number}", {"mtime_ns": 10 - number}) for number in range(3)])
    window.add(objects, extract([(f"{number}", {"snr": float(number)}) for number in range(3)]))
    # The latest two are the objects 1 and 0.
    assert statistics(window)["P", "w1"][:2] == (2, 0.5)


def test_an_object_that_comes_again_counts_once():
    window = Window(config())
    window.add(*one(1, 5.0))
    window.add(*one(2, 6.0))
    window.add(*one(1, 9.0))
    window.add(*one(1, 9.0))
    assert statistics(window)["P", "w1"][:2] == (2, 7.5)


def test_groups_that_were_quiet_longest_are_forgotten(monkeypatch):
    monkeypatch.setattr(module, "MAX_GROUPS", 3)
    window = Window(config())
    for number, plate in enumerate(["P1", "P2", "P3", "P1", "P4"]):
        window.add(*one(number, 1.0, plate=plate))
    assert [plate for plate, _ in statistics(window)] == ["P1", "P3", "P4"]
    assert window.health()["groups_forgotten"] == 1


def test_a_batch_without_any_measured_plane_changes_nothing():
    window = Window(config())
    failed = extract([("a", {"plane": -1, "status": "failed"})], features=())
    window.add(scan([("a", {"mtime_ns": 1})]), failed)
    assert window.baseline().equals(tables.BASELINE.empty_table())
    assert window.history().num_rows == 0


def test_load_reads_no_more_than_it_needs(tmp_path, monkeypatch):
    for number in range(6):
        save(tmp_path, number, *one(number, float(number)))
    # A fold that was cut off has no extract table yet.
    tables.write(tmp_path / "scan/shards/00006.parquet", one(6, 6.0)[0])
    read = []
    original = tables.read

    def noted(path, *rest):
        read.append(path.name)
        return original(path, *rest)

    monkeypatch.setattr(module.tables, "read", noted)
    window = Window(config(planes=2))
    window.load(tmp_path)
    assert statistics(window) == {("P", "w1"): (2, 4.5, 1.4826 * 0.5)}
    assert set(read) == {"00005.parquet", "00004.parquet"}
    read.clear()
    monkeypatch.setattr(module, "LOAD_PLANES", 3)
    Window(config(planes=100)).load(tmp_path)
    assert set(read) == {"00005.parquet", "00004.parquet", "00003.parquet"}


def test_load_of_an_empty_output_is_empty(tmp_path):
    window = Window(config())
    window.load(tmp_path)
    assert window.baseline().num_rows == 0


@pytest.mark.parametrize("restart_at", [0, 7, 29])
def test_history_goes_on_after_a_restart(tmp_path, restart_at):
    settings_ = config(function="rank_tier", feature="snr", warm_up=2, window=5)
    values = np.random.default_rng(6).random(30)
    parts = [one(number, float(value)) for number, value in enumerate(values)]
    expected = history.history_table(module.make_function(settings_), parts).to_pylist()
    window, found = Window(settings_), []
    for number, part in enumerate(parts):
        if number == restart_at:
            window = Window(settings_)
            window.load(tmp_path)
        window.add(*part)
        found += window.history().to_pylist()
        save(tmp_path, number, *part)
    assert found == expected
    assert window.late == 0


def test_history_tells_of_the_last_batch_alone_and_counts_late_planes():
    window = Window(config(function="rank_tier", feature="snr"))
    window.add(*one(5, 1.0))
    window.add(*one(3, 2.0))
    assert window.history()["object_id"].to_pylist() == ["0003"]
    assert window.health()["history_late"] == 1
    assert window.health()["history_planes"] == 2

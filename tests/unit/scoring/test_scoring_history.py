"""Functions that look back: the same in a batch run and in a stream, however it is cut."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tierflow import config_io, tables
from tierflow.errors import ConfigError, TableError
from tierflow.interestingness.base import LookBack, PlaneTable
from tierflow.interestingness.kendall_tau import KendallTau, KendallTauParameters, tau_at_ends
from tierflow.interestingness.rank_tier import RankTier, RankTierParameters
from tierflow.render.snakemake import resolve
from tierflow.scoring import history
from tierflow.scoring.build import make_function
from tierflow.scoring.score import score_shard
from tierflow.steps import baseline, score

FEATURES = ("sharpness", "snr")
FUNCTIONS = {
    "rank_tier": {"feature": "snr", "warm_up": 2, "window": 5, "by": ["channel"]},
    "kendall_tau": {"features": list(FEATURES), "images": 4, "by": ["plate", "well", "site", "channel"]},
}


def config(name, **parameters):
    tree = {"score": {"function": name, "parameters": FUNCTIONS[name] | parameters, "flags": []}}
    return config_io.validate(tree)


def scan(objects):
    rows = [
        {
            "path": name,
            "path_bytes": name.encode(),
            "object_id": name,
            "unit_id": name,
            "bytes": 1,
            "plate": "P",
            "well": "A01",
            "site": "1",
        }
        | more
        for name, more in objects
    ]
    return tables.from_rows(rows, tables.SCAN)


def extract(planes):
    rows = [{"object_id": name, "plane": 0, "c": 0, "status": "ok", "sha256": "s"} | more for name, more in planes]
    return tables.from_rows(rows, tables.extract_schema(dict.fromkeys(FEATURES, "")))


def found_in(table):
    return {(row.pop("object_id"), row.pop("plane")): row for row in table.to_pylist()}


def series(values, first=1000, **more):
    """Objects of one substream, a second apart, whose snr is given."""
    names = [f"t{number:03d}" for number in range(len(values))]
    objects = [(name, {"mtime_ns": first + at, "channel": "w1"} | more) for at, name in enumerate(names)]
    planes = [(name, {"snr": value, "sharpness": value}) for name, value in zip(names, values, strict=True)]
    return scan(objects), extract(planes)


# ---- the functions


def ranked(values, **parameters):
    function = RankTier(RankTierParameters(feature="snr", **parameters))
    table = history.history_table(function, [series(values)])
    planes = PlaneTable(
        features={"snr": np.array(values, dtype=float)},
        median={},
        mad={},
        object_id=np.array(["o"] * len(values), dtype=object),
        history={name: table[name].to_numpy() for name in function.look_back().columns},
    )
    return function, planes, function.score(planes)


def test_rank_tier_keeps_the_first_planes_and_ranks_the_others():
    _, _, values = ranked([*range(16), 100.0, -1.0, 7.5], tiers=4)
    assert values[:16].tolist() == [1.0] * 16
    # More than 16 of 16; than 0 of 17; than 9 of 18, which is the third quarter's beginning.
    assert values[16:].tolist() == [0.875, 0.125, 0.625]


def test_rank_tier_counts_equal_values_half():
    function, planes, values = ranked([1.0, 1.0, 1.0, 1.0, 1.0], tiers=2, warm_up=4)
    assert planes.history["rank"][4] == 0.5
    assert values[4] == 0.75
    assert function.explain(planes, np.array([4]), values[[4]]) == ["snr is 1, more than 50% of the 4 planes before"]
    assert "only 3 planes came before, fewer than 4" in function.explain(planes, np.array([3]), values[[3]])[0]


def test_rank_tier_forgets_what_left_the_window():
    _, planes, values = ranked([9.0] * 10 + [1.0, 2.0, 3.0, 4.0], warm_up=2, window=3)
    assert planes.history["planes_before"].tolist() == [0, 1, 2] + [3] * 11
    assert values[-1] == 0.875


def test_rank_tier_can_turn_round():
    _, _, values = ranked([*range(16), 100.0, -1.0], tiers=4, high_is_interesting=False)
    assert values[16:].tolist() == [0.125, 0.875]


def test_rank_tier_needs_a_window_of_the_warm_up():
    with pytest.raises(ConfigError, match="warm_up is 16, more than window"):
        make_function(config("rank_tier", window=10, warm_up=16))


@pytest.mark.parametrize("images", [3, 7, 20])
@pytest.mark.parametrize("kinds", [2, 4, 1000])
def test_tau_is_that_of_scipy_ties_included(images, kinds):
    values = np.random.default_rng(images * kinds).integers(0, kinds, 60).astype(float)
    found = tau_at_ends(values, images=images, first=5)
    for at, tau in enumerate(found, start=5):
        if at < images - 1:
            assert math.isnan(tau)
            continue
        part = values[at - images + 1 : at + 1]
        expected = scipy.stats.kendalltau(part, np.arange(images), variant="b").statistic
        # scipy leaves tau undefined where all values are equal.
        assert tau == pytest.approx(0.0 if np.ptp(part) == 0 else expected, abs=1e-15)


def test_kendall_tau_finds_what_rises_or_falls():
    function = KendallTau(KendallTauParameters(features=("sharpness", "snr"), images=4))
    rises = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    table = found_in(history.history_table(function, [series(rises)]))
    assert table["t005", 0] == {"tau_0": 1.0, "tau_1": 1.0, "planes_before": 4.0}
    planes = PlaneTable(
        features={"sharpness": np.array([1.0, 1, 1, np.nan]), "snr": np.ones(4)},
        median={},
        mad={},
        object_id=np.array(["o"] * 4, dtype=object),
        history={
            "tau_0": np.array([np.nan, 0.1, -0.6, 0.5]),
            "tau_1": np.array([np.nan, -0.15, 0.2, 0.5]),
            "planes_before": np.array([3.0, 4, 4, 4]),
        },
    )
    values = function.score(planes)
    np.testing.assert_array_equal(values, [1.0, 0.15, 0.6, np.nan])
    texts = function.explain(planes, np.arange(3), values[:3])
    assert texts[0] == "only 3 planes of this place came before, fewer than 4: kept"
    assert texts[1].startswith("no trend: over the last 4 planes of this place Kendall's tau of snr is -0.15")
    assert texts[2].startswith("a trend: over the last 4 planes of this place Kendall's tau of sharpness is -0.6")


# ---- order and substreams


def test_order_is_time_of_change_then_path_then_plane():
    objects = scan(
        [
            ("b", {"mtime_ns": 1, "channel": "w1"}),
            ("a", {"mtime_ns": 2, "channel": "w1"}),
            ("c", {"mtime_ns": 1, "channel": "w1"}),
        ]
    )
    planes = extract([("a", {"snr": 5.0}), ("c", {"snr": 3.0}), ("b", {"plane": 1, "snr": 2.0}), ("b", {"snr": 1.0})])
    function = make_function(config("rank_tier"))
    found = found_in(history.history_table(function, [(objects, planes)]))
    order = sorted(found, key=lambda key: found[key]["planes_before"])
    assert order == [("b", 0), ("b", 1), ("c", 0), ("a", 0)]


def test_planes_without_a_value_or_of_other_substreams_do_not_count():
    objects = scan(
        [
            ("a", {"mtime_ns": 1, "channel": "w1"}),
            ("b", {"mtime_ns": 2, "channel": "w2"}),
            ("c", {"mtime_ns": 3, "channel": "w1"}),
            ("d", {"mtime_ns": 4, "channel": "w1"}),
            ("e", {"mtime_ns": 5, "channel": "w1"}),
        ]
    )
    planes = extract(
        [
            ("a", {"snr": 1.0}),
            ("b", {"snr": 2.0}),
            ("c", {"snr": np.inf}),
            ("d", {"plane": -1, "status": "failed"}),
            ("e", {"snr": 3.0}),
        ]
    )
    found = found_in(history.history_table(make_function(config("rank_tier")), [(objects, planes)]))
    assert {name: row["planes_before"] for (name, _), row in found.items()} == {"a": 0, "b": 0, "c": None, "e": 1}
    assert found["e", 0]["rank"] == 1.0


def test_z_makes_substreams_from_the_name_or_the_file():
    objects = scan([("a", {"mtime_ns": 1, "channel": "w1", "z": 7}), ("b", {"mtime_ns": 2, "channel": "w1"})])
    planes = extract(
        [("a", {"z": 0, "snr": 1.0}), ("b", {"z": 7, "snr": 1.0}), ("b", {"plane": 1, "z": 0, "snr": 1.0})]
    )
    function = make_function(config("rank_tier", by=["z"]))
    found = found_in(history.history_table(function, [(objects, planes)]))
    assert found["b", 0]["planes_before"] == 1
    assert found["b", 1]["planes_before"] == 0


# ---- stream and batch


VALUES = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(-1e6, 1e6), st.just(math.nan))


@st.composite
def worlds(draw):
    """Objects of some substreams in the order of the stream, and where it is cut."""
    count = draw(st.integers(1, 40))
    objects, planes, moment = [], [], 10**18
    for number in range(count):
        moment += draw(st.integers(0, 2))
        where = {"channel": draw(st.sampled_from(["w1", "w2"])), "well": draw(st.sampled_from(["A01", None]))}
        name = f"{number:03d}.tif"
        objects.append((name, where | {"mtime_ns": moment}))
        for plane in range(draw(st.integers(1, 2))):
            planes.append((name, {"plane": plane, "sharpness": draw(VALUES), "snr": draw(VALUES)}))
    cuts = sorted(draw(st.lists(st.integers(0, count), max_size=8)))
    return objects, planes, [0, *cuts, count]


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(deadline=None, max_examples=50)
@given(world=worlds())
def test_a_stream_in_micro_batches_gives_what_one_batch_gives(name, world):
    objects, planes, cuts = world
    settings_ = config(name)
    function = make_function(settings_)
    empty = {"baseline": tables.BASELINE.empty_table(), "duplicates": tables.DUPLICATES.empty_table()}
    common = {"function": function, "config": settings_} | empty
    whole = scan(objects), extract(planes)
    batch = score_shard(
        objects=whole[0], planes=whole[1], history=history.history_table(function, [whole]), **common
    ).to_pylist()
    streams = history.Substreams(function)
    streamed = []
    for start, stop in pairwise(cuts):
        part = objects[start:stop]
        names = {name for name, _ in part}
        tables_ = scan(part), extract([plane for plane in planes if plane[0] in names])
        found = streams.add(history.entries(*tables_, streams.wanted))
        streamed += score_shard(objects=tables_[0], planes=tables_[1], history=found, **common).to_pylist()
    assert streamed == batch
    assert streams.late == 0


def add(streams, objects, planes):
    return found_in(streams.add(history.entries(scan(objects), extract(planes), streams.wanted)))


def test_late_objects_are_scored_in_their_place_and_counted():
    streams = history.Substreams(make_function(config("rank_tier")))
    on_time = [(f"t{at}", {"mtime_ns": 10 * at, "channel": "w1"}) for at in range(1, 5)]
    add(streams, on_time, [(name, {"snr": float(at)}) for at, (name, _) in enumerate(on_time)])
    assert streams.late == 0
    found = add(streams, [("late", {"mtime_ns": 25, "channel": "w1"})], [("late", {"snr": 0.5})])
    # As in a batch run: t1 and t2 came before.
    assert found["late", 0] == {"rank": 0.5, "planes_before": 2.0}
    assert streams.late == 1
    # It counts for those that come after.
    found = add(streams, [("next", {"mtime_ns": 50, "channel": "w1"})], [("next", {"snr": 9.0})])
    assert found["next", 0]["planes_before"] == 5
    # Late in one substream is not late in another.
    add(streams, [("other", {"mtime_ns": 1, "channel": "w2"})], [("other", {"snr": 9.0})])
    assert streams.late == 1


def test_an_object_that_comes_again_replaces_itself():
    streams = history.Substreams(make_function(config("rank_tier")))
    first = [("a", {"mtime_ns": 1, "channel": "w1"}), ("b", {"mtime_ns": 2, "channel": "w1"})]
    planes = [("a", {"snr": 1.0}), ("b", {"snr": 2.0})]
    once = add(streams, first, planes)
    assert add(streams, first, planes) == once
    assert (streams.planes, streams.late) == (2, 0)
    found = add(streams, [("a", {"mtime_ns": 3, "channel": "w1"})], [("a", {"snr": 5.0})])
    assert found["a", 0] == {"rank": 1.0, "planes_before": 1.0}


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(history, "MAX_PLANES", 12)
    streams = history.Substreams(make_function(config("rank_tier", by=["well"])))
    for number in range(40):
        name = f"o{number:03d}"
        add(streams, [(name, {"mtime_ns": number, "well": f"A{number % 8:02d}"})], [(name, {"snr": 1.0})])
        assert streams.planes <= 12
    assert streams.forgotten > 0
    narrow = history.Substreams(make_function(config("rank_tier")))
    for number in range(40):
        name = f"o{number:03d}"
        add(narrow, [(name, {"mtime_ns": number})], [(name, {"snr": 1.0})])
    assert narrow.planes == 10


# ---- steps


def test_baseline_writes_history_and_score_reads_it(tmp_path):
    config_io.write(tmp_path / "config.yaml", config("rank_tier"))
    names = ["00000", "00001"]
    values = np.random.default_rng(5).random(20)
    whole = series(values.tolist())
    for position, name in enumerate(names):
        # The order of the stream isn't that of the shards.
        rows = np.arange(20) % 2 == position
        tables.write(tmp_path / f"scan/shards/{name}.parquet", whole[0].filter(rows))
        tables.write(tmp_path / f"extract/{name}.parquet", whole[1].filter(rows))
    (tmp_path / "scan/summary.json").write_text(json.dumps({"shards": [{"name": name} for name in names]}))
    shared = {"config": tmp_path / "config.yaml"} | {
        name: tmp_path / f"{name}.parquet" for name in ("baseline", "duplicates", "history")
    }
    baseline.run(summary=tmp_path / "scan/summary.json", extracts=tmp_path / "extract", **shared)
    found = {}
    for name in names:
        paths = {"shard": f"scan/shards/{name}.parquet", "extract": f"extract/{name}.parquet", "table": "s.parquet"}
        score.run(**{port: tmp_path / path for port, path in paths.items()}, **shared)
        table = tables.read(tmp_path / "s.parquet")
        found |= dict(zip(table["object_id"].to_pylist(), table["interestingness"].to_pylist(), strict=True))
    for at, value in enumerate(values):
        before = values[max(0, at - 5) : at]
        expected = 1.0 if at < 2 else (2 * min(int(4 * np.mean(before < value)), 3) + 1) / 8
        assert found[f"t{at:03d}"] == expected

    tables.write(shared["history"], tables.history_schema(()).empty_table())
    with pytest.raises(TableError, match=r"history\.parquet has no column 'rank': run the step `baseline`"):
        score.run(**{port: tmp_path / path for port, path in paths.items()}, **shared)
    tables.write(shared["history"], tables.history_schema(("rank", "planes_before")).empty_table())
    with pytest.raises(TableError, match="has no plane of object t001"):
        score.run(**{port: tmp_path / path for port, path in paths.items()}, **shared)


def test_history_is_empty_for_functions_that_do_not_look_back():
    def never():
        raise AssertionError("tables were read in vain")
        yield

    table = history.history_table(make_function(config_io.validate({})), never())
    assert (table.num_rows, table.column_names) == (0, ["object_id", "plane"])


def test_baseline_is_out_of_date_when_the_function_looks_back_otherwise(tmp_path):
    def settings_of(function, **parameters):
        score_ = {"function": function, "parameters": parameters}
        tree = {"input": str(tmp_path), "output": str(tmp_path / "out"), "score": score_}
        return resolve(tree).settings("baseline")

    plain = settings_of("focus")
    assert settings_of("haste") == plain
    ranks = settings_of("rank_tier")
    assert ranks != plain
    assert settings_of("rank_tier", tiers=7, warm_up=3) == ranks
    assert settings_of("rank_tier", window=50) != ranks
    assert settings_of("kendall_tau") not in (plain, ranks)


class Odd:
    """Looks back, but finds too little."""

    name = "odd"

    def __init__(self, found):
        self.found = found

    def needs(self):
        return ["snr"]

    def look_back(self):
        return LookBack(features=("snr",), by=(), window=2, columns=("x",))

    def trace(self, series, first):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.mark.parametrize(
    ("found", "message"),
    [({"x": [1.0]}, r"found arrays of shape \(1,\)"), ({}, "KeyError: 'x'"), (ValueError("why"), "ValueError: why")],
)
def test_a_function_that_fails_to_look_back_is_named(found, message):
    with pytest.raises(ConfigError, match=f"'odd' .*{message}"):
        history.history_table(Odd(found), [series([1.0, 2.0])])

"""The steps baseline, score and policy on small tables whose answer is known."""

import json

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict

from tierflow import config_io, plugins, tables
from tierflow.config import Config
from tierflow.errors import ConfigError, InputMissingError, TableError, TooManyFailedError
from tierflow.policies import choose
from tierflow.scoring.check import check
from tierflow.steps import baseline, policy, score

VALUE = "value"
EXPRESSION = {"function": "expression", "parameters": {"expression": VALUE}, "flags": []}


class Run:
    """Tables of a run, shard by shard; a plane is (object, value) or has more columns."""

    def __init__(self, folder, **sections):
        self.folder = folder
        self.sections = {"score": EXPRESSION} | sections
        self.names = []
        config_io.write(folder / "config.yaml", config_io.validate(self.sections))

    def add(self, objects, planes, features=(VALUE,)):
        name = f"{len(self.names):05d}"
        self.names.append(name)
        blank = {"path": None, "bytes": 7, "plate": "P", "channel": "w1"}
        rows = [blank | {"path": f"{o['object_id']}.tif", "unit_id": o["object_id"]} | o for o in objects]
        tables.write(self.folder / f"scan/shards/{name}.parquet", tables.from_rows(rows, tables.SCAN))
        usual = {"plane": 0, "c": 0, "status": "ok", "sha256": "s", "bytes": 8}
        schema = tables.extract_schema(dict.fromkeys(features, ""))
        rows = [usual | plane for plane in planes]
        tables.write(self.folder / f"extract/{name}.parquet", tables.from_rows(rows, schema))
        summary = {"shards": [{"name": each} for each in self.names]}
        (self.folder / "scan/summary.json").write_text(json.dumps(summary))
        return self

    def baseline(self):
        baseline.run(
            summary=self.folder / "scan/summary.json",
            extracts=self.folder / "extract",
            config=self.folder / "config.yaml",
            baseline=self.folder / "baseline.parquet",
            duplicates=self.folder / "duplicates.parquet",
            history=self.folder / "history.parquet",
        )
        return tables.read(self.folder / "baseline.parquet").to_pylist()

    def score(self, shard=0):
        if not (self.folder / "baseline.parquet").exists():
            self.baseline()
        name = self.names[shard]
        score.run(
            shard=self.folder / f"scan/shards/{name}.parquet",
            extract=self.folder / f"extract/{name}.parquet",
            baseline=self.folder / "baseline.parquet",
            duplicates=self.folder / "duplicates.parquet",
            history=self.folder / "history.parquet",
            config=self.folder / "config.yaml",
            table=self.folder / f"score/{name}.parquet",
        )
        table = tables.read(self.folder / f"score/{name}.parquet")
        assert table.schema.equals(tables.SCORE)
        return table.to_pylist()

    def policy(self):
        policy.run(
            summary=self.folder / "scan/summary.json",
            scores=self.folder / "score",
            config=self.folder / "config.yaml",
            policy=self.folder / "policy.json",
        )
        return choose.load(self.folder / "policy.json")


def obj(name, **more):
    return {"object_id": name} | more


def plane(name, value=None, **more):
    return {"object_id": name, VALUE: value} | more


def broken(name, flag="truncated", reason="cut off"):
    return {"object_id": name, "plane": -1, "status": "failed", "flag": flag, "reason": reason, "sha256": None}


def test_baseline_groups_by_plate_and_channel_over_shards(tmp_path):
    run = Run(tmp_path)
    run.add([obj("a"), obj("b", plate="Q")], [plane("a", 1.0), plane("b", 5.0)])
    run.add(
        [obj("c"), obj("d"), obj("e", channel="w2"), obj("f")],
        [plane("c", 2.0), plane("d", 9.0), plane("e", 4.0), plane("f", np.nan), broken("g")],
    )
    found = {(row["plate"], row["channel"]): (row["n"], row["median"]) for row in run.baseline()}
    assert found == {("P", "w1"): (3, 2.0), ("P", "w2"): (1, 4.0), ("Q", "w1"): (1, 5.0)}


def test_channel_of_the_file_counts_where_the_name_gives_none(tmp_path):
    run = Run(tmp_path)
    planes = [
        plane("a", 1.0, channel_name="DAPI"),
        plane("a", 2.0, plane=1, c=1, channel_name="GFP"),
        plane("b", 3.0),
        plane("b", 4.0, plane=1, c=1),
        plane("c", 5.0, channel_name="DAPI"),
    ]
    run.add([obj("a", channel=None), obj("b", channel=None), obj("c", channel="w9")], planes)
    assert {row["channel"]: row["median"] for row in run.baseline()} == {
        "DAPI": 1.0,
        "GFP": 2.0,
        "c0": 3.0,
        "c1": 4.0,
        "w9": 5.0,
    }


def test_baseline_over_plates_when_configured(tmp_path):
    run = Run(tmp_path, baseline={"by": ["channel"]})
    run.add([obj("a"), obj("b", plate="Q")], [plane("a", 1.0), plane("b", 5.0)])
    assert [(row["plate"], row["channel"], row["median"]) for row in run.baseline()] == [("", "w1", 3.0)]


def test_blank_frames_are_no_duplicates(tmp_path):
    features = (VALUE, "ImageQuality_MinIntensity", "ImageQuality_MaxIntensity")
    run = Run(tmp_path)

    def frame(name, pixels, high):
        return plane(name, 0.5, pixel_hash=pixels, ImageQuality_MinIntensity=0.1, ImageQuality_MaxIntensity=high)

    run.add(
        [obj(name) for name in "abcd"],
        [frame("a", "x", 0.9), frame("b", "x", 0.9), frame("c", "0", 0.1), frame("d", "0", 0.1)],
        features,
    )
    rows = run.score()
    assert [row["flags"] for row in rows] == [[], ["duplicate"], [], []]
    assert rows[1]["flag_details"][0]["text"] == "has the same pixels as a.tif"
    assert "duplicate: has the same pixels as a.tif" in rows[1]["reason"]


def test_planes_then_channels_are_aggregated(tmp_path):
    objects = [obj(n, unit_id="u", channel=c) for n, c in (("a", "w1"), ("b", "w1"), ("c", "w2"))]
    planes = [plane("a", 0.1), plane("a", 0.3, plane=1), plane("b", 0.5), plane("c", 0.9), plane("c", 0.7, plane=1)]
    expected = {
        ("max", "mean"): (0.5 + 0.9) / 2,
        ("max", "max"): 0.9,
        ("max", "min"): 0.5,
        ("min", "max"): 0.7,
        ("mean", "min"): 0.3,
        ("median", "median"): (0.3 + 0.8) / 2,
    }
    for number, ((over_planes, over_channels), value) in enumerate(expected.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        aggregate = {"planes": over_planes, "channels": over_channels}
        run = Run(folder, score=EXPRESSION | {"aggregate": aggregate}).add(objects, planes)
        assert [row["interestingness"] for row in run.score()] == [pytest.approx(value)] * 3


def test_deciding_plane_is_named_to_the_others(tmp_path):
    objects = [obj("a", unit_id="u", channel="w1"), obj("b", unit_id="u", channel="w2")]
    run = Run(tmp_path).add(objects, [plane("a", 0.1), plane("a", 0.3, plane=1), plane("b", 0.9, plane=4)])
    first, second = run.score()
    assert (first["best_plane"], second["best_plane"]) == (1, 4)
    assert first["reason"] == "decided by b.tif: value = 0.9 with value = 0.9"
    assert second["reason"] == "value = 0.9 with value = 0.9"


def test_one_named_channel_decides(tmp_path):
    run = Run(tmp_path, score=EXPRESSION | {"aggregate": {"channel": "w2"}})
    objects = [obj("a", unit_id="u"), obj("b", unit_id="u", channel="w2"), obj("c")]
    run.add(objects, [plane("a", 0.1), plane("b", 0.9), plane("c", 0.2)])
    rows = run.score()
    assert [row["interestingness"] for row in rows] == [0.9, 0.9, None]
    assert rows[2]["flags"] == ["unscored"]
    assert "no readable plane of channel 'w2'" in rows[2]["reason"]
    assert "w1, w2" in rows[2]["reason"]


def test_a_failed_object_leaves_the_rest_of_its_unit(tmp_path):
    objects = [obj("a", unit_id="u"), obj("b", unit_id="u"), obj("c", unit_id="v"), obj("d", unit_id="v")]
    planes = [plane("a", 0.4), broken("b"), plane("c", 0.4), plane("d", 0.2), broken("d", "unreadable", "bad page")]
    rows = Run(tmp_path).add(objects, planes).score()
    assert [row["status"] for row in rows] == ["ok", "failed", "ok", "failed"]
    assert [row["interestingness"] for row in rows] == [0.4, None, 0.4, None]
    assert [row["flags"] for row in rows] == [["incomplete_unit"], ["truncated"], ["incomplete_unit"], ["unreadable"]]
    assert [row["best_plane"] for row in rows] == [0, None, 0, None]
    assert rows[1]["reason"] == "cut off"
    assert rows[3]["reason"] == "bad page"
    assert rows[1]["flag_details"] == [
        {"flag": "truncated", "feature": None, "value": None, "limit": None, "text": "cut off"}
    ]
    assert [row["sha256"] for row in rows] == ["s", None, "s", None]


def test_objects_without_planes_are_failed_and_strangers_ignored(tmp_path):
    rows = Run(tmp_path).add([obj("a"), obj("b")], [plane("b", 0.5), plane("stranger", 0.9)]).score()
    assert [row["object_id"] for row in rows] == ["a", "b"]
    assert rows[0]["status"] == "failed"
    assert rows[0]["flags"] == ["missing"]
    assert rows[0]["bytes"] == 7
    assert rows[1]["bytes"] == 8


def test_missing_values_never_leave_as_numbers(tmp_path):
    planes = [plane("a", np.nan), plane("b", 1.5), plane("c", -0.1), plane("d", 1 + 1e-12), plane("e", -1e-12)]
    rows = Run(tmp_path).add([obj(name) for name in "abcde"], planes).score()
    assert [row["interestingness"] for row in rows] == [None, None, None, 1.0, 0.0]
    assert "can't tell for plane 0: no value for value" in rows[0]["reason"]
    assert "gave 1.5 for plane 0, outside 0 to 1" in rows[1]["reason"]
    assert "gave -0.1" in rows[2]["reason"]
    assert [row["flags"] for row in rows[:3]] == [["unscored"]] * 3


class Fragile:
    """Raises for values above 1, as a plug-in with a mistake would."""

    name = "fragile"

    class Parameters(BaseModel):
        model_config = ConfigDict(extra="forbid")

    def __init__(self, parameters):
        pass

    def needs(self):
        return [VALUE]

    def score(self, planes):
        if (planes.features[VALUE] > 1).any():
            raise ZeroDivisionError("nothing to divide by")
        return planes.features[VALUE].copy()

    def explain(self, planes, rows, values):
        return ["as it is"] * len(rows)


def test_an_exception_fails_only_the_unit_that_raises_it(tmp_path, monkeypatch):
    original = plugins.load
    monkeypatch.setattr(plugins, "load", lambda kind, name: Fragile if name == "constant" else original(kind, name))
    run = Run(tmp_path, score={"function": "constant", "flags": []})
    objects = [obj("a"), obj("b", unit_id="u"), obj("c", unit_id="u")]
    rows = run.add(objects, [plane("a", 0.5), plane("b", 7.0), plane("c", 0.5)]).score()
    assert [row["interestingness"] for row in rows] == [0.5, None, None]
    assert rows[1]["reason"] == "interestingness function 'fragile' failed: ZeroDivisionError: nothing to divide by"


def test_flags_carry_value_limit_and_channel(tmp_path):
    rules = [
        {"flag": "bright", "feature": VALUE, "above": 0.5, "text": "too bright"},
        {"flag": "dark", "feature": VALUE, "below": 0.2},
        {"flag": "odd", "feature": VALUE, "above": 3, "robust_z": True},
    ]
    run = Run(tmp_path, score=EXPRESSION | {"flags": rules})
    objects = [obj("a"), obj("b", channel=None), *(obj(f"n{n}") for n in range(9))]
    planes = [plane("a", 0.9), plane("b", 0.6), plane("b", 0.1, plane=1, c=1)]
    rows = run.add(objects, planes + [plane(f"n{n}", 0.3 + n / 100) for n in range(9)]).score()
    assert [row["flags"] for row in rows[:3]] == [["bright", "odd"], ["bright", "dark"], []]
    bright, odd = rows[0]["flag_details"]
    assert bright == {"flag": "bright", "feature": VALUE, "value": 0.9, "limit": 0.5, "text": "too bright"}
    assert odd["value"] == pytest.approx((0.9 - 0.345) / (1.4826 * 0.025))
    assert odd["text"] == "robust z of value is above 3"
    assert [detail["text"] for detail in rows[1]["flag_details"]] == [
        "too bright (channel c0)",
        "value is below 0.2 (channel c1)",
    ]
    assert rows[0]["reason"].endswith("; bright: too bright; odd: robust z of value is above 3")


def test_small_groups_have_no_robust_z(tmp_path):
    z = {"function": "expression", "parameters": {"expression": "clip(z('value'), 0, 1)"}, "flags": []}
    few = Run(tmp_path, score=z, baseline={"min_planes": 3}).add(
        [obj("a"), obj("b")], [plane("a", 1.0), plane("b", 2.0)]
    )
    assert [row["status"] for row in few.score()] == ["failed", "failed"]


def test_a_shard_of_failures_is_fine(tmp_path):
    run = Run(tmp_path, run={"max_failed_share": 1}).add([obj("a"), obj("b")], [broken("a"), broken("b")])
    assert [row["status"] for row in run.score()] == ["failed", "failed"]
    assert run.policy().counts["quarantine"] == 2


def test_scores_do_not_depend_on_how_objects_are_cut_into_shards(tmp_path):
    values = np.linspace(0, 1, 12)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    names = [f"o{n:02d}" for n in range(12)]
    settings = {"function": "expression", "parameters": {"expression": "clip(.5 + z('value') / 9, 0, 1)"}, "flags": []}
    one = Run(whole, score=settings).add(
        [obj(n) for n in names], [plane(n, v) for n, v in zip(names, values, strict=True)]
    )
    many = Run(parts, score=settings)
    for start in range(0, 12, 5):
        chosen = slice(start, start + 5)
        many.add(
            [obj(n) for n in names[chosen]], [plane(n, v) for n, v in zip(names[chosen], values[chosen], strict=True)]
        )
    assert one.score() == [row for shard in range(3) for row in many.score(shard)]


def test_unknown_features_stop_the_run_with_a_hint(tmp_path):
    run = Run(tmp_path, score=EXPRESSION | {"parameters": {"expression": "valeu"}}).add([obj("a")], [plane("a", 1.0)])
    with pytest.raises(ConfigError, match="no feature 'valeu'; did you mean value"):
        run.score()


def test_too_many_failures_stop_the_policy_with_paths(tmp_path):
    run = Run(tmp_path, run={"max_failed_share": 0.5})
    run.add([obj("a"), obj("b")], [plane("a", 0.5), broken("b")])
    run.add([obj("c", path="deep/c.tif")], [broken("c", "empty_file", "0 bytes")])
    run.score(0)
    run.score(1)
    with pytest.raises(TooManyFailedError) as error:
        run.policy()
    for part in ("2 of 3", "66.7%", "50.0%", "1 x truncated, such as b.tif: cut off", "deep/c.tif: 0 bytes"):
        assert part in str(error.value)
    assert not (tmp_path / "policy.json").exists()


def test_missing_and_damaged_tables_are_told(tmp_path):
    run = Run(tmp_path).add([obj("a")], [plane("a", 0.5)])
    run.score()
    extract = tmp_path / "extract/00000.parquet"
    extract.write_bytes(b"PAR1 no")
    with pytest.raises(TableError, match=r"extract/00000\.parquet"):
        run.score()
    with pytest.raises(TableError, match=r"extract/00000\.parquet"):
        run.baseline()
    extract.unlink()
    with pytest.raises(InputMissingError, match=r"extract/00000\.parquet"):
        run.score()
    (tmp_path / "scan/summary.json").write_text("{}")
    with pytest.raises(TableError, match=r"summary\.json"):
        run.policy()
    (tmp_path / "scan/summary.json").unlink()
    with pytest.raises(InputMissingError, match=r"summary\.json"):
        run.policy()


def test_the_default_configuration_is_sound():
    check(Config())


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"score": {"function": "focuss"}}, ["unknown name 'focuss'", "Did you mean 'focus'?"]),
        ({"score": {"parameters": {"steepnes": 3}}}, ["score.parameters", "did you mean `steepness`?"]),
        ({"score": {"parameters": {"steepness": -3}}}, ["score.parameters", "`steepness` is -3"]),
        ({"score": {"function": "logistic"}}, ["score.parameters", "`feature` is missing"]),
        (
            {"score": {"function": "logistic", "parameters": {"feature": "snrr", "k": 1, "x0": 1}}},
            ["no feature 'snrr'", "did you mean snr"],
        ),
        (
            {"score": {"function": "expression", "parameters": {"expression": "ImageQuality_Correlation_30"}}},
            ["no feature 'ImageQuality_Correlation_30'", "ImageQuality_Correlation_20"],
        ),
        ({"score": {"flags": [{"flag": "x", "feature": "snrr", "above": 1}]}}, ["score.flags.0.feature (x)", "snr"]),
        ({"policy": {"kind": "topk"}}, ["unknown name 'topk'", "Did you mean 'top_k'?"]),
        (
            {"policy": {"parameters": {"intervals": [{"tier": "A", "min": 0.2, "max": 1}]}}},
            ["policy.parameters.intervals", "nothing takes 0"],
        ),
        ({"tiers": {"A": {"driver": "lnk"}}}, ["tiers.A.driver", "no driver 'lnk'", "did you mean 'link'?"]),
        ({"quarantine": {"driver": "glacier"}}, ["quarantine.driver", "installed are"]),
        ({"policy": {"flag_tiers": {"saturatd": "D"}}}, ["flag_tiers.saturatd", "did you mean 'saturated'?"]),
        ({"policy": {"flag_tiers": {"truncated": "D"}}}, ["flag_tiers.truncated", "always go to quarantine"]),
        ({"extract": {"extractors": ["image_qualty"]}}, ["Did you mean 'image_quality'?"]),
    ],
)
def test_check_names_key_value_and_remedy(tree, says):
    with pytest.raises(ConfigError) as error:
        check(config_io.validate(tree))
    for part in says:
        assert part in str(error.value)


@pytest.mark.parametrize(
    "tree",
    [
        {
            "extract": {"scales_px": [30]},
            "score": {"flags": [{"flag": "x", "feature": "ImageQuality_Correlation_30", "above": 1}]},
        },
        {"policy": {"flag_tiers": {"saturated": "D", "duplicate": "quarantine", "incomplete_unit": "C"}}},
        {"policy": {"flag_tiers": {"truncated": "quarantine"}}},
    ],
)
def test_check_lets_good_configurations_pass(tree):
    check(config_io.validate(tree))

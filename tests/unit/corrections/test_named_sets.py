"""Parameter sets and data sets under a name."""

from __future__ import annotations

import hashlib
import json
import multiprocessing

import pytest

from tierflow import datasets, named_sets
from tierflow.catalogue.provenance import set_digest, set_pointer
from tierflow.commands._options import configured
from tierflow.config import Config
from tierflow.config_io import validate
from tierflow.errors import ConfigError, InputMissingError

HASTE = {"score": {"function": "haste"}, "policy": {"kind": "quantile"}}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TIERFLOW_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def config(tree=None, **more):
    return Config.model_validate((tree or {}) | more)


def test_home_follows_the_environment(monkeypatch, tmp_path):
    from tierflow.home import home

    monkeypatch.delenv("TIERFLOW_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert home() == tmp_path / "tierflow"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert home() == tmp_path / "me" / ".local" / "share" / "tierflow"


def test_a_saved_set_gives_the_same_parameters_and_every_score_points_to_it():
    source = config(HASTE, dataset="plate 1", baseline={"min_planes": 20})
    made, is_new = named_sets.save("screen", source, about="for screens")
    assert is_new
    tree = configured({"dataset": "plate 2"}, config=None, settings=None, params="screen")
    found = validate(tree)
    assert (found.score, found.baseline, found.policy) == (source.score, source.baseline, source.policy)
    assert found.dataset == "plate 2"
    assert set_pointer(found) == f"screen@{set_digest(source)}" == made.pointer


def test_a_changed_score_no_longer_points_to_the_set_and_another_policy_still_does():
    named_sets.save("screen", config(HASTE))
    changed = validate(configured({}, config=None, settings=["score.function=constant"], params="screen"))
    assert set_pointer(changed) == f"@{set_digest(changed)}"
    policy = validate(configured({}, config=None, settings=["policy.kind=interval"], params="screen"))
    assert set_pointer(policy) == f"screen@{set_digest(config(HASTE))}"


def test_a_set_replaces_sections_whole_and_settings_win(tmp_path):
    named_sets.save("plain", config())
    file = tmp_path / "run.yaml"
    file.write_text("score: {function: logistic, parameters: {intercept: 1}}\ntiers: {A: {}, B: {}}\n")
    tree = configured({}, config=file, settings=["baseline.min_planes=99"], params="plain")
    found = validate(tree)
    assert (found.score.function, found.score.parameters) == ("focus", {})
    assert (list(found.tiers), found.baseline.min_planes) == (["A", "B"], 99)


def test_versions_are_never_overwritten(home):
    first, _ = named_sets.save("screen", config(HASTE))
    path = home / "params" / "screen" / f"{first.version}.yaml"
    text = path.read_bytes()
    again, is_new = named_sets.save("screen", config(HASTE), about="other words")
    assert (again, is_new, path.read_bytes()) == (first, False, text)
    second, _ = named_sets.save("screen", config(HASTE | {"policy": {"kind": "top_k", "parameters": {"k": 5}}}))
    third, _ = named_sets.save("screen", config())
    # The same score under another policy: records of both point to the same digest.
    assert first.pointer == second.pointer != third.pointer
    assert {made.version for made in named_sets.all_sets()} == {first.version, second.version, third.version}
    assert named_sets.find("screen") == third
    assert named_sets.find(first.pointer) == second
    assert named_sets.find(f"screen@{first.version}") == first


def save_same(home, barrier):
    import os

    os.environ["TIERFLOW_HOME"] = home
    barrier.wait()
    for function in ("focus", "haste", "constant"):
        named_sets.save("screen", config({"score": {"function": function}}))


def test_processes_that_save_at_once_agree(home):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    workers = [context.Process(target=save_same, args=(str(home), barrier)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert {made.sections["score"]["function"] for made in named_sets.all_sets()} == {"focus", "haste", "constant"}
    assert len(list((home / "params" / "screen").iterdir())) == 3


def test_differences_name_keys_and_both_values():
    old, _ = named_sets.save("old", config())
    new, _ = named_sets.save("new", config({"score": {"parameters": {"x": 1}}, "baseline": {"min_planes": 9}}))
    assert named_sets.differences(old.sections, new.sections) == [
        ("score.parameters", "{}", ""),
        ("baseline.min_planes", "8", "9"),
        ("score.parameters.x", "", "1"),
    ]
    assert named_sets.differences(old.sections, old.sections) == []


def test_what_is_wrong_is_said(home):
    with pytest.raises(ConfigError, match="there is none yet: save one by"):
        named_sets.find("screen")
    made, _ = named_sets.save("screen", config())
    with pytest.raises(ConfigError, match="did you mean 'screen'"):
        named_sets.find("scren")
    with pytest.raises(ConfigError, match=f"no version 'abc': expected one of {made.version}"):
        named_sets.find("screen@abc")
    for bad in ("", "../x", "a b", ".hidden", "x" * 65, "a/b"):
        with pytest.raises(ConfigError, match="expected up to 64 letters"):
            named_sets.save(bad, config())
    path = home / "params" / "screen" / f"{made.version}.yaml"
    path.write_text(path.read_text().replace("min_planes: 8", "min_planes: 9"))
    with pytest.raises(ConfigError, match="was changed after it was saved"):
        named_sets.find("screen")


SCHEMA = "key: [plate, well]\nfields:\n  dose: {type: number, unit: uM, about: concentration}\n"


@pytest.fixture
def files(tmp_path):
    schema, table = tmp_path / "fields.yaml", tmp_path / "map.csv"
    schema.write_text(SCHEMA)
    table.write_text("plate,well,dose\nP1,A1,0.5\nP1,A2,\n")
    return schema, table


def test_a_registered_data_set_configures_a_run(files):
    schema, table = files
    made, is_new = datasets.register("screen", schema=schema, table=table, about="my screen")
    assert is_new
    assert (made.rows, made.sha256) == (2, hashlib.sha256(table.read_bytes()).hexdigest())
    table.unlink()
    found = validate(configured({}, config=None, settings=None, dataset="screen"))
    assert found.dataset == "screen"
    assert found.metadata.table == str(made.table)
    assert made.table.read_text().startswith("plate,well,dose")
    assert found.metadata.fields["dose"].unit == "uM"


def test_registered_versions_stay(files):
    schema, table = files
    first, _ = datasets.register("screen", schema=schema, table=table)
    same, is_new = datasets.register("screen", schema=schema, table=table)
    assert (same, is_new) == (first, False)
    table.write_text("plate,well,dose\nP1,A1,7\n")
    second, _ = datasets.register("screen", schema=schema, table=table)
    assert [made.version for made in datasets.all_datasets()] == [first.version, second.version]
    assert datasets.find("screen") == second
    assert datasets.find(f"screen@{first.version}") == first


def test_a_schema_may_be_a_whole_section(files, tmp_path):
    whole = tmp_path / "whole.yaml"
    whole.write_text(json.dumps({"metadata": {"key": ["plate", "well"], "fields": {"dose": {"type": "number"}}}}))
    assert datasets.register("screen", schema=whole, table=files[1])[0].rows == 2


def test_wrong_data_sets_are_refused(files, tmp_path):
    schema, table = files
    with pytest.raises(ConfigError, match="there is none yet: register one"):
        datasets.find("screen")
    with pytest.raises(InputMissingError):
        datasets.register("screen", schema=schema, table=tmp_path / "no.csv")
    schema.write_text("key: [plate, well]\n")
    with pytest.raises(ConfigError, match="declares no field"):
        datasets.register("screen", schema=schema, table=table)
    schema.write_text(SCHEMA.replace("number", "numbre"))
    with pytest.raises(ConfigError, match=r"fields\.yaml: `metadata\.fields\.dose\.type` is 'numbre'"):
        datasets.register("screen", schema=schema, table=table)
    schema.write_text(SCHEMA)
    table.write_text("plate,well,dose\n")
    with pytest.raises(ConfigError, match="holds no row"):
        datasets.register("screen", schema=schema, table=table)
    assert datasets.all_datasets() == []


def test_a_changed_table_is_noticed(files):
    schema, table = files
    made, _ = datasets.register("screen", schema=schema, table=table)
    made.table.write_text("plate,well,dose\nP1,A1,8\n")
    with pytest.raises(ConfigError, match="was changed after it was registered"):
        datasets.find("screen")

"""The generated dashboards: checked by our own check and by another one, and damage is found by both."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import pytest

from tierflow.catalogue.elastic.runs import run_index
from tierflow.catalogue.elastic.template import whole_index
from tierflow.config import Elasticsearch
from tierflow.kibana import lens
from tierflow.kibana.dashboards import DASHBOARDS, SEARCHES
from tierflow.kibana.panels import Listing, Terms
from tierflow.kibana.saved_objects import builtin_features, files, ndjson, saved_objects
from tierflow.testing.kibana import problems

ALIAS = "tierflow-objects"
OBJECTS = whole_index(Elasticsearch(), builtin_features())
RUNS = run_index(Elasticsearch())
WHOLE = files(thumbnail_url="http://files.lab:8600")["tierflow.ndjson"]


def test_our_own_check_finds_nothing():
    assert problems(WHOLE, mapping=OBJECTS, alias=ALIAS) == []
    assert problems(files()["tierflow-runs.ndjson"], mapping=RUNS, alias="tierflow-runs") == []


def test_the_same_content_gives_the_same_bytes():
    assert files() == files()
    assert files(thumbnail_url="http://a")["tierflow.ndjson"] == files(thumbnail_url="http://a/")["tierflow.ndjson"]


def test_another_alias_lives_beside_the_first_one():
    mine, theirs = (
        {(item["type"], item["id"]) for item in saved_objects(alias=alias)} for alias in (ALIAS, "lab-objects")
    )
    assert not mine & theirs
    assert problems(files(alias="lab-objects")["lab.ndjson"], mapping=OBJECTS, alias="lab-objects") == []


def test_thumbnails_only_where_they_are_served():
    view = next(item for item in saved_objects(thumbnail_url="http://f:8600/") if item["id"] == "tierflow-objects")
    shown = json.loads(view["attributes"]["fieldFormatMap"])["object_id"]
    assert shown["id"] == "url"
    assert shown["params"]["type"] == "img"
    assert shown["params"]["urlTemplate"] == "http://f:8600/thumbnail/{{rawValue}}.png"
    bare = next(item for item in saved_objects() if item["id"] == "tierflow-objects")
    assert "object_id" not in json.loads(bare["attributes"]["fieldFormatMap"])


def test_rows_are_letters_and_shares_per_cent():
    view = next(item for item in saved_objects() if item["id"] == "tierflow-objects")
    formats = json.loads(view["attributes"]["fieldFormatMap"])
    assert {"key": "27", "value": "AA"} in formats["row"]["params"]["lookupEntries"]
    assert formats["features.saturated_share"]["id"] == "percent"
    labels = json.loads(view["attributes"]["fieldAttrs"])
    assert labels["pixel_size_um"] == {"customLabel": "pixel_size_um (um)"}


def test_filters_are_written_in_kibanas_language():
    failed = next(panel for panel in DASHBOARDS[0].charts if panel.name == "flagged")
    assert lens.kql(failed.where) == 'status:"ok" and flags:*'
    assert lens.kql(DASHBOARDS[0].charts[0].where) == ""


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.name)
def test_panels_can_be_drawn(dashboard):
    searches = {search.name for search in SEARCHES}
    for panel in dashboard.panels:
        if isinstance(panel, Listing):
            assert panel.search in searches
            continue
        counted = any(value.operation == "count" for value in panel.values)
        orders = [bucket.order for bucket in panel.buckets if isinstance(bucket, Terms)]
        assert counted or "count" not in orders, panel.name
        assert (panel.kind == "metric") == (not panel.buckets), panel.name
        assert panel.kind != "heatmap" or None not in (panel.across, panel.split), panel.name


def _objects():
    return [json.loads(line) for line in WHOLE.splitlines()]


def _find(objects, item_id):
    return next(item for item in objects if item["id"] == item_id)


def _in_panels(change):
    """Return a damage that is done inside `panelsJSON` of the overview."""

    def damage(objects):
        attributes = _find(objects, "tierflow-overview")["attributes"]
        panels = json.loads(attributes["panelsJSON"])
        change({panel["panelIndex"]: panel for panel in panels})
        attributes["panelsJSON"] = json.dumps(panels)

    return damage


def _layer(panel):
    return panel["embeddableConfig"]["attributes"]["state"]["datasourceStates"]["formBased"]["layers"]["layer"]


def _drawing(panel):
    return panel["embeddableConfig"]["attributes"]["state"]["visualization"]


def _set(tree, key, value):
    tree[key] = value


DAMAGE = {
    "newer version": lambda objects: _set(_find(objects, "tierflow-overview"), "typeMigrationVersion", "10.1.0"),
    "no version": lambda objects: _find(objects, "tierflow-worst").pop("typeMigrationVersion"),
    "newer core": lambda objects: _set(objects[0], "coreMigrationVersion", "8.9.0"),
    "the server's own key": lambda objects: _set(objects[0], "updated_at", "2026-11-21T00:00:00Z"),
    "twice": lambda objects: objects.append(copy.deepcopy(objects[0])),
    "lost data view": lambda objects: objects.remove(_find(objects, "tierflow-ingest")),
    "lost search": lambda objects: objects.remove(_find(objects, "tierflow-worst")),
    "unknown attribute": lambda objects: _set(_find(objects, "tierflow-plate")["attributes"], "sections", []),
    "other index": lambda objects: _set(_find(objects, "tierflow-objects")["attributes"], "title", "logs-*"),
    "time field is text": lambda objects: _set(
        _find(objects, "tierflow-ingest")["attributes"], "timeFieldName", "scored_at"
    ),
    "column of a search": lambda objects: _find(objects, "tierflow-worst")["attributes"]["columns"].append("score"),
    "sort of a search": lambda objects: _set(
        _find(objects, "tierflow-worst")["attributes"], "sort", [["sharpness", "asc"]]
    ),
    "format of no field": lambda objects: _set(
        _find(objects, "tierflow-objects")["attributes"], "fieldFormatMap", '{"nothing": {"id": "bytes"}}'
    ),
    "broken JSON": lambda objects: _set(_find(objects, "tierflow-objects")["attributes"], "fieldFormatMap", "{'a': 1}"),
    "overlap": _in_panels(lambda panels: _set(panels["scores"]["gridData"], "x", 4)),
    "too wide": _in_panels(lambda panels: _set(panels["ingest"]["gridData"], "w", 49)),
    "panel index": _in_panels(lambda panels: _set(panels["scores"], "panelIndex", "others")),
    "grid index": _in_panels(lambda panels: _set(panels["scores"]["gridData"], "i", "others")),
    "unknown field": _in_panels(lambda panels: _set(_layer(panels["mean"])["columns"]["v0"], "sourceField", "if")),
    "median of text": _in_panels(lambda panels: _set(_layer(panels["mean"])["columns"]["v0"], "sourceField", "tier")),
    "histogram of text": _in_panels(
        lambda panels: _set(_layer(panels["scores"])["columns"]["g1"], "sourceField", "plate")
    ),
    "dates of text": _in_panels(
        lambda panels: _set(_layer(panels["acquired"])["columns"]["g0"], "sourceField", "acquired_at")
    ),
    "column without order": _in_panels(lambda panels: _layer(panels["scores"])["columnOrder"].pop()),
    "values first": _in_panels(lambda panels: _layer(panels["scores"])["columnOrder"].reverse()),
    "ordered by nothing": _in_panels(
        lambda panels: _set(
            _layer(panels["flags"])["columns"]["g0"]["params"], "orderBy", {"type": "column", "columnId": "v9"}
        )
    ),
    "drawn but not defined": _in_panels(lambda panels: _set(_drawing(panels["mean"]), "metricAccessor", "v7")),
    "defined but not drawn": _in_panels(lambda panels: _drawing(panels["scores"])["layers"][0].pop("splitAccessor")),
    "layer of another name": _in_panels(
        lambda panels: panels["mean"]["embeddableConfig"]["attributes"]["references"].clear()
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_found(damage):
    objects = _objects()
    damage(objects)
    assert problems(ndjson(objects), mapping=OBJECTS, alias=ALIAS)


MORE_DAMAGE = {
    "count of a field": _in_panels(lambda panels: _set(_layer(panels["objects"])["columns"]["v0"], "sourceField", "x")),
    "operation of a licence": _in_panels(
        lambda panels: _set(_layer(panels["mean"])["columns"]["v0"], "operationType", "counter_rate")
    ),
    "kind of chart": _in_panels(
        lambda panels: _set(panels["mean"]["embeddableConfig"]["attributes"], "visualizationType", "lnsGauge")
    ),
    "query names no field": _in_panels(
        lambda panels: _set(
            panels["mean"]["embeddableConfig"]["attributes"]["state"]["query"], "query", 'state:"ok" and flags:*'
        )
    ),
    "control of no field": lambda objects: _set(
        _find(objects, "tierflow-plate")["attributes"]["controlGroupInput"],
        "panelsJSON",
        _find(objects, "tierflow-plate")["attributes"]["controlGroupInput"]["panelsJSON"].replace(
            '"fieldName":"plate"', '"fieldName":"barcode"'
        ),
    ),
    "control without data view": lambda objects: _set(
        _find(objects, "tierflow-plate"),
        "references",
        [r for r in _find(objects, "tierflow-plate")["references"] if "controlGroup" not in r["name"]],
    ),
}
"""What only our own check looks at."""


@pytest.mark.parametrize("damage", MORE_DAMAGE.values(), ids=MORE_DAMAGE)
def test_more_damage_is_found(damage):
    objects = _objects()
    damage(objects)
    assert problems(ndjson(objects), mapping=OBJECTS, alias=ALIAS)


@pytest.fixture(scope="module")
def lint(shared_images, tmp_path_factory):
    """The other check, which lies beside a developer's checkout: returns its exit code and words."""
    program = shared_images.parent / "services" / "kibana-lint"
    if not program.exists():
        pytest.skip(f"{program} not found")
    folder = tmp_path_factory.mktemp("lint")

    def check(text, *, mapping, alias):
        (folder / "objects.ndjson").write_text(text, encoding="utf-8")
        (folder / "mapping.json").write_text(json.dumps(mapping), encoding="utf-8")
        command = [sys.executable, program, folder / "objects.ndjson", "--mapping", folder / "mapping.json"]
        found = subprocess.run([*command, "--alias", alias], capture_output=True, text=True, check=False)
        return found.returncode, found.stdout + found.stderr

    return check


@pytest.mark.shared
def test_the_other_check_finds_nothing(lint):
    code, words = lint(WHOLE, mapping=OBJECTS, alias=ALIAS)
    assert code == 0, words
    assert "39 panels" in words
    code, words = lint(files()["tierflow-runs.ndjson"], mapping=RUNS, alias="tierflow-runs")
    assert code == 0, words


@pytest.mark.shared
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_the_other_check_finds_damage(lint, damage):
    objects = _objects()
    damage(objects)
    assert lint(ndjson(objects), mapping=OBJECTS, alias=ALIAS)[0] == 1

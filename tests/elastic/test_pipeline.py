"""The main job with a server: everything is indexed, and a server that is away stops nothing but that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tierflow import config_io, tables
from tierflow.catalogue.elastic.template import runs_alias
from tierflow.catalogue.parquet import ParquetCatalogue
from tierflow.steps import publish
from tierflow.testing.tables import index_run, make_run

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "plate"
OBJECTS = 20_000


def tierflow(*arguments, **environment) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tierflow", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=400,
        env={**os.environ, "COLUMNS": "200", **environment},
    )


def run_example(output: Path, *settings: str, **environment) -> subprocess.CompletedProcess[str]:
    options = [part for setting in settings for part in ("--set", setting)]
    return tierflow(
        *("run", EXAMPLE, "--config", ROOT / "examples" / "plate.yaml", "--output", output, "--cores", 2),
        *options,
        **environment,
    )


@pytest.fixture(scope="module")
def example(module_elastic, tmp_path_factory):
    output = tmp_path_factory.mktemp("example") / "results"
    done = run_example(
        output, f"catalogue.elasticsearch.alias={module_elastic.alias}", TIERFLOW_ES_URL=module_elastic.url
    )
    assert done.returncode == 0, done.stderr
    return output


@pytest.mark.slow
def test_the_example_is_indexed_whole(example, module_elastic, client):
    client.indices.refresh(index=module_elastic.alias)
    records = ParquetCatalogue(example).count()
    assert records == 19
    assert client.count(index=module_elastic.alias)["count"] == records
    receipts = [json.loads(path.read_text()) for path in (example / "publish").glob("*.json")]
    assert sum(receipt["accepted"] for receipt in receipts) == records
    [run] = client.search(index=runs_alias(module_elastic.alias))["hits"]["hits"]
    assert run["_source"]["dataset"] == "example plate"
    checked = tierflow("elastic", "check", example)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.slow
def test_a_second_run_sends_nothing(example, module_elastic):
    before = {path: path.stat().st_mtime_ns for path in (example / "publish").iterdir()}
    done = run_example(
        example, f"catalogue.elasticsearch.alias={module_elastic.alias}", TIERFLOW_ES_URL=module_elastic.url
    )
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in (example / "publish").iterdir()} == before


@pytest.mark.slow
def test_a_server_that_is_away_stops_nothing_but_publishing(tmp_path, elastic):
    output = tmp_path / "results"
    away = ("catalogue.elasticsearch.patience_s=1", f"catalogue.elasticsearch.alias={elastic.alias}")
    done = run_example(output, "catalogue.elasticsearch.url=http://127.0.0.1:9", *away)
    assert done.returncode == 75, done.stdout + done.stderr
    assert "run the same command again" in done.stderr
    assert ParquetCatalogue(output).count() == 19
    report = (output / "report.html").read_text()
    assert "the run stopped" not in report
    # Not the stopgap of a failed run, which is dated 1970.
    assert (output / "report.html").stat().st_mtime > 1e9
    assert not list((output / "publish").glob("*.json"))
    again = run_example(output, f"catalogue.elasticsearch.url={elastic.url}", *away)
    assert again.returncode == 0, again.stderr
    assert tierflow("elastic", "check", output).returncode == 0


@pytest.mark.slow
def test_twenty_thousand_objects_are_equal_on_both_sides(tmp_path, elastic, client):
    output = make_run(tmp_path, objects=OBJECTS, shard_objects=2_000)
    tree = config_io.read_tree(output / "config.yaml")
    tree.setdefault("catalogue", {}).update(run="twenty-thousand", elasticsearch=elastic.model_dump(mode="json"))
    config_io.write(output / "config.yaml", config_io.validate(tree))
    index_run(output)
    shards = sorted((output / "catalogue").glob("*.parquet"))
    assert len(shards) >= OBJECTS // 2_000
    for shard in shards:
        publish.run(catalogue=shard, config=output / "config.yaml", receipt=output / "publish" / f"{shard.stem}.json")
    client.indices.refresh(index=elastic.alias)
    assert client.count(index=elastic.alias)["count"] == sum(
        tables.read(shard, ["object_id"]).num_rows for shard in shards
    )
    assert client.count(index=elastic.alias)["count"] == OBJECTS
    checked = tierflow("elastic", "check", output)
    assert checked.returncode == 0, checked.stdout + checked.stderr

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tierflow import tables
from tierflow.catalogue.schema import catalogue_schema
from tierflow.config import Config
from tierflow.config_io import load
from tierflow.errors import InputMissingError
from tierflow.report import plates
from tierflow.report.build import build, coded, page_json, read_baseline, read_json
from tierflow.report.objects import read_objects
from tierflow.report.overview import tier_index, verdict
from tierflow.report.page import Material, page
from tierflow.report.partial import build_partial
from tierflow.report.source import CatalogueSource, TableSource
from tierflow.steps import index, report
from tierflow.testing.tables import make_run

VOID = {"meta", "link", "img", "input", "br"}


class Checker(HTMLParser):
    """Collect addresses, ids and unbalanced elements."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.pictures_without_words = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.addresses += [known[key] or "" for key in ("src", "href") if key in known]
        self.ids += [known["id"] or ""] if "id" in known else []
        self.pictures_without_words += tag == "img" and not known.get("alt")
        self.pictures_without_words += tag == "svg" and not known.get("aria-label")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)


def catalogued(folder: Path, **recipe: object) -> Path:
    output = make_run(folder, **recipe)
    for path in sorted((output / "score").glob("*.parquet")):
        index.run(
            shard=output / "scan" / "shards" / path.name,
            extract=output / "extract" / path.name,
            score=path,
            place=output / "place" / path.name,
            config=output / "config.yaml",
            catalogue=output / "catalogue" / path.name,
            receipt=output / "index" / f"{path.stem}.json",
        )
    return output


def reported(output: Path) -> str:
    report.run(
        summary=output / "scan" / "summary.json",
        policy=output / "policy.json",
        baseline=output / "baseline.parquet",
        catalogue=output / "catalogue",
        config=output / "config.yaml",
        html=output / "report.html",
        objects=output / "objects.csv",
    )
    return (output / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    output = catalogued(tmp_path_factory.mktemp("run"), objects=192, images=True)
    return output, reported(output)


def test_the_page_is_one_file_that_asks_for_nothing(run: tuple[Path, str]) -> None:
    checker = Checker()
    checker.feed(run[1])
    assert checker.unbalanced == []
    assert checker.open == []
    assert checker.pictures_without_words == 0
    assert len(checker.ids) == len(set(checker.ids))
    outside = [a for a in checker.addresses if not a.startswith(("data:", "#"))]
    assert outside == ["objects.csv"]
    assert (run[0] / "objects.csv").is_file()
    inner = {a[1:] for a in checker.addresses if a.startswith("#")}
    assert inner <= set(checker.ids)
    assert "url(" not in run[1]
    assert "@import" not in run[1]


def test_only_the_pages_own_script_may_run(run: tuple[Path, str]) -> None:
    scripts = re.findall(r"<script>(.*?)</script>", run[1], re.S)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    allowed = re.search(r'Content-Security-Policy" content="([^"]*)"', run[1])[1]
    assert f"script-src &#39;sha256-{digest}&#39;" in allowed
    assert "default-src &#39;none&#39;" in allowed


def test_the_numbers_are_those_of_the_tables(run: tuple[Path, str]) -> None:
    output, text = run
    catalogue = pa.concat_tables(tables.read(p) for p in sorted((output / "catalogue").glob("*.parquet")))
    failed = catalogue["status"].to_pylist().count("failed")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    tiers = catalogue["tier"].to_pylist()
    assert data["whatif"]["now"]["counts"] == [tiers.count(t) for t in "ABCD"]
    assert sum(data["whatif"]["fine"]["counts"]) == catalogue.num_rows - failed
    assert sum(sum(p["failed"]) for p in data["plates"]["plates"]) == failed
    assert len(data["table"]["rows"]) == catalogue.num_rows
    assert f"{tiers.count('quarantine'):,}</span>" in text
    assert f"{failed} need your eyes" in text


def test_pictures_are_shown_and_failures_have_placeholders(run: tuple[Path, str]) -> None:
    assert run[1].count('src="data:image/webp;base64,') == 24
    assert run[1].count('<span class="frame empty">') == 10
    assert "no bytes" in run[1]


def test_the_same_run_gives_the_same_page_but_for_the_time(run: tuple[Path, str]) -> None:
    again = reported(run[0])
    stamp = re.compile(r"made \d{4}-\d\d-\d\d \d\d:\d\d UTC")
    assert stamp.sub("", again) == stamp.sub("", run[1])


def test_a_run_that_stopped_shows_its_failures_first(tmp_path: Path) -> None:
    output = make_run(tmp_path, objects=60, failed_share=0.7, placed=False)
    (output / "policy.json").unlink()
    target = output / "report.html"
    build_partial(output=output, config=load(output / "config.yaml"), html=target, problem="42 of 60 objects failed")
    text = target.read_text(encoding="utf-8")
    assert "42 of 60 objects failed" in text
    assert text.index("Could not be measured") < text.index('id="pictures"')
    assert text.count("Could not be measured") == 1
    assert "What if the cut-offs" not in text
    assert "not placed" in text


def test_a_run_that_stopped_before_the_scores_shows_what_was_read(tmp_path: Path) -> None:
    output = make_run(tmp_path, objects=60, shard_objects=20, placed=False)
    for path in [*(output / "score").glob("*"), output / "policy.json", output / "extract" / "00002.parquet"]:
        path.unlink()
    target = output / "report.html"
    build_partial(output=output, config=load(output / "config.yaml"), html=target, problem="stopped")
    text = target.read_text(encoding="utf-8")
    assert "40 objects" in text
    assert "not scored" in text


def test_nothing_measured_says_which_table_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match=r"00000\.parquet is missing"):
        build_partial(output=tmp_path, config=Config(), html=tmp_path / "r.html", problem="")
    with pytest.raises(InputMissingError, match="holds no table"):
        CatalogueSource(tmp_path)


def one_row(**values: object) -> dict[str, object]:
    return {
        "object_id": "0" * 32,
        "path": "a.tif",
        "status": "ok",
        "interestingness": 0.5,
        "flags": [],
        "bytes": 10,
    } | values


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [one_row()],
        [one_row(status="failed", interestingness=None, flags=["truncated"], reason="cut")],
        [
            one_row(interestingness=1.0, tier="A", mid_band_share=float("inf")),
            one_row(interestingness=0.0, tier="elsewhere"),
        ],
        [one_row(plate="P", row=40, column=60, well="AN60", mid_band_share=0.1, flags=None)],
    ],
)
def test_strange_runs_still_give_a_page(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    source = TableSource(tables.from_rows(rows, catalogue_schema({"mid_band_share": ""})))
    build(
        Material(source=source, config=Config(), summary={}, policy=None, baseline={}, output=tmp_path),
        tmp_path / "r.html",
    )
    checker = Checker()
    checker.feed((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert checker.unbalanced == []
    assert checker.open == []


def test_the_verdict_counts_findings_and_failures() -> None:
    rows = [one_row() for _ in range(10)] + [one_row(flags=["saturated"])]
    rows += [one_row(status="failed", interestingness=None, flags=["truncated"]) for _ in range(3)]
    objects = read_objects(TableSource(tables.from_rows(rows, catalogue_schema({}))), [])
    assert verdict(objects) == (
        "10 of 14 images measured fine. One more was measured but carries a finding: 1 saturated. "
        "3 need your eyes: 3 truncated."
    )


def test_a_score_that_is_missing_is_a_failure_whatever_the_status_says() -> None:
    rows = [one_row(interestingness=None), one_row(interestingness=float("nan")), one_row()]
    objects = read_objects(TableSource(tables.from_rows(rows, catalogue_schema({}))), [])
    assert objects.measured.tolist() == [False, False, True]


def test_tiers_keep_their_order_and_unknown_ones_are_not_hidden() -> None:
    rows = [one_row(tier=t) for t in ("B", "quarantine", None, "A", "gone")]
    objects = read_objects(TableSource(tables.from_rows(rows, catalogue_schema({}))), [])
    assert tier_index(objects, ["A", "B"]).tolist() == [1, 2, 3, 0, 3]


def test_wells_hold_medians_and_failures() -> None:
    rows = [one_row(plate="P", row=2, column=3, interestingness=v) for v in (0.1, 0.4, 0.9)]
    rows.append(one_row(plate="P", row=2, column=3, status="failed", interestingness=None))
    rows.append(one_row(plate="Q", row=17, column=1))
    objects = read_objects(TableSource(tables.from_rows(rows, catalogue_schema({}))), [])
    (first, second), total = plates.grids(objects)
    assert total == 2
    assert (first.rows, first.columns) == (8, 12)
    assert (second.rows, second.columns) == (32, 48)
    assert first.values["interestingness"][1, 2] == pytest.approx(0.4)
    assert first.failed[1, 2] == 1
    assert first.objects.sum() == 4
    assert [plates.row_name(r) for r in (0, 25, 26, 31)] == ["A", "Z", "AA", "AF"]


def test_grouped_medians_equal_numpys() -> None:
    rng = np.random.default_rng(0)
    group, values = rng.integers(0, 20, 500), rng.normal(size=500)
    values[::7] = np.nan
    found = plates.median_by(group, values, 21)
    for g in range(20):
        assert found[g] == pytest.approx(np.nanmedian(values[group == g]))
    assert np.isnan(found[20])


def test_many_wells_are_capped_and_said(tmp_path: Path) -> None:
    rows = [one_row(plate=f"P{i:04d}", row=1, column=1, tier="A") for i in range(100)]
    source = TableSource(tables.from_rows(rows, catalogue_schema({})))
    content = page(Material(source=source, config=Config(), summary={}, policy=None, baseline={}, output=tmp_path))
    assert len(content["maps"]["plates"]) == plates.MOST_WELLS // 96
    assert content["maps"]["hidden"] == 100 - plates.MOST_WELLS // 96


def test_rows_come_from_the_right_shard_in_the_order_asked(tmp_path: Path) -> None:
    output = catalogued(tmp_path, objects=50, shard_objects=7)
    source = CatalogueSource(output / "catalogue")
    paths = source.columns(["path", "no such column"])["path"].to_pylist()
    wanted = [49, 0, 6, 7, 20]
    assert [row["path"] for row in source.rows(wanted, ["path"])] == [paths[i] for i in wanted]
    assert len(source) == 50


def test_json_and_sentences_are_safe() -> None:
    evil = "</script><!--<script>&amp;"
    assert not set(page_json({"a": evil})) & set("<>&")
    assert json.loads(page_json({"a": evil})) == {"a": evil}
    assert coded("run `<b>` now") == "run <code>&lt;b&gt;</code> now"
    assert coded("a lone ` and <b>") == "a lone ` and &lt;b&gt;"


def test_absent_parts_are_empty(tmp_path: Path) -> None:
    assert read_baseline(tmp_path / "no.parquet") == {}
    assert read_json(tmp_path / "no.json") is None

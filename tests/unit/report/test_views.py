"""The page of a catalogue: its numbers, its words, and that nothing in a name can break out of it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tierflow import tables
from tierflow.catalogue.parquet import ParquetCatalogue
from tierflow.catalogue.schema import catalogue_schema
from tierflow.commands.redo import report
from tierflow.errors import ConfigError, InputMissingError
from tierflow.report import views_data
from tierflow.report.views import SECURITY, build_views, catalogue_of
from tierflow.testing.tables import make_run

EVIL = '<script>alert("x")</script>&"\u202egnp.exe'


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """A run of two plates with images and failures."""
    return make_run(tmp_path_factory.mktemp("views"), objects=420, failed_share=0.1, catalogue=True, images=True)


@pytest.fixture(scope="module")
def overview(output):
    return views_data.read(ParquetCatalogue(output))


@pytest.fixture(scope="module")
def html(output, tmp_path_factory):
    target = tmp_path_factory.mktemp("page") / "catalogue.html"
    build_views(ParquetCatalogue(output), target, title=EVIL)
    return target.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def rows(output):
    return [row for shard in sorted((output / "catalogue").glob("*.parquet")) for row in tables.read(shard).to_pylist()]


def test_counts_are_those_of_the_records(overview, rows):
    assert overview.objects == len(rows)
    assert overview.failed == sum(row["status"] == "failed" for row in rows) > 0
    assert overview.flagged == sum(row["status"] == "ok" and bool(row["flags"]) for row in rows) > 0
    assert overview.tiers.names == ("A", "B", "C", "D", "quarantine")
    assert overview.tiers.counts == tuple(sum(row["tier"] == name for row in rows) for name in overview.tiers.names)
    assert overview.tiers.sizes == pytest.approx(
        [sum(row["bytes"] for row in rows if row["tier"] == name) for name in overview.tiers.names]
    )


def test_bins_hold_every_score_once(overview, rows):
    scores = [row["interestingness"] for row in rows if row["interestingness"] is not None]
    assert 1.0 in scores
    assert overview.scores.sum(axis=1).tolist() == np.histogram(scores, bins=views_data.BINS, range=(0, 1))[0].tolist()


def test_groups_and_moments_hold_every_object(overview, rows):
    assert [part.name for part in overview.plates] == ["P001", "P002"]
    for part in (*overview.plates, *overview.channels, *overview.runs):
        assert sum(part.tiers) == part.objects
    assert sum(part.objects for part in overview.channels) == len(rows)
    assert [moment.name for moment in overview.moments] == ["2024-03-01", "2024-03-02"]
    assert sum(moment.objects for moment in overview.moments) == len(rows)
    assert sum(moment.failed for moment in overview.moments) == overview.failed


def test_wells_are_where_they_belong(overview, rows):
    grid = overview.maps.grids[0]
    assert (grid.rows, grid.columns) == (8, 12)
    here = [row for row in rows if row["plate"] == "P001" and row["well"] == "B03"]
    assert grid.objects[1, 2] == len(here)
    known = [row["interestingness"] for row in here if row["interestingness"] is not None]
    assert grid.values["interestingness"][1, 2] == pytest.approx(np.mean(known))
    assert grid.failed.sum() == sum(row["plate"] == "P001" and row["status"] == "failed" for row in rows)


@pytest.mark.parametrize(
    ("well", "place"), [("A01", (0, 0)), ("P24", (15, 23)), ("AA01", (26, 0)), ("AF48", (31, 47)), ("A00", None)]
)
def test_names_of_wells(well, place):
    assert views_data._by_well([(well, 1.0), ("nothing", 2.0), ("", 3.0)]) == ({place: 1.0} if place else {})


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.ids, self.links, self.images, self.labels, self.policies = [], [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        self.tags.append(tag)
        if "id" in known:
            self.ids.append(known["id"])
        if tag == "a":
            self.links.append(known["href"])
        if tag == "img":
            self.images.append(known)
        if known.get("http-equiv") == "Content-Security-Policy":
            self.policies.append(known["content"])
        if tag == "label":
            self.labels.append(known["for"])


def test_the_page_is_one_safe_file(html):
    page = _Page()
    page.feed(html)
    assert "script" not in page.tags
    assert EVIL not in html
    assert "\u202e" not in html
    assert "&lt;script&gt;" in html
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", html)
    assert page.policies == [SECURITY]
    assert "default-src 'none'" in SECURITY
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert set(page.labels) <= set(page.ids)
    assert page.images
    assert all(image["alt"] for image in page.images)


def test_every_drawing_has_words(html):
    drawings = re.findall(r"<svg[^>]*>", html)
    assert drawings
    assert all('role="img"' in drawing and re.search(r'aria-label="[^"]+"', drawing) for drawing in drawings)


def test_every_measure_has_its_maps(html):
    assert html.count('<input type="radio"') == html.count('<div class="maps ') == 8
    assert html.count(" checked>") == 1


def test_names_that_are_hostile(tmp_path):
    """Whatever a run, plate, tier, flag or reason is called, it is shown as text."""
    record = {
        "object_id": "0" * 32,
        "path": f"{EVIL}.png",
        "path_bytes": b"x.png",
        "dataset": EVIL,
        "run": EVIL,
        "plate": EVIL,
        "well": "A01",
        "channel": EVIL,
        "status": "failed",
        "reason": EVIL,
        "tier": EVIL,
        "flags": [EVIL],
        "bytes": 1,
        "acquired_at": "yesterday",
        "driver": "none",
        "placement": "kept",
    }
    table = pa.Table.from_pylist([record], schema=catalogue_schema({"snr": ""}))
    tables.write(
        tmp_path / "catalogue" / "00000.parquet", table, input=str(tmp_path), dataset="d", catalogue_version="2"
    )
    build_views(ParquetCatalogue(tmp_path), tmp_path / "page.html", title="x")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "\u202e" not in html
    assert html.count("&lt;script&gt;") > 6


def test_an_empty_catalogue_says_so(tmp_path):
    table = catalogue_schema({"snr": ""}).empty_table()
    tables.write(
        tmp_path / "catalogue" / "00000.parquet", table, input=str(tmp_path), dataset="d", catalogue_version="2"
    )
    build_views(ParquetCatalogue(tmp_path), tmp_path / "page.html", title="nothing yet")
    assert "The catalogue is empty." in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_which_catalogue(output, tmp_path):
    found, title = catalogue_of(f"{output}/")
    assert found.count() == 420
    assert title == "output"
    with pytest.raises(ConfigError, match="leave --run out"):
        catalogue_of(str(output), run="first")
    with pytest.raises(InputMissingError, match="is no folder"):
        catalogue_of(str(tmp_path / "nothing"))


def test_the_command_writes_the_page(output, tmp_path, capsys):
    report(where=str(output), output=tmp_path / "page.html")
    assert "page.html" in capsys.readouterr().out
    assert "420 objects" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_command_wants_a_run_or_a_catalogue():
    with pytest.raises(ConfigError, match="give either"):
        report()
    with pytest.raises(ConfigError, match="give either"):
        report(Path("results"), where="results")

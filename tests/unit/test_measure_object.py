"""Rows of an object: good planes, bad planes, bad files and extractors that fail."""

from __future__ import annotations

import errno
import math

import numpy as np
import pytest
import tifffile

from tierflow import plugins, tables
from tierflow.config import Extract
from tierflow.errors import ConfigError, EmptyFileError, TryAgainError, UnmeasurableError
from tierflow.features.base import FeatureSettings, Measurement
from tierflow.io.readers import load
from tierflow.measure import make_extractors, measure_object, units_of


class Fake:
    """Gives the mean, and does what a test asks for."""

    def __init__(self, name="mean", *, act=None, histogram=None, pixel_hash=None):
        self.name, self.act = name, act
        self.extra = {"histogram": histogram, "pixel_hash": pixel_hash}

    def units(self):
        return {self.name: "count"}

    def measure(self, plane):
        value = self.act(plane) if self.act else float(plane.pixels.mean())
        return Measurement({self.name: value}, **self.extra)


@pytest.fixture
def stack(tmp_path):
    path = tmp_path / "stack.tif"
    pixels = np.arange(3, dtype="uint8")[:, None, None] * np.ones((1, 20, 30), "uint8")
    tifffile.imwrite(path, pixels, metadata=None, photometric="minisblack")
    return path


def rows_of(source, *extractors, **options):
    return measure_object(source, object_id="o", extractors=extractors, max_plane_mb=10, **options)


def test_a_row_per_plane(stack):
    loaded = load(stack)
    rows = rows_of(loaded, Fake(), Fake("twice", act=lambda p: 2.0 * p.pixels.mean()))
    assert [(r["plane"], r["z"], r["status"], r["mean"], r["twice"]) for r in rows] == [
        (0, 0, "ok", 0, 0),
        (1, 1, "ok", 1, 2),
        (2, 2, "ok", 2, 4),
    ]
    assert {(r["sha256"], r["bytes"], r["object_id"]) for r in rows} == {(loaded.sha256, loaded.size, "o")}
    assert {(r["height"], r["width"], r["samples"], r["dtype"]) for r in rows} == {(20, 30, 1, "uint8")}


def test_rows_fit_the_table(stack):
    histogram = np.arange(256, dtype="uint32")
    extractor = Fake(histogram=histogram, pixel_hash="abc")
    schema = tables.extract_schema(units_of([extractor]))
    table = tables.from_rows(rows_of(load(stack), extractor), schema)
    assert table["histogram"].to_pylist() == [list(range(256))] * 3
    assert table["pixel_hash"].to_pylist() == ["abc"] * 3
    assert table["mean"].to_pylist() == [0, 1, 2]
    assert table["flag"].null_count == 3


def test_the_first_histogram_and_hash_count(stack):
    first, second = (np.full(256, i, "uint32") for i in (1, 2))
    rows = rows_of(load(stack), Fake(), Fake("b", histogram=first), Fake("c", histogram=second, pixel_hash="c"))
    assert rows[0]["histogram"] is first
    assert rows[0]["pixel_hash"] == "c"


def test_a_file_that_could_not_be_loaded():
    (row,) = rows_of(EmptyFileError("no bytes"), Fake())
    assert row == {"object_id": "o", "plane": -1, "status": "failed", "flag": "empty_file", "reason": "no bytes"}


def test_a_file_that_is_no_image(tmp_path):
    (tmp_path / "a.tif").write_text("hello")
    loaded = load(tmp_path / "a.tif")
    (row,) = rows_of(loaded, Fake())
    assert (row["plane"], row["status"], row["flag"]) == (-1, "failed", "unsupported")
    assert (row["sha256"], row["bytes"]) == (loaded.sha256, 5)


def test_a_cut_stack_keeps_its_whole_planes_and_ends_with_the_failure(stack):
    stack.write_bytes(stack.read_bytes()[:-100])
    rows = rows_of(load(stack), Fake())
    assert [r["plane"] for r in rows] == [0, 1, -1]
    assert [r["status"] for r in rows] == ["ok", "ok", "failed"]
    assert rows[-1]["flag"] == "truncated"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_what_is_not_finite_becomes_null(stack, value):
    assert rows_of(load(stack), Fake(act=lambda plane: value))[0]["mean"] is None


def test_a_plane_that_cannot_be_measured_keeps_its_place(stack):
    def act(plane):
        if plane.z == 1:
            raise UnmeasurableError("nothing finite")
        return 1.0

    rows = rows_of(load(stack), Fake(act=act))
    assert [(r["plane"], r["status"]) for r in rows] == [(0, "ok"), (1, "failed"), (2, "ok")]
    assert (rows[1]["flag"], rows[1]["reason"], rows[1]["height"]) == ("unmeasurable", "nothing finite", 20)
    assert "mean" not in rows[1]


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), KeyError("x"), MemoryError(), OSError("odd")])
def test_an_extractor_that_fails_spoils_its_plane_only(stack, error):
    def act(plane):
        if plane.z == 0:
            raise error
        return 1.0

    rows = rows_of(load(stack), Fake(act=act))
    assert [r["status"] for r in rows] == ["failed", "ok", "ok"]
    assert rows[0]["flag"] == "unmeasurable"
    assert f"extractor Fake failed with {type(error).__name__}" in rows[0]["reason"]
    assert "extract.extractors" in rows[0]["reason"]


def test_an_extractor_that_gives_no_number_spoils_its_plane_only(stack):
    rows = rows_of(load(stack), Fake(act=lambda plane: "much"))
    assert {r["flag"] for r in rows} == {"unmeasurable"}


def test_a_full_disk_in_an_extractor_is_not_the_objects_fault(stack):
    def act(plane):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(TryAgainError):
        rows_of(load(stack), Fake(act=act))


def test_pixel_size_of_the_configuration_counts_where_the_file_says_nothing(stack, tmp_path):
    assert rows_of(load(stack), Fake(), pixel_size_um=0.5)[0]["pixel_size_um"] == 0.5
    path = tmp_path / "sized.tif"
    tifffile.imwrite(
        path, np.ones((8, 8), "uint8"), metadata=None, resolution=(10_000, 10_000), resolutionunit="CENTIMETER"
    )
    assert rows_of(load(path), Fake(), pixel_size_um=0.5)[0]["pixel_size_um"] == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["mean", "sha256"])
def test_a_name_that_is_taken_is_refused(name):
    with pytest.raises(ConfigError, match=f"Fake gives the feature '{name}'"):
        units_of([Fake(), Fake(name)])


def test_extractors_get_the_settings(monkeypatch):
    seen = []
    monkeypatch.setattr(plugins, "load", lambda kind, name: lambda settings: seen.append((kind, name, settings)))
    make_extractors(Extract(extractors=("a", "b"), scales_px=(5,), pixel_size_um=0.3, bit_depth=12))
    settings = FeatureSettings(scales_px=(5,), pixel_size_um=0.3, bit_depth=12)
    assert seen == [("extractors", "a", settings), ("extractors", "b", settings)]

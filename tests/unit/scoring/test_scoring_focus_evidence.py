"""The default score on real images whose focus is known, through the steps of a run: what design/focus.md promises."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from tierflow import config_io, tables
from tierflow.config import Config
from tierflow.features.base import FeatureSettings
from tierflow.features.image_quality import ImageQuality
from tierflow.io.plane import Plane
from tierflow.io.readers import load, planes
from tierflow.steps import baseline, score

pytestmark = pytest.mark.shared
EXTRACTOR = ImageQuality(FeatureSettings())


def read(folder, row):
    return next(iter(planes(load(folder / row["path"]), max_plane_mb=1024)))


def with_less_light(plane, share, random):
    if share == 1:
        return plane
    pixels = plane.pixels.astype(float)
    offset = np.percentile(pixels, 0.1)
    noisy = random.poisson(np.maximum(pixels - offset, 0) * share) + offset + random.normal(0, 8, pixels.shape)
    return replace(plane, pixels=np.clip(np.rint(noisy), 0, 65535).astype(np.uint16))


def empty_frames(random):
    frames = [np.full((520, 696), 110.0)]
    frames += [random.normal(110, sd, shape) for sd in (2, 8, 30) for shape in ((520, 696), (256, 256))]
    frames += [random.poisson(mean, (520, 696)) for mean in (1, 20, 1000)]
    return [Plane(np.clip(np.rint(frame), 0, 65535).astype(np.uint16)) for frame in frames]


def scores_of(folder, members):
    """Score (plate, channel, plane) as one run; return interestingness and flags."""
    rows = [
        {"object_id": str(n), "unit_id": str(n), "path": str(n), "plate": plate, "channel": channel}
        for n, (plate, channel, _) in enumerate(members)
    ]
    shard, extract = folder / "scan/shards/0.parquet", folder / "extract/0.parquet"
    tables.write(shard, tables.from_rows(rows, tables.SCAN))
    rows = [
        {"object_id": str(n), "plane": 0, "c": 0, "status": "ok", **EXTRACTOR.measure(plane).features}
        for n, (_, _, plane) in enumerate(members)
    ]
    tables.write(extract, tables.from_rows(rows, tables.extract_schema(EXTRACTOR.units())))
    summary, config = folder / "scan/summary.json", folder / "config.yaml"
    summary.write_text(json.dumps({"shards": [{"name": "0"}]}))
    config_io.write(config, Config())
    base, twins, table = folder / "baseline.parquet", folder / "duplicates.parquet", folder / "score.parquet"
    whole = {"baseline": base, "duplicates": twins, "history": folder / "history.parquet", "config": config}
    baseline.run(summary=summary, extracts=extract.parent, **whole)
    score.run(shard=shard, extract=extract, table=table, **whole)
    found = tables.read(table)
    return found["interestingness"].to_numpy(), found["flags"].to_pylist()


@pytest.fixture(scope="module")
def index(shared_images):
    with (shared_images / "index.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.parametrize("grouping", ["one plate", "a plate for each"])
@pytest.mark.parametrize("share", [1, 0.1, 0.02])
def test_in_focus_ranks_above_blurred_and_empty_at_any_light(tmp_path, shared_images, index, share, grouping):
    rows = [row for row in index if row["source"] == "bbbc006_miq"]
    sharp = np.array([row["truth"] == "in_focus" for row in rows])
    random = np.random.default_rng(0)
    members = [
        (
            "P" if grouping == "one plate" else row["truth"],
            "w1",
            with_less_light(read(shared_images, row), share, random),
        )
        for row in rows
    ]
    members += [(members[0][0], "w1", plane) for plane in empty_frames(random)]
    values, _ = scores_of(tmp_path, members)
    in_focus, blurred, empty = values[: len(rows)][sharp], values[: len(rows)][~sharp], values[len(rows) :]
    assert in_focus.min() > blurred.max()
    assert in_focus.min() > empty.max()
    assert empty.max() < 0.1
    if share == 1:
        assert in_focus.min() >= 0.75
        assert blurred.max() < 0.25


def _ranks(values):
    column = np.asarray(values, dtype=float)[:, None]
    return (column > column.T).sum(axis=1) + 0.5 * (column == column.T).sum(axis=1)


def _spearman(values, truth):
    return abs(np.corrcoef(_ranks(values), _ranks(truth))[0, 1])


def test_scores_follow_defocus_in_z_stacks(tmp_path, shared_images, index):
    rows = [row for row in index if row["source"] == "imagexpress_faim" and "Projection-Mix" in row["path"]]
    values, _ = scores_of(tmp_path, [("P", row["channel"], read(shared_images, row)) for row in rows])
    stacks = {}
    for value, row in zip(values, rows, strict=True):
        if row["truth"]:
            stacks.setdefault((row["well"], row["site"], row["channel"]), []).append((value, abs(float(row["truth"]))))
    assert len(stacks) == 8
    assert np.mean([_spearman(*zip(*stack, strict=True)) for stack in stacks.values()]) >= 0.90


def test_scores_follow_defocus_in_the_bright_field_series(tmp_path, shared_images, index):
    rows = [row for row in index if row["source"] == "smear_sharpness"]
    values, _ = scores_of(tmp_path, [("P", "", read(shared_images, row)) for row in rows])
    assert _spearman(values, [abs(float(row["truth"])) for row in rows]) >= 0.95
    assert abs(float(rows[int(np.argmax(values))]["truth"])) <= 1


@pytest.mark.parametrize("source", ["transfluor_screen", "ome_tiff_plate_embl"])
def test_plates_without_blur_lose_hardly_any_image(tmp_path, shared_images, index, source):
    rows = [row for row in index if row["source"] == source]
    values, flags = scores_of(tmp_path, [("P", row["channel"], read(shared_images, row)) for row in rows])
    assert (values >= 0.5).mean() > 0.95
    assert values.min() >= 0.25
    assert flags == [[] for _ in rows]

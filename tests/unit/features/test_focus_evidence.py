"""Real images: what the focus measures are trusted for."""

import csv
from collections import defaultdict

import numpy as np
import pytest
from test_reference_images import read_pixels

from tierflow.features.base import FeatureSettings
from tierflow.features.image_quality import ImageQuality
from tierflow.io.plane import Plane

pytestmark = pytest.mark.shared
FOCUS = ("mid_band_share", "sharpness")


def measured(pixels):
    return ImageQuality(FeatureSettings()).measure(Plane(pixels)).features


def dimmed(pixels, light, rng):
    """Less light: photon noise of what remains, read noise of sd 8, the camera's offset."""
    signal = np.clip(pixels - np.percentile(pixels, 1), 0, None) * light
    return np.clip(np.round(rng.poisson(signal) + rng.normal(100, 8, pixels.shape)), 0, 65535).astype(np.uint16)


def spearman(a, b):
    ranks = [np.argsort(np.argsort(v)).astype(float) for v in (np.asarray(a), np.asarray(b))]
    for rank, values in zip(ranks, (np.asarray(a), np.asarray(b)), strict=True):
        for value in np.unique(values):
            rank[values == value] = rank[values == value].mean()
    return np.corrcoef(*ranks)[0, 1]


@pytest.fixture(scope="module")
def index(shared_images):
    with (shared_images / "index.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("light", [1.0, 0.1, 0.02])
def test_in_focus_ranks_above_out_of_focus_at_any_light(index, shared_images, light):
    rng = np.random.default_rng(5)
    values = {True: [], False: []}
    for row in index:
        if row["source"] == "bbbc006_miq":
            pixels = read_pixels(shared_images / row["path"])
            found = measured(pixels if light == 1 else dimmed(pixels, light, rng))
            values["in_focus" in row["truth"]].append(found)
    assert (len(values[True]), len(values[False])) == (9, 24)
    for name in FOCUS:
        # A blurred image without a signal left has any sharpness by chance; see its docstring.
        blurred = [f[name] for f in values[False] if f["structure_z"] > 30]
        assert min(f[name] for f in values[True]) > max(blurred), name
    # Noise has less than 5.5 (test_own_measures), so a limit between separates empty from dim.
    assert min(f["object_z"] for f in values[True]) > 15


def test_stacks_follow_the_defocus(index, shared_images):
    stacks = defaultdict(list)
    for row in index:
        if row["source"] == "imagexpress_faim" and row["truth"]:
            key = tuple(row[c] for c in ("well", "site", "channel", "timepoint"))
            stacks[key].append((abs(float(row["truth"])), measured(read_pixels(shared_images / row["path"]))))
    assert len(stacks) == 8
    for name in FOCUS:
        found = [abs(spearman([z for z, _ in stack], [f[name] for _, f in stack])) for stack in stacks.values()]
        assert np.mean(found) >= 0.9, name


def test_bright_field_series_peaks_at_its_sharp_plane(index, shared_images):
    rows = [row for row in index if row["source"] == "smear_sharpness"]
    planes = [(float(r["truth"]), measured(read_pixels(shared_images / r["path"]))) for r in rows]
    for name in FOCUS:
        assert max(planes, key=lambda plane: plane[1][name])[0] == 0, name

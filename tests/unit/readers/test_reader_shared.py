"""All real images read as their index says."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tierflow.io.readers import load, planes


@pytest.mark.shared
def test_all_real_images_have_the_size_type_and_range_of_their_index(shared_images):
    wrong = []
    with (shared_images / "index.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        loaded = load(shared_images / row["path"])
        (plane,) = planes(loaded, max_plane_mb=100)
        pixels = plane.pixels
        samples = 1 if pixels.ndim == 2 else pixels.shape[2]
        found = (*pixels.shape[:2], pixels.dtype.name, samples, pixels.min(), pixels.max(), loaded.size)
        expected = tuple(row[k] for k in ("height", "width", "dtype", "channels", "min", "max", "bytes"))
        if tuple(map(str, found)) != expected or abs(pixels.mean() - float(row["mean"])) > 0.006:
            wrong.append((row["path"], found, expected))
    assert not wrong
    assert len(rows) == 265


@pytest.mark.shared
def test_facts_of_real_microscopes(shared_images):
    def facts(pattern):
        path = sorted(Path(shared_images).glob(pattern))[0]
        (plane,) = planes(load(path), max_plane_mb=100)
        return plane.pixel_size_um, plane.significant_bits, plane.channel_name, plane.full_scale

    assert facts("imagexpress_faim/Projection-Mix/**/*.tif") == (1.3668, 16, "FITC_05", None)
    assert facts("imagexpress_multisite_embl/*w1*") == (0.645, 12, "DAPI", None)
    # A .ome.tif without OME-XML, and TIFF under the name of a PNG.
    assert facts("ome_tiff_plate_embl/**/*.ome.tif") == (None, None, None, None)
    assert facts("bbbc006_miq/in_focus/*.png") == (None, None, None, None)

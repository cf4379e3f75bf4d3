"""All real images: every feature with CellProfiler's name has CellProfiler's value."""

import csv

import numpy as np
import pytest
import tifffile
from PIL import Image

from tierflow.features.base import FeatureSettings
from tierflow.features.image_quality import ImageQuality
from tierflow.io.plane import Plane

pytestmark = pytest.mark.shared


def read_pixels(path):
    """By content: some names say .png and hold a TIFF."""
    with path.open("rb") as stream:
        start = stream.read(2)
    if start in (b"II", b"MM"):
        return tifffile.imread(path)
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB") if image.mode == "P" else image)


def test_all_reference_images_agree_with_cellprofiler(shared_images):
    measure = ImageQuality(FeatureSettings(scales_px=(10, 20))).measure
    with (shared_images / "cellprofiler_reference.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    wrong = []
    for row in rows:
        found = measure(Plane(read_pixels(shared_images / row["path"]))).features
        for column, text in row.items():
            if not column.startswith("ImageQuality_"):
                continue
            name, expected = column.replace("_image", ""), float(text)
            limit = 1e-3 if "Correlation" in name else 1e-5 * abs(expected)
            if not abs(found[name] - expected) <= limit:
                wrong.append((row["path"], name, found[name], expected))
    assert len(rows) == 265
    assert wrong == []

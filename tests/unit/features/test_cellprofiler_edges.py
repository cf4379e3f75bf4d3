"""Odd sizes, single rows, constants, RGB, tag 281 and masks: equal to what CellProfiler gave for the same pixels."""

import json
from pathlib import Path

import numpy as np
import pytest

from tierflow.features.base import FeatureSettings
from tierflow.features.image_quality import ImageQuality
from tierflow.io.plane import Plane

EXPECTED = json.loads((Path(__file__).parent / "cellprofiler_edges.json").read_text())["values"]


def pattern(height, width, modulus):
    """Whole numbers that look irregular and come out the same everywhere."""
    y, x = np.mgrid[:height, :width].astype(np.int64)
    return (y * y * 31 + x * x * 17 + y * x * 7 + (x // 5) * 113 + (y // 7) * 59) % modulus


def planes():
    ratio = pattern(40, 50, 1009) / 500
    colour = np.stack([pattern(40, 50, modulus) for modulus in (251, 241, 239)], axis=-1)
    return {
        "odd_uint8": Plane(pattern(45, 67, 251).astype(np.uint8)),
        "even_uint16": Plane(pattern(64, 96, 60000).astype(np.uint16)),
        "one_row": Plane(pattern(1, 50, 4000).astype(np.uint16)),
        "one_column": Plane(pattern(50, 1, 4000).astype(np.uint16)),
        "one_pixel": Plane(np.full((1, 1), 7, np.uint16)),
        "constant": Plane(np.full((40, 50), 300, np.uint16)),
        "zero": Plane(np.zeros((40, 50), np.uint16)),
        "tag_281": Plane(pattern(40, 50, 4000).astype(np.uint16), full_scale=4095.0),
        "int16_signed": Plane((pattern(40, 50, 4000) - 1000).astype(np.int16)),
        "uint32": Plane((pattern(40, 50, 100003) * 40000).astype(np.uint32)),
        "float32": Plane((ratio - 0.5).astype(np.float32)),
        "float64": Plane(ratio),
        "rgb": Plane(colour.astype(np.uint8)),
        "small": Plane(pattern(23, 31, 4000).astype(np.uint16)),
        "two_values": Plane((pattern(40, 50, 4000) > 3000).astype(np.uint16) * np.uint16(500) + np.uint16(100)),
        "masked": Plane(np.where(pattern(40, 50, 13) > 1, ratio, np.nan).astype(np.float32)),
    }


def test_every_case_has_an_expected_value():
    assert planes().keys() == EXPECTED.keys()


@pytest.mark.parametrize("case", sorted(EXPECTED))
def test_equals_cellprofiler(case):
    found = ImageQuality(FeatureSettings(scales_px=(5, 20))).measure(planes()[case]).features
    for name, expected in EXPECTED[case].items():
        if "Correlation" in name:
            assert found[name] == pytest.approx(expected, abs=1e-3), name
        else:
            # CellProfiler's float32 mean leaves 5e-10 of spread in a constant plane; here it is 0.
            absolute = 1e-9 if case == "constant" else 0
            assert found[name] == pytest.approx(expected, rel=1e-5, abs=absolute), name


@pytest.mark.parametrize("kind", [">u2", "<u2", "noncontiguous"])
def test_byte_order_and_layout_of_the_array_do_not_matter(kind):
    plain = pattern(64, 96, 60000).astype(np.uint16)
    other = plain.T.copy().T if kind == "noncontiguous" else plain.astype(kind)
    measure = ImageQuality(FeatureSettings(scales_px=(5, 20))).measure
    assert measure(Plane(other)).features == measure(Plane(plain)).features
    assert measure(Plane(other)).pixel_hash == measure(Plane(plain)).pixel_hash

"""NaN and infinity in floating-point planes: measured like masked pixels, or refused when nothing is left."""

import math

import numpy as np
import pytest

from tierflow.errors import UnmeasurableError
from tierflow.features.base import FeatureSettings
from tierflow.features.image_quality import ImageQuality
from tierflow.io.plane import Plane


def measured(pixels):
    return ImageQuality(FeatureSettings(scales_px=(5,))).measure(Plane(pixels)).features


@pytest.fixture
def ramp():
    return np.random.default_rng(0).random((60, 70)).astype(np.float32)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_few_bad_pixels_leave_the_rest_measurable(ramp, bad):
    holed = ramp.copy()
    holed[10:20, 5:9] = bad
    good = holed[np.isfinite(holed)].astype(np.float64)
    found = measured(holed)
    assert found["finite_share"] == pytest.approx(good.size / ramp.size)
    assert found["ImageQuality_TotalArea"] == good.size
    assert found["ImageQuality_MeanIntensity"] == pytest.approx(good.mean(), rel=1e-6)
    assert found["ImageQuality_MedianIntensity"] == pytest.approx(np.median(good), rel=1e-6)
    assert found["ImageQuality_MaxIntensity"] == good.max()
    assert not any(math.isinf(value) for value in found.values())


def test_whatever_is_not_finite_counts_alike(ramp):
    planes = []
    for bad in (np.nan, np.inf):
        holed = ramp.copy()
        holed[10:20, 5:9] = bad
        planes.append(measured(holed))
    assert planes[0] == planes[1]


def test_the_given_array_stays_as_it_was(ramp):
    ramp[0, 0] = np.inf
    before = ramp.copy()
    measured(ramp)
    assert np.array_equal(ramp, before)


def test_values_beyond_single_precision_count_as_not_finite(ramp):
    wide = ramp.astype(np.float64)
    wide[0, 0] = 1e300
    assert measured(wide)["finite_share"] == pytest.approx(1 - 1 / wide.size)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nothing_finite_is_unmeasurable(bad):
    with pytest.raises(UnmeasurableError, match="none of the 12 pixels"):
        measured(np.full((3, 4), bad, np.float32))


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_no_pixels_are_unmeasurable(shape):
    with pytest.raises(UnmeasurableError, match="no pixels"):
        measured(np.empty(shape, np.uint16))


@pytest.mark.parametrize("pixels", [np.zeros((3, 4), complex), np.full((3, 4), "a"), np.zeros(5), np.zeros((2, 3, 4))])
def test_what_is_no_plane_is_unmeasurable(pixels):
    with pytest.raises(UnmeasurableError, match="expected"):
        measured(pixels)

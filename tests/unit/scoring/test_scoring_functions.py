"""The built-in interestingness functions on numbers that can be checked by hand."""

import hashlib

import numpy as np
import pytest

from tierflow.interestingness.base import PlaneTable
from tierflow.interestingness.constant import Constant, ConstantParameters
from tierflow.interestingness.focus import Focus, FocusParameters
from tierflow.interestingness.logistic import SLOPE, Haste, HasteParameters, logistic
from tierflow.interestingness.random import Random, RandomParameters


def table(median=np.nan, **features):
    values = {name: np.atleast_1d(np.asarray(column, dtype=float)) for name, column in features.items()}
    size = len(next(iter(values.values())))
    return PlaneTable(
        features=values,
        median={name: np.full(size, median) for name in values},
        mad={name: np.full(size, 1.0) for name in values},
        object_id=np.array([f"{n:032x}" for n in range(size)], dtype=object),
    )


def focus(*, sharpness, structure_z=1e4, object_z=1e3, median=np.nan, **parameters):
    planes = table(
        sharpness=sharpness,
        structure_z=np.broadcast_to(structure_z, np.shape(sharpness)),
        object_z=np.broadcast_to(object_z, np.shape(sharpness)),
        median=median,
    )
    return Focus(FocusParameters(**parameters)).score(planes)


def test_haste_is_case_study_1():
    slopes = np.array([-1.156, -1.400, -1.644])
    values = Haste(HasteParameters()).score(table(**{SLOPE: slopes}))
    np.testing.assert_allclose(values, [0.25, 0.5, 0.75], atol=5e-4)
    assert values[1] == 0.5


def test_logistic_saturates_without_overflow():
    assert logistic(np.array([-1e300, 0.0, 1e300]), k=5, x0=0).tolist() == [0, 0.5, 1]


def test_random_is_md5_modulo_1000():
    planes = table(sharpness=[0.0] * 3)
    expected = [int(hashlib.md5(text.encode()).hexdigest(), 16) % 1000 / 1000 for text in planes.object_id]
    assert Random(RandomParameters()).score(planes).tolist() == expected


def test_constant_includes_both_ends():
    for value in (0, 1):
        assert Constant(ConstantParameters(value=value)).score(table(sharpness=[1.0])).tolist() == [value]


def test_focus_without_baseline_is_half_at_the_typical_sharpness():
    np.testing.assert_allclose(focus(sharpness=[0.05, 0.1, 0.025]), [0.5, 0.8, 0.2], atol=1e-3)


def test_focus_rises_with_sharpness():
    values = focus(sharpness=np.linspace(0, 1, 50), median=0.2)
    assert (np.diff(values) >= 0).all()
    assert values[0] < 0.01
    assert values[-1] > 0.95


@pytest.mark.parametrize("median", [0.08, 0.1, 0.25, 0.5])
def test_typical_image_of_a_sharp_plate_is_in_the_upper_half(median):
    # Half to double the median is the spread of a plate on which all is well.
    typical, low = focus(sharpness=[median, median / 2], median=median)
    assert typical > 0.5
    assert low > 0.25


@pytest.mark.parametrize("median", [0.0, 0.001, 0.012])
def test_typical_image_of_a_blurred_plate_stays_low(median):
    assert focus(sharpness=[median], median=median)[0] < 0.3


@pytest.mark.parametrize("sharpness", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("median", [np.nan, 0.0, 0.1, 0.5])
def test_noise_scores_about_nothing_whatever_its_chance_sharpness(sharpness, median):
    assert focus(sharpness=[sharpness], structure_z=5, object_z=5, median=median)[0] < 0.05


def test_a_single_sharp_object_counts_although_the_plane_has_no_structure():
    assert focus(sharpness=[0.0], structure_z=1, object_z=40)[0] == pytest.approx(0.5, abs=0.02)


def test_focus_without_a_feature_gives_no_value():
    assert np.isnan(focus(sharpness=[np.nan])).all()
    assert np.isnan(focus(sharpness=[0.2], structure_z=np.nan)).all()
    assert np.isnan(focus(sharpness=[0.2], object_z=np.nan)).all()


def test_focus_says_what_decided():
    planes = table(sharpness=[0.2, 0.001, 0.3], structure_z=[1e4, 1e4, 1], object_z=[1e3, 1e3, 1], median=0.1)
    function = Focus(FocusParameters())
    texts = function.explain(planes, np.arange(3), function.score(planes))
    assert texts[0].startswith("sharp: sharpness 0.200")
    assert "median of plate and channel 0.100" in texts[0]
    assert texts[1].startswith("blurred: sharpness 0.001")
    assert texts[2].startswith("hardly any signal")

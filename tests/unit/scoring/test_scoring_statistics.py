"""Robust statistics of groups, duplicates, aggregation."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tierflow.scoring.aggregate import reduce_groups
from tierflow.scoring.duplicates import find_duplicates
from tierflow.scoring.statistics import MAD_TO_SIGMA, Groups, middle


def test_spread_ignores_missing_and_infinite_values():
    codes = np.array([1, 0, 1, 1, 2, 1, 1])
    values = np.array([1.0, 7.0, 2.0, 9.0, np.nan, np.nan, np.inf])
    spread = Groups(codes, count=4).spread(values)
    assert spread.n.tolist() == [1, 3, 0, 0]
    np.testing.assert_array_equal(spread.median, [7, 2, np.nan, np.nan])
    np.testing.assert_allclose(spread.mad, [0, MAD_TO_SIGMA * 1, np.nan, np.nan])


def test_mad_of_a_normal_distribution_is_its_standard_deviation():
    values = np.random.default_rng(0).normal(5, 3, 200_000)
    spread = Groups(np.zeros(len(values), dtype=np.int64), count=1).spread(values)
    assert spread.mad[0] == pytest.approx(3, rel=0.01)


@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e6, 1e6)))
def test_middle_is_the_median(values):
    assert middle(values) == np.median(values)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.0, 0.25, 0.5, 1.0])), min_size=1, max_size=30),
    st.sampled_from(["max", "min", "mean", "median"]),
)
def test_reduce_groups_equals_the_plain_way(members, rule):
    group = np.array([g for g, _ in members])
    values = np.array([v for _, v in members])
    result, row = reduce_groups(values, group, count=5, rule=rule)
    for g in range(5):
        own = np.flatnonzero(group == g)
        if not len(own):
            assert np.isnan(result[g])
            assert row[g] == -1
            continue
        assert result[g] == getattr(np, rule)(values[own])
        ranked = np.sort(values[own])
        decides = {"max": ranked[-1], "mean": ranked[-1], "min": ranked[0], "median": ranked[(len(own) - 1) // 2]}[rule]
        assert values[row[g]] == decides
        if rule in ("max", "mean", "min"):
            assert row[g] == own[values[own] == decides][0]
        assert row[g] in own


def _chunked(values):
    return pa.chunked_array([pa.array(values, pa.string())])


def test_duplicates_name_the_first_path():
    table = find_duplicates(
        _chunked(["x", "y", "x", "z", "z", "x"]),
        _chunked(["c", "b", "a", "d", "d", "e"]),
        _chunked(["p/3", "p/2", "p/1", "p/4", "p/4", "p/9"]),
    )
    # `z` occurs twice in the same object, which is no duplicate.
    assert table.to_pylist() == [
        {"pixel_hash": "x", "object_id": o, "first_object_id": "a", "first_path": "p/1"} for o in ("a", "c", "e")
    ]


def test_no_duplicates_is_an_empty_table():
    assert find_duplicates(_chunked([]), _chunked([]), _chunked([])).num_rows == 0

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.report.whatif import FINE, fine_histogram, ranges, scenarios, tally


def test_a_cut_off_belongs_to_the_better_tier() -> None:
    score = np.array([0.0, 0.25, 0.4999, 0.5, 0.75, 1.0])
    counts, sizes = tally(score, np.array([1, 2, 4, 8, 16, 32]), [0.75, 0.5, 0.25])
    assert counts == [2, 1, 2, 1]
    assert sizes == [48, 8, 6, 1]


thousandths = st.integers(0, FINE)


@given(
    st.lists(thousandths, min_size=1, max_size=50),
    st.lists(thousandths, min_size=1, max_size=5, unique=True).map(lambda cuts: sorted(cuts, reverse=True)),
)
def test_the_sliders_histogram_counts_as_the_policy_does(values: list[int], cuts: list[int]) -> None:
    score = np.array(values) / FINE
    size = np.arange(1, len(values) + 1)
    fine = fine_histogram(score, size)
    counts, sizes = tally(score, size, [cut / FINE for cut in cuts])
    edges = [FINE + 1, *cuts, 0]
    for tier, (high, low) in enumerate(pairwise(edges)):
        assert sum(fine["counts"][low:high]) == counts[tier]
        assert sum(fine["sizes"][low:high]) == sizes[tier]


def test_scenarios_keep_every_object() -> None:
    rng = np.random.default_rng(0)
    score, size = rng.random(1000), rng.integers(1, 100, 1000)
    found = scenarios(score, size, [0.75, 0.5, 0.25])
    assert found[0].minima == [0.75, 0.5, 0.25]
    assert found[0].counts == tally(score, size, [0.75, 0.5, 0.25])[0]
    for scenario in found:
        assert sum(scenario.counts) == 1000
        assert sum(scenario.sizes) == size.sum()
        assert scenario.minima == sorted(scenario.minima, reverse=True)
    quarters = next(s for s in found if s.name.startswith("a quarter"))
    assert quarters.counts == pytest.approx([250] * 4, abs=2)


def test_nothing_to_ask_without_scores_or_with_one_tier() -> None:
    assert scenarios(np.array([]), np.array([], dtype=np.int64), [0.5]) == []
    assert scenarios(np.array([0.5]), np.array([1]), []) == []


def test_ranges_in_words() -> None:
    assert [r["words"] for r in ranges(["A", "B", "C"], [0.75, 0.25])] == [
        "0.75 or more",
        "0.25 to below 0.75",
        "0 to below 0.25",
    ]

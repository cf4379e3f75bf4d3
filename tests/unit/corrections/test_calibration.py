"""Cut-offs from people's decisions, compared with trying all of them."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from tierflow.calibration import best_minima, compare, intervals, require_enough, tiers_under
from tierflow.errors import ConfigError
from tierflow.policies.interval import Interval, IntervalParameters


def fit(score, chosen, tiers):
    return best_minima(np.array(score, dtype=float), np.array(chosen), tiers=tiers)


def price(score, chosen, minima):
    given = tiers_under(np.array(score), minima)
    return int((given != chosen).sum()), int(np.abs(given - chosen).sum())


def test_separable_choices_are_cut_in_the_middle_between_neighbours():
    assert fit([0.1, 0.3, 0.5, 0.9], [3, 2, 1, 0], 4) == pytest.approx([0.7, 0.4, 0.2])


def test_a_tier_that_nobody_chose_shares_the_gap():
    assert fit([0.2, 0.8], [3, 0], 4) == pytest.approx([0.65, 0.5, 0.35])
    # Nobody chose A or D: their ranges lie outside of all scores, halfway to the ends.
    assert fit([0.2, 0.6], [2, 1], 4) == pytest.approx([0.8, 0.4, 0.1])


def test_equal_scores_stay_together():
    minima = fit([0.5, 0.5, 0.5, 0.9], [1, 1, 0, 0], 2)
    assert minima == pytest.approx([0.7])
    assert price([0.5, 0.5, 0.5, 0.9], [1, 1, 0, 0], minima) == (1, 1)


@pytest.mark.parametrize("seed", range(60))
def test_no_cut_offs_agree_better(seed):
    rng = random.Random(seed)
    tiers, units = rng.randint(2, 4), rng.randint(1, 9)
    score = [rng.choice([0.0, 0.1, 0.25, 0.5, 0.5000000000000001, 0.75, 1.0]) for _ in range(units)]
    chosen = np.array([rng.randrange(tiers) for _ in range(units)])
    edges = [*sorted(set(score)), 2.0]
    best = min(
        price(score, chosen, sorted(minima, reverse=True))
        for minima in itertools.combinations_with_replacement(edges, tiers - 1)
    )
    minima = fit(score, chosen, tiers)
    assert minima == sorted(minima, reverse=True)
    assert price(score, chosen, minima) == best


@pytest.mark.parametrize("seed", range(60))
def test_the_policy_made_of_them_gives_the_same_tiers(seed):
    rng = random.Random(seed)
    names = ["A", "B", "C", "D"][: rng.randint(2, 4)]
    units = rng.randint(1, 12)
    score = np.array([rng.choice([0.0, 0.2, 0.5, 0.8, 1.0, rng.random()]) for _ in range(units)])
    chosen = np.array([rng.randrange(len(names)) for _ in range(units)])
    minima = best_minima(score, chosen, tiers=len(names))
    policy = Interval(IntervalParameters.model_validate({"intervals": intervals(names, minima)}), names)
    none = np.array([], dtype=object)
    cuts = policy.resolve(unit_id=none, interestingness=score, size=none, taken={})
    by_policy = [next(cut.tier for cut in cuts if value >= cut.minimum) for value in score]
    assert by_policy == [names[place] for place in tiers_under(score, minima)]


def test_a_cut_between_neighbouring_numbers_keeps_both_apart():
    low = 0.5
    high = float(np.nextafter(low, 1))
    assert tiers_under(np.array([low, high]), fit([low, high], [1, 0], 2)).tolist() == [1, 0]
    assert tiers_under(np.array([low, high]), fit([low, high], [2, 0], 3)).tolist() == [2, 0]


def test_large_sets_are_exact_too():
    rng = np.random.default_rng(0)
    score = rng.random(5000)
    truth = tiers_under(score, [0.8, 0.55, 0.2])
    assert compare(truth, tiers_under(score, best_minima(score, truth, tiers=4)), tiers=4).agreeing == 5000


def test_confusion_tables_count_people_in_rows():
    agreement = compare(np.array([0, 0, 1]), np.array([0, 1, 1]), tiers=2)
    assert (agreement.table.tolist(), agreement.agreeing, agreement.units) == ([[1, 1], [0, 1]], 2, 3)


@pytest.mark.parametrize(("units", "tiers", "needed"), [(0, 2, 10), (9, 2, 10), (14, 4, 15), (24, 6, 25)])
def test_too_few_decisions_say_how_many_are_needed(units, tiers, needed):
    chosen = np.arange(units) % tiers
    with pytest.raises(ConfigError, match=rf"decided about {units} units that count, {needed} are needed"):
        require_enough(chosen, tiers=tiers)
    require_enough(np.arange(needed) % tiers, tiers=tiers)


def test_one_chosen_tier_says_nothing_about_a_cut():
    with pytest.raises(ConfigError, match="one tier for all 30 units"):
        require_enough(np.zeros(30, dtype=int), tiers=4)

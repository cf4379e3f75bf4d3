"""Tiers of all objects from the scores of a sample, by the real policies."""

from __future__ import annotations

import numpy as np
import pytest

from tierflow import tables
from tierflow.config import Config
from tierflow.sizing.tier_shares import Population, given_shares, share_out

N = 1000


def population(measured, *, size=None):
    """Every unit one object; the first `measured` of one stratum are the sample."""
    return Population(
        unit=np.arange(N),
        size=np.full(N, 1_000_000) if size is None else size,
        stratum=np.zeros(N, dtype=np.int64),
        donors=[np.arange(measured)],
        scores={unit: [unit] for unit in range(measured)},
    )


def score(values):
    rows = [
        {
            "object_id": f"{i}",
            "unit_id": f"{i}",
            "status": "failed" if v is None else "ok",
            "interestingness": v,
            "flags": [],
        }
        for i, v in enumerate(values)
    ]
    return tables.from_rows(rows, tables.SCORE)


def found(config, values, **options):
    tiers, _ = share_out(
        population(len(values), **options),
        score(values),
        Config.model_validate(config),
        random=np.random.default_rng(1),
        seconds=0.5,
    )
    return tiers


def test_an_interval_policy_gives_the_shares_of_the_sample():
    tiers = found({}, [0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, None])
    assert tiers["A"][0] == pytest.approx(250, abs=40)
    assert tiers["quarantine"][0] == pytest.approx(125, abs=35)
    size = tiers["A"][1]
    assert size.low < size.value < size.high
    assert sum(span.value for _, span in tiers.values()) == N * 1e6
    assert sum(objects for objects, _ in tiers.values()) == N


@pytest.mark.parametrize(
    ("policy", "best"),
    [
        ({"kind": "top_k", "parameters": {"k": {"A": 37, "B": 0, "C": 0}}}, 37),
        ({"kind": "budget", "parameters": {"limit_gb": {"A": 0.05, "B": 0, "C": 0}}}, 50),
    ],
)
def test_policies_by_rank_are_exact_whatever_the_sample(policy, best):
    tiers = found({"policy": policy}, list(np.linspace(0.1, 0.9, 20)))
    assert tiers["A"][0] == best
    assert (tiers["A"][1].low, tiers["A"][1].high) == (best * 1e6, best * 1e6)


def test_all_measured_leaves_no_doubt():
    values = [0.9] * 400 + [0.1] * 600
    tiers = found({}, values)
    assert tiers["A"][0] == 400
    assert tiers["A"][1].low == tiers["A"][1].high == 400e6


def test_a_unit_of_several_objects_takes_one_tier():
    pairs = Population(
        unit=np.repeat(np.arange(500), 2),
        size=np.full(N, 10),
        stratum=np.zeros(500, dtype=np.int64),
        donors=[np.array([0, 1])],
        scores={0: [0, 1], 1: [2, 3]},
    )
    table = score([0.9, 0.9, 0.1, 0.1])
    tiers, _ = share_out(pairs, table, Config(), random=np.random.default_rng(1), seconds=0.1)
    assert tiers["A"][0] % 2 == 0
    assert tiers["A"][0] + tiers["D"][0] == N


def test_given_shares_are_taken_as_they_are():
    tiers = given_shares({"A": 0.25, "D": 0.75}, population(1), ["A", "B", "C", "D"])
    assert tiers["A"] == (250.0, tiers["A"][1])
    assert tiers["D"][1].value == 750e6
    assert tiers["quarantine"][0] == 0


def test_a_tier_that_no_measured_unit_got_is_not_called_empty_for_certain():
    tiers = found({}, [0.9] * 20)
    assert tiers["A"][0] == N
    assert tiers["A"][1].low < 0.98 * N * 1e6
    for tier in ("B", "C", "D", "quarantine"):
        assert tiers[tier][0] == 0
        # A share that 20 units in a row miss in one sample of twenty is 14 %; half a unit for each tier says less.
        assert 0.02 * N * 1e6 < tiers[tier][1].high < 0.15 * N * 1e6


def test_the_measured_lend_as_often_to_small_units_as_to_large_ones():
    size = np.arange(1, N + 1) * 1000
    tiers = found({}, [0.9, 0.1] * 5, size=size)
    total = float(size.sum())
    assert tiers["A"][0] == N / 2
    assert tiers["A"][1].value == pytest.approx(total / 2, rel=0.01)


def test_units_of_several_objects_take_the_rows_of_their_lender_in_turn():
    unit = np.array([0, 1, 0, 1, 2, 2, 2])
    population = Population(
        unit=unit,
        size=np.full(7, 10),
        stratum=np.zeros(3, dtype=np.int64),
        donors=[np.array([0])],
        scores={0: [0, 1]},
    )
    config = Config.model_validate({})
    tiers, _ = share_out(population, score([0.9, None]), config, random=np.random.default_rng(1), seconds=0.1)
    assert (tiers["A"][0], tiers["quarantine"][0]) == (4, 3)

"""The policy `top_k` as units come: the same end as over all units at once, and what it costs."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.errors import ConfigError
from tierflow.policies.base import Taken
from tierflow.policies.online import Arrivals, OnlineTopK, changeover, exact_writes, expected_writes
from tierflow.policies.ranking import assign
from tierflow.policies.top_k import TopK, TopKParameters

TIERS = ["A", "B", "C", "D"]


def arrivals(units, tier=None):
    """Units as (name, value) or (name, value, forced tier)."""
    names = [unit[0] for unit in units]
    return Arrivals(
        unit_id=np.array(names, dtype=object),
        value=np.array([unit[1] for unit in units], dtype=float),
        forced=np.array([unit[2] if len(unit) > 2 else -1 for unit in units], dtype=np.int64),
        objects=[(f"{name}.tif",) for name in names],
        tier=None if tier is None else np.array(tier, dtype=np.int64),
    )


def given_by(cuts, tiers, units):
    """Return the tiers that cuts give units."""
    names = np.array([name for name, *_ in units], dtype=object)
    codes = assign(cuts, unit_id=names, interestingness=np.array([unit[1] for unit in units], dtype=float))
    return {name: cuts[code].tier for name, code in zip(names, codes, strict=True)}


def move(online, lies, tiers):
    """Carry out what displaced units want, as the stream does."""
    for unit in online.displaced():
        assert lies[unit.unit_id] == tiers[unit.source]
        assert unit.objects == (f"{unit.unit_id}.tif",)
        lies[unit.unit_id] = tiers[unit.target]
        online.settle(unit)
    assert online.displaced() == []


@st.composite
def streams(draw):
    tiers = TIERS[: draw(st.integers(2, 4))]
    k = {tier: draw(st.integers(0, 6)) for tier in tiers[:-1]}
    # Few values, so that ties are common.
    values = draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), max_size=40))
    names = draw(st.permutations([f"u{n:02d}" for n in range(len(values))]))
    forced = draw(
        st.lists(st.sampled_from([-1, -1, -1, *range(len(tiers))]), min_size=len(values), max_size=len(values))
    )
    cuts = sorted(draw(st.lists(st.integers(0, len(values)), max_size=6)))
    moves = draw(st.lists(st.booleans(), min_size=len(cuts) + 1, max_size=len(cuts) + 1))
    return tiers, k, list(zip(names, values, forced, strict=True)), [0, *cuts, len(values)], moves


@given(streams())
def test_ends_as_over_all_units_at_once(stream):
    tiers, k, units, cuts, moves = stream
    online = OnlineTopK(TopKParameters(k=k), tiers)
    lies = {}
    for start, stop, now in zip(cuts, cuts[1:], moves, strict=False):
        came = units[start:stop]
        lies |= given_by(online.add(arrivals(came)), tiers, [unit for unit in came if unit[2] < 0])
        if now:
            move(online, lies, tiers)
    move(online, lies, tiers)
    ranked = [unit for unit in units if unit[2] < 0]
    taken = {tier: Taken(sum(unit[2] == at for unit in units), 0) for at, tier in enumerate(tiers)}
    batch = TopK(TopKParameters(k=k), tiers).resolve(
        unit_id=np.array([name for name, *_ in ranked], dtype=object),
        interestingness=np.array([value for _, value, _ in ranked], dtype=float),
        size=np.zeros(len(ranked), dtype=np.int64),
        taken=taken,
    )
    assert lies == given_by(batch, tiers, ranked)


@given(streams(), st.data())
def test_goes_on_from_what_is_on_record(stream, data):
    """Killed after any batch, moves carried out or not: built anew from units and tiers it ends the same."""
    tiers, k, units, cuts, _ = stream
    online = OnlineTopK(TopKParameters(k=k), tiers)
    lies = {}
    for start, stop in pairwise(cuts):
        came = units[start:stop]
        lies |= given_by(online.add(arrivals(came)), tiers, [unit for unit in came if unit[2] < 0])
        if data.draw(st.booleans()):
            move(online, lies, tiers)
        if data.draw(st.booleans()):
            online = OnlineTopK(TopKParameters(k=k), tiers)
            old = data.draw(st.permutations(units[:stop]))
            online.add(arrivals(old, tier=[tiers.index(lies.get(name, tiers[-1])) for name, *_ in old]))
    move(online, lies, tiers)
    whole = OnlineTopK(TopKParameters(k=k), tiers)
    ranked = [unit for unit in units if unit[2] < 0]
    assert lies == given_by(whole.add(arrivals(units)), tiers, ranked)


def test_displaced_units_go_down_one_tier_after_the_other():
    online = OnlineTopK(TopKParameters(k={"A": 1, "B": 1}), ["A", "B", "C"])
    lies = {}
    for name, value in (("u1", 0.1), ("u2", 0.2), ("u3", 0.3)):
        lies |= given_by(online.add(arrivals([(name, value)])), ["A", "B", "C"], [(name, value)])
        assert lies[name] == "A"
        move(online, lies, ["A", "B", "C"])
    assert lies == {"u1": "C", "u2": "B", "u3": "A"}


def test_a_move_is_asked_for_until_it_is_done():
    online = OnlineTopK(TopKParameters(k={"A": 1}), ["A", "B"])
    online.add(arrivals([("u1", 0.1)]))
    for number in range(5):
        online.add(arrivals([(f"v{number}", 0.5 + number / 10)]))
    found = online.displaced()
    assert {unit.unit_id for unit in found} == {"u1", "v0", "v1", "v2", "v3"}
    assert online.displaced() == found
    for unit in found[:2]:
        online.settle(unit)
    assert online.displaced() == found[2:]


def test_a_unit_written_anew_takes_the_place_of_its_former_self():
    online = OnlineTopK(TopKParameters(k={"A": 1, "B": 1}), ["A", "B", "C"])
    online.add(arrivals([("u1", 0.9), ("u2", 0.5)]))
    cuts = online.add(arrivals([("u1", 0.1)]))
    assert given_by(cuts, ["A", "B", "C"], [("u1", 0.1)]) == {"u1": "B"}
    (unit,) = online.displaced()
    assert (unit.unit_id, unit.source, unit.target) == ("u2", 1, 0)
    online.settle(unit)
    online.add(arrivals([("u2", math.nan)]))
    (unit,) = online.displaced()
    assert (unit.unit_id, unit.source, unit.target) == ("u1", 1, 0)


def test_late_members_belong_to_their_unit():
    online = OnlineTopK(TopKParameters(k={"A": 1}), ["A", "B"])
    online.add(arrivals([("u1", 0.5)]))
    late = arrivals([("u1", 0.2)])
    late.objects[0] = ("late.tif",)
    online.add(late)
    online.add(arrivals([("u2", 0.4)]))
    assert online.displaced() == []
    online.add(arrivals([("u3", 0.9)]))
    (found,) = online.displaced()
    assert (found.unit_id, found.objects) == ("u1", ("u1.tif", "late.tif"))


def writes(n, k, random):
    """Count how often the best tier is written, one unit at a time."""
    online = OnlineTopK(TopKParameters(k={"A": k}), ["A", "B"])
    count = 0
    for number, value in enumerate(random.random(n)):
        cuts = online.add(arrivals([(f"{number:06d}", value)]))
        count += value >= cuts[0].minimum
        for unit in online.displaced():
            online.settle(unit)
    return count


@pytest.mark.parametrize(("n", "k", "seed"), [(120, 10, 1), (80, 20, 2)])
def test_writes_to_the_best_tier_are_as_many_as_expected(n, k, seed):
    runs = 200
    random = np.random.default_rng(seed)
    mean = np.mean([writes(n, k, random) for _ in range(runs)])
    # The i-th unit is written with the chance K/i, whatever became of the others.
    chance = k / np.arange(k + 1, n + 1)
    three_sigma = 3 * math.sqrt((chance * (1 - chance)).sum() / runs)
    assert abs(mean - exact_writes(n, k)) < three_sigma
    assert abs(mean - expected_writes(n, k)) < three_sigma


@pytest.mark.parametrize(("n", "k"), [(1, 1), (50, 7), (1000, 999), (5, 10), (10, 0), (0, 3)])
def test_the_two_forms_of_expected_writes_agree(n, k):
    by_hand = sum(min(1, k / i) for i in range(1, n + 1))
    assert exact_writes(n, k) == pytest.approx(by_hand, rel=1e-12)
    assert abs(expected_writes(n, k) - by_hand) <= 0.5


def cost_by_hand(r, n, k, *, write_a, write_b, hold_a, hold_b):
    chances = [min(1, k / i) for i in range(1, n + 1)]
    kept = min(n, k)
    return sum(chances[:r]) * write_a + sum(chances[r:]) * write_b + kept * r / n * hold_a + kept * (n - r) / n * hold_b


@pytest.mark.parametrize(("n", "k"), [(60, 5), (60, 1), (40, 39), (30, 30), (10, 25)])
@pytest.mark.parametrize("write_a", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("write_b", [0.0, 1.5, 3.0])
@pytest.mark.parametrize("hold_a", [0.0, 2.0, 30.0])
@pytest.mark.parametrize("hold_b", [0.0, 1.0, 8.0])
def test_changeover_is_the_cheapest_of_all(n, k, write_a, write_b, hold_a, hold_b):
    costs = {"write_a": write_a, "write_b": write_b, "hold_a": hold_a, "hold_b": hold_b}
    found = changeover(n, k, **costs)
    assert found.cost == pytest.approx(cost_by_hand(found.unit, n, k, **costs), abs=1e-9)
    least = min(cost_by_hand(r, n, k, **costs) for r in range(n + 1))
    assert found.cost == pytest.approx(least, abs=1e-9)
    if hold_a != hold_b and write_b > write_a and k < n * (write_b - write_a) / (hold_a - hold_b) < n:
        assert found.unit == math.floor(n * (write_b - write_a) / (hold_a - hold_b))


def test_expected_cost_of_a_changeover_is_what_streams_cost():
    n, k, costs = 200, 10, {"write_a": 1.0, "write_b": 3.0, "hold_a": 5.0, "hold_b": 1.0}
    found = changeover(n, k, **costs)
    assert found.unit == 100
    random = np.random.default_rng(3)
    observed = []
    for _ in range(200):
        ranks, kept, cost = random.random(n), [], 0.0
        for number, value in enumerate(ranks, start=1):
            kept = sorted([*kept, (value, number)], reverse=True)[:k]
            if (value, number) in kept:
                cost += costs["write_a"] if number <= found.unit else costs["write_b"]
        cost += sum(costs["hold_a"] if number <= found.unit else costs["hold_b"] for _, number in kept)
        observed.append(cost)
    assert abs(np.mean(observed) - found.cost) < 3 * np.std(observed) / math.sqrt(len(observed))


CHANGE = {"units": 100, "write_first": 1, "write_second": 2, "hold_first": 4, "hold_second": 0}


def test_after_the_changeover_the_best_go_to_the_second_tier():
    # r* = 100 x (2 - 1) / (4 - 0) = 25
    tiers = ["A", "B", "C"]
    online = OnlineTopK(TopKParameters.model_validate({"k": {"A": 5, "B": 0}, "changeover": CHANGE}), tiers)
    random, lies, came = np.random.default_rng(4), {}, {}
    for number in range(100):
        name = f"{number:03d}"
        came[name] = random.random()
        first = given_by(online.add(arrivals([(name, came[name])])), tiers, [(name, came[name])])[name]
        assert first != ("A" if number >= 25 else "B")
        lies[name] = first
        before = dict(lies)
        move(online, lies, tiers)
        assert all(lies[unit] == "C" for unit in lies if lies[unit] != before[unit])
    best = sorted(came, key=came.get)[-5:]
    assert {unit for unit in lies if lies[unit] != "C"} == set(best)
    assert all(lies[unit] == ("A" if int(unit) < 25 else "B") for unit in best)


def test_changeover_needs_room_for_both_tiers():
    with pytest.raises(ConfigError, match="expected three or more"):
        TopK(TopKParameters.model_validate({"k": {"A": 5}, "changeover": CHANGE}), ["A", "B"])
    with pytest.raises(ConfigError, match=r"k\.B is 2, expected 0"):
        TopK(TopKParameters.model_validate({"k": {"A": 5, "B": 2}, "changeover": CHANGE}), ["A", "B", "C"])

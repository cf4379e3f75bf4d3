"""The arithmetic of a plan, checked by hand."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from tierflow.sizing.engines import ENGINES, Engine
from tierflow.sizing.estimate import Measured, StepCost, job_cpu, makespan, peak_mb, stratified, wall_s, with_copies
from tierflow.sizing.sample import round_robin, spread, strata

PLAIN = Engine("plain", run_s=0, job_s=0, stage_s=0, jobs_per_s=math.inf, source="made up")
COST = StepCost(fixed_cpu_s=1.0, object_cpu_s=0.01, wall_per_cpu=1.0, peak_mb=100.0, objects=50)


def measured(units, times, size=1000):
    return Measured(units, size * units, np.array(times, float), np.array(times, float) * 2, size * len(times))


def random():
    return np.random.default_rng(1)


def test_a_stratum_counts_with_all_its_units():
    span = stratified([measured(100, [1.0, 3.0]), measured(10, [10.0])], random=random())
    assert span.value == 100 * 2.0 + 10 * 10.0
    assert span.low < span.value < span.high
    assert stratified([measured(100, [1.0, 3.0])], random=random(), wall=True).value == 400.0


def test_what_was_measured_whole_is_not_in_doubt():
    span = stratified([measured(3, [1.0, 2.0, 6.0])], random=random())
    assert (span.low, span.value, span.high) == (9.0, 9.0, 9.0)


def test_a_stratum_without_a_measurement_counts_by_its_bytes():
    none = Measured(5, 10_000, np.array([]), np.array([]), 0)
    assert stratified([measured(10, [1.0, 1.0]), none], random=random()).value == pytest.approx(10 + 10_000 * 2 / 2000)


def test_the_interval_holds_the_truth_nine_times_in_ten():
    rng = np.random.default_rng(5)
    population = rng.lognormal(0, 0.4, 2000)
    held = 0
    for _ in range(200):
        times = rng.choice(population, 20, replace=False)
        span = stratified([Measured(2000, 2000, times, times, 20)], random=rng)
        held += span.low <= population.sum() <= span.high
    assert 165 <= held <= 195


def test_extract_is_shared_out_by_bytes_and_every_job_has_its_start():
    cost = StepCost(1.0, 0.0, 1.0, 100.0, 1)
    some = job_cpu("extract", shards=[(10, 300), (10, 100)], cost=cost, engine=PLAIN, extract_s=40.0, copied_share=0.0)
    assert some == [31.0, 11.0]


def test_steps_of_the_data_set_are_one_job_and_engines_put_shards_together():
    shards = [(100, 1)] * 10
    at = {"extract_s": 0.0, "copied_share": 0.0, "shards": shards, "cost": COST}
    assert job_cpu("baseline", engine=PLAIN, **at) == [11.0]
    assert job_cpu("score", engine=PLAIN, **at) == [2.0] * 10
    assert job_cpu("score", engine=ENGINES["argo"], **at) == [11.0]
    assert job_cpu("place", engine=ENGINES["argo"], **at) == [6.0, 6.0]


def test_copies_cost_time_by_their_bytes():
    cost = with_copies(COST, 1e-3)
    found = job_cpu("place", shards=[(100, 5000)], cost=cost, engine=PLAIN, extract_s=0.0, copied_share=0.5)
    assert found == [pytest.approx(2.0 + 2.5)]


def test_workers_take_the_next_job_when_they_are_free():
    assert makespan([4.0, 1.0, 1.0, 1.0, 1.0], 2) == 4.0
    assert makespan([1.0, 1.0, 1.0], 1) == 3.0
    assert makespan([1.0], 100) == 1.0
    assert makespan([1.0] * 10, 10, jobs_per_s=2.0) == 5.5


def test_wall_time_is_stage_after_stage_with_the_overhead_of_the_engine():
    engine = Engine("some", run_s=10, job_s=2, stage_s=1, jobs_per_s=math.inf, source="made up")
    jobs = {"scan": [5.0], "extract": [8.0] * 4}
    assert wall_s(jobs, engine=engine, workers=2) == 10 + (7 + 1) + (20 + 1)


def test_memory_holds_the_coming_files_and_grows_with_the_largest():
    at = {"read_ahead_mb": 256, "largest_mb": (20.0, 20.0)}
    full = [(100, 1_000_000_000), (1, 1)]
    assert peak_mb("extract", cost=COST, shards=full, **at) == 356.0
    assert peak_mb("extract", cost=COST, shards=[(3, 60_000_000)], **at) == 140.0
    assert peak_mb("extract", cost=COST, shards=[(3, 60_000_000)], read_ahead_mb=256, largest_mb=(30.0, 20.0)) == 170.0
    assert peak_mb("policy", cost=COST, shards=[(100_050, 1)], **at) == pytest.approx(330.0)
    assert peak_mb("score", cost=COST, shards=full, **at) == 100.0


def test_strata_hold_units_of_like_size_and_every_unit_once():
    size = np.array([10, 11, 1000, 1100, 1200, 5_000_000] * 10)
    found = strata(size, sample=24)
    assert sorted(np.concatenate([s.units for s in found]).tolist()) == list(range(60))
    for stratum in found:
        assert size[stratum.units].max() < 4 * size[stratum.units].min()
        assert 2 <= stratum.take <= len(stratum.units)
    # The large ones take nearly all of the time.
    assert found[-1].take == 10


def test_very_different_sizes_make_few_strata():
    assert len(strata(2 ** np.arange(40), sample=10)) <= 5


def test_a_sample_is_spread_over_what_it_is_ordered_by():
    keys = [(channel, plate, str(n)) for n in range(25) for channel in "ab" for plate in "xy"]
    for seed in range(20):
        chosen = spread(keys, 8, random=np.random.default_rng(seed))
        assert len(set(chosen.tolist())) == 8
        met = Counter(keys[i][:2] for i in chosen)
        assert len(met) == 4
        assert max(met.values()) <= 3
    assert sorted(spread(keys, 100, random=random()).tolist()) == list(range(100))


def test_every_object_is_as_likely_and_stacks_as_long_as_a_step_are_met_at_all_heights():
    keys = [(f"{n:03}",) for n in range(100)]
    drawn = [spread(keys, 10, random=np.random.default_rng(seed)).tolist() for seed in range(400)]
    assert all(len({n % 10 for n in chosen}) > 2 for chosen in drawn)
    times = np.bincount(np.concatenate(drawn), minlength=100)
    # 40 expected: within four standard deviations of a binomial.
    assert times.min() > 16
    assert times.max() < 64
    uneven = [spread(keys[:7], 4, random=np.random.default_rng(seed)).tolist() for seed in range(400)]
    assert all(len(set(chosen)) == 4 for chosen in uneven)
    assert np.bincount(np.concatenate(uneven)) / 400 == pytest.approx(np.full(7, 4 / 7), abs=0.1)


def test_stopping_early_leaves_something_of_every_stratum():
    assert round_robin([[1, 2, 3], [4], [5, 6]])[:3] == [1, 4, 5]

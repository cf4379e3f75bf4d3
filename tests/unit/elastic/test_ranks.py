import math
import random
from bisect import bisect_left
from collections import Counter

import numpy as np
import pytest

from tierflow.catalogue.elastic.ranks import between, interpolated, order_statistics, pattern_of, value_of


class Values:
    """Answers as a server would, and counts how often it is asked."""

    def __init__(self, values):
        self.values_, self.asked = sorted(values), 0

    def in_ranges(self, ranges):
        self.asked += 1
        return [bisect_left(self.values_, high) - bisect_left(self.values_, low) for low, high in ranges]

    def values(self, ranges):
        self.asked += 1
        return [
            sorted(Counter(self.values_[bisect_left(self.values_, low) : bisect_left(self.values_, high)]).items())
            for low, high in ranges
        ]


rng = random.Random(5)
SETS = {
    "one": [3.5],
    "equal": [2.0] * 5000,
    "normal": [rng.gauss(0, 1) for _ in range(20_000)],
    "wide": [rng.choice([-1, 1]) * 10 ** rng.uniform(-300, 300) for _ in range(8000)],
    "ties": [rng.choice([0.0, 0.1, 1.0]) for _ in range(9000)],
    "neighbours": [5.0] * 3000 + [math.nextafter(5.0, 6)] * 3000,
    "limits": [-1.7976931348623157e308, 0.0, 5e-324, 1.7976931348623157e308] * 400,
    "far apart": [0.0] * 2000 + [1e300] + [1e300 - 1e285] * 1500,
}


@pytest.mark.parametrize("name", SETS)
def test_ranks_are_exact_and_soon_found(name):
    values = Values(SETS[name])
    count = len(values.values_)
    ranks = sorted({0, count // 4, count // 2, min(count // 2 + 1, count - 1), count - 1})
    found = order_statistics(values, ranks=ranks, count=count, minimum=values.values_[0], maximum=values.values_[-1])
    assert found == {rank: values.values_[rank] for rank in ranks}
    assert values.asked <= 8


@pytest.mark.parametrize("value", [0.0, 5e-324, -5e-324, 1.0, -1.0, 1e300, -1e300, 1.7976931348623157e308])
def test_patterns_are_in_the_order_of_values(value):
    assert value_of(pattern_of(value)) == value
    assert value_of(pattern_of(value) + 1) == math.nextafter(value, math.inf)
    assert pattern_of(-value) == -pattern_of(value)


def test_zero_has_one_pattern():
    assert pattern_of(-0.0) == pattern_of(0.0) == 0


@pytest.mark.parametrize("percents", [(0.0, 25.0, 50.0, 99.9, 100.0)])
def test_interpolation_is_linear(percents):
    values = sorted(SETS["normal"][:101])
    places = interpolated(percents, len(values))
    found = [between(values[low], values[high], share) for low, high, share in places.values()]
    assert found == pytest.approx(np.percentile(values, percents), rel=1e-12)

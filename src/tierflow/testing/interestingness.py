"""What every interestingness function must do. Subclass in a test module and say which one.

```python
class TestMine(InterestingnessContract):
    function = Mine
    parameters = {"limit": 3}
```
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tierflow.interestingness.base import PlaneTable
from tierflow.scoring.history import SUBSTREAM_COLUMNS, looks_back
from tierflow.scoring.planes import subset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierflow.interestingness.base import InterestingnessFunction

_PLANES = 40


def make_planes(features: list[str], *, planes: int = _PLANES, seed: int = 0) -> PlaneTable:
    """Return planes with random features of many magnitudes, some missing, some in groups too small for a baseline."""
    random = np.random.default_rng(seed)
    values = {name: random.normal(size=planes) * 10.0 ** random.integers(-6, 7, planes) for name in features}
    for array in values.values():
        array[random.random(planes) < 0.1] = np.nan
    small = random.random(planes) < 0.3
    median = {name: np.where(small, np.nan, random.normal(size=planes)) for name in features}
    mad = {name: np.where(small, np.nan, np.abs(random.normal(size=planes))) for name in features}
    object_id = np.array([f"{n:032x}" for n in range(planes)], dtype=object)
    return PlaneTable(features=values, median=median, mad=mad, object_id=object_id)


def make_planes_for(function: InterestingnessFunction, *, planes: int = _PLANES, seed: int = 0) -> PlaneTable:
    """Return planes as `make_planes` does, as a stream, with what a function that looks back finds in it."""
    made = make_planes(function.needs(), planes=planes, seed=seed)
    if not looks_back(function):
        return made
    wanted = function.look_back()
    series = {name: made.features[name] for name in wanted.features}
    known = np.all([np.isfinite(values) for values in series.values()], axis=0)
    found = function.trace({name: values[known] for name, values in series.items()}, 0)
    history = {name: np.full(planes, np.nan) for name in wanted.columns}
    for name, values in found.items():
        history[name][known] = values
    return replace(made, history=history)


class InterestingnessContract:
    """Tests of one interestingness function.

    Attributes:
        function: The class under test.
        parameters: Parameters to build it with.
    """

    function: ClassVar[Any]
    parameters: ClassVar[Mapping[str, Any]] = {}

    def build(self) -> InterestingnessFunction:
        """Return the function with its parameters."""
        made: InterestingnessFunction = self.function(self.function.Parameters.model_validate(dict(self.parameters)))
        return made

    def test_parameters_forbid_unknown_keys(self) -> None:
        """A misspelt key must not be ignored."""
        assert self.function.Parameters.model_config.get("extra") == "forbid"

    def test_needs_names_each_feature_once(self) -> None:
        """The features it reads are text, each once."""
        needs = self.build().needs()
        assert all(map(str.strip, needs))
        assert len(needs) == len(set(needs))

    def test_values_are_in_range_or_missing(self) -> None:
        """Every value is in [0, 1] or NaN, whatever the features are."""
        function = self.build()
        for seed in range(5):
            planes = make_planes_for(function, seed=seed)
            values = function.score(planes)
            assert values.shape == (len(planes),)
            assert values.dtype == np.float64
            known = values[~np.isnan(values)]
            assert ((known >= 0) & (known <= 1)).all()

    def test_no_value_without_its_features(self) -> None:
        """A plane whose features are all missing gets no value."""
        function = self.build()
        planes = make_planes_for(function)
        for values in planes.features.values():
            values[:] = np.nan
        if function.needs():
            assert np.isnan(function.score(planes)).all()

    def test_planes_do_not_influence_each_other(self) -> None:
        """A plane has the same value in whatever shard and order it comes."""
        function = self.build()
        planes = make_planes_for(function)
        rows = np.random.default_rng(1).permutation(len(planes))[: _PLANES // 2]
        np.testing.assert_array_equal(function.score(subset(planes, rows)), function.score(planes)[rows])

    def test_planes_are_left_alone(self) -> None:
        """Scoring changes nothing in the table."""
        function = self.build()
        planes, same = make_planes_for(function), make_planes_for(function)
        function.score(planes)
        for kind in ("features", "median", "mad", "history"):
            for name, values in getattr(planes, kind).items():
                np.testing.assert_array_equal(values, getattr(same, kind)[name])

    def test_no_planes_are_fine(self) -> None:
        """A shard without any measured plane gives an empty array."""
        function = self.build()
        assert function.score(make_planes_for(function, planes=0)).shape == (0,)

    def test_explains_each_plane_in_one_line(self) -> None:
        """Every plane that has a value gets one sentence."""
        function = self.build()
        planes = make_planes_for(function)
        values = function.score(planes)
        rows = np.flatnonzero(~np.isnan(values))[::-1]
        texts = function.explain(planes, rows, values[rows])
        assert len(texts) == len(rows)
        assert all(map(str.strip, texts))
        assert not any("\n" in text for text in texts)

    def test_looks_back_at_features_it_needs(self) -> None:
        """Of a function that looks back: what it asks for can be had, and is the same each time."""
        function = self.build()
        if looks_back(function):
            wanted = function.look_back()
            assert wanted == self.build().look_back()  # type: ignore[attr-defined]
            assert set(wanted.features) <= set(function.needs())
            assert set(wanted.by) <= set(SUBSTREAM_COLUMNS)
            assert wanted.features
            assert wanted.columns
            assert wanted.window >= 1

    def test_finds_the_same_wherever_the_stream_is_cut(self) -> None:
        """Looking back from a plane needs no more than the window before it, and gives the same bit by bit."""
        function = self.build()
        if not looks_back(function):
            return
        wanted = function.look_back()
        random = np.random.default_rng(2)
        length = 2 * min(wanted.window, 200) + 50
        # Few different values, so that there are ties.
        series = {name: random.integers(0, 30, length) / 7.0 for name in wanted.features}
        whole = function.trace(series, 0)
        assert set(whole) == set(wanted.columns)
        for cut in (0, 1, length // 2, length - 1):
            start = max(0, cut - wanted.window)
            part = function.trace({name: values[start:] for name, values in series.items()}, cut - start)
            for name in wanted.columns:
                np.testing.assert_array_equal(part[name], np.asarray(whole[name])[cut:])

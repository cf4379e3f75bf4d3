"""What every policy must do. Subclass in a test module and say which one.

```python
class TestMine(PolicyContract):
    policy = Mine
    parameters = {"share": 0.1}
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tierflow.policies.ranking import assign

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tierflow.policies.base import Cut, Policy


def make_units(units: int, *, seed: int = 0, levels: int = 0) -> dict[str, NDArray[Any]]:
    """Return units with values in [0, 1] and sizes; `levels` > 0 rounds the values so that many are equal."""
    random = np.random.default_rng(seed)
    values = random.random(units)
    if levels:
        values = np.round(values * levels) / levels
    names = np.array([f"unit{n:05d}" for n in random.permutation(units)], dtype=object)
    return {"unit_id": names, "interestingness": values, "size": random.integers(0, 10**9, units)}


class PolicyContract:
    """Tests of one policy.

    Attributes:
        policy: The class under test.
        parameters: Parameters to build it with.
        tiers: Tier names, best first.
    """

    policy: ClassVar[Any]
    parameters: ClassVar[Mapping[str, Any]] = {}
    tiers: ClassVar[Sequence[str]] = ("A", "B", "C", "D")

    def build(self) -> Policy:
        """Return the policy with its parameters."""
        made: Policy = self.policy(self.policy.Parameters.model_validate(dict(self.parameters)), list(self.tiers))
        return made

    def resolve(self, units: Mapping[str, NDArray[Any]]) -> list[Cut]:
        """Resolve the policy for units of which no flag has forced any."""
        return self.build().resolve(**units, taken={})

    def test_parameters_forbid_unknown_keys(self) -> None:
        """A misspelt key must not be ignored."""
        assert self.policy.Parameters.model_config.get("extra") == "forbid"

    def test_cuts_cover_everything(self) -> None:
        """The cuts name known tiers, fall from the best on, and end at 0, so that 0 and 1 have a tier."""
        for units in (make_units(200), make_units(200, levels=3), make_units(1), make_units(0)):
            cuts = self.resolve(units)
            minima = [cut.minimum for cut in cuts]
            assert {cut.tier for cut in cuts} <= set(self.tiers)
            assert minima == sorted(minima, reverse=True)
            assert (cuts[-1].minimum, cuts[-1].last_unit) == (0.0, None)
            assert all(0 <= minimum <= 1 for minimum in minima)

    def test_order_of_units_does_not_matter(self) -> None:
        """The same units in another order give the same cuts."""
        units = make_units(200, levels=7)
        shuffled = np.random.default_rng(1).permutation(200)
        assert self.resolve({name: values[shuffled] for name, values in units.items()}) == self.resolve(units)

    def test_more_interesting_is_never_worse(self) -> None:
        """A unit never lies in a worse range than a less interesting one."""
        units = make_units(300, levels=20)
        cuts = self.resolve(units)
        where = assign(cuts, unit_id=units["unit_id"], interestingness=units["interestingness"])
        order = np.argsort(-units["interestingness"], kind="stable")
        levels = units["interestingness"][order]
        for level in np.unique(levels)[:-1]:
            assert where[order][levels > level].max() <= where[order][levels == level].min()

    def test_units_are_left_alone(self) -> None:
        """Resolving changes nothing in the arrays."""
        units, same = make_units(50), make_units(50)
        self.resolve(units)
        for name, values in units.items():
            np.testing.assert_array_equal(values, same[name])

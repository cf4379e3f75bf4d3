"""The built-in policies keep the contract."""

from typing import ClassVar

from tierflow import plugins
from tierflow.policies.budget import Budget
from tierflow.policies.interval import Interval
from tierflow.policies.quantile import Quantile
from tierflow.policies.top_k import TopK
from tierflow.testing.policies import PolicyContract


class TestInterval(PolicyContract):
    policy = Interval


class TestIntervalInOwnOrder(PolicyContract):
    policy = Interval
    parameters: ClassVar = {
        "intervals": [
            {"tier": "D", "min": 0, "max": 0.1},
            {"tier": "A", "min": 0.9, "max": 1},
            {"tier": "D", "min": 0.4, "max": 0.9},
            {"tier": "B", "min": 0.1, "max": 0.4},
        ]
    }


class TestQuantile(PolicyContract):
    policy = Quantile
    parameters: ClassVar = {"shares": {"A": 0.1, "B": 0.25, "D": 0.65}}


class TestTopK(PolicyContract):
    policy = TopK
    parameters: ClassVar = {"k": {"A": 10, "B": 0, "C": 100}}


class TestBudget(PolicyContract):
    policy = Budget
    parameters: ClassVar = {"limit_gb": {"A": 5, "B": 0, "C": 40.5}}


def test_every_built_in_policy_is_tested():
    tested = {kind.policy for kind in PolicyContract.__subclasses__()}
    assert {plugins.load("policies", name) for name in plugins.available("policies")} <= tested

"""The built-in interestingness functions keep the contract."""

from typing import ClassVar

from tierflow import plugins
from tierflow.interestingness.constant import Constant
from tierflow.interestingness.expression import Expression
from tierflow.interestingness.focus import Focus
from tierflow.interestingness.kendall_tau import KendallTau
from tierflow.interestingness.logistic import Haste, Logistic
from tierflow.interestingness.random import Random
from tierflow.interestingness.rank_tier import RankTier
from tierflow.testing.interestingness import InterestingnessContract


class TestConstant(InterestingnessContract):
    function = Constant
    parameters: ClassVar = {"value": 0.3}


class TestRandom(InterestingnessContract):
    function = Random


class TestLogistic(InterestingnessContract):
    function = Logistic
    parameters: ClassVar = {"feature": "snr", "k": 0.5, "x0": 10}


class TestHaste(InterestingnessContract):
    function = Haste


class TestFocus(InterestingnessContract):
    function = Focus


class TestExpression(InterestingnessContract):
    function = Expression
    parameters: ClassVar = {"expression": "clip(where(snr > 5, logistic(sharpness, 40, .1), 0) + .1 * z('snr'), 0, 1)"}


class TestRankTier(InterestingnessContract):
    function = RankTier
    parameters: ClassVar = {"feature": "snr", "warm_up": 5}


class TestRankTierInASmallWindow(InterestingnessContract):
    function = RankTier
    parameters: ClassVar = {"tiers": 7, "warm_up": 3, "window": 11, "by": [], "high_is_interesting": False}


class TestKendallTau(InterestingnessContract):
    function = KendallTau


class TestKendallTauOfOneFeature(InterestingnessContract):
    function = KendallTau
    parameters: ClassVar = {"features": ["snr"], "images": 5, "by": ["plate", "z"]}


def test_every_built_in_function_is_tested():
    tested = {kind.function for kind in InterestingnessContract.__subclasses__()}
    assert {plugins.load("interestingness", name) for name in plugins.available("interestingness")} <= tested

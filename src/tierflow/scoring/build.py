"""Make the interestingness function and the policy that a configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from tierflow import plugins
from tierflow.config_io import explain_parameters
from tierflow.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from tierflow.config import Config
    from tierflow.interestingness.base import InterestingnessFunction
    from tierflow.policies.base import Policy


def make_function(config: Config) -> InterestingnessFunction:
    """Return the interestingness function of `score`, with its parameters.

    Raises:
        ConfigError: if there is no such function, or its parameters are wrong.
    """
    part = plugins.load("interestingness", config.score.function)
    return cast("InterestingnessFunction", part(make_parameters(config)))


def make_parameters(config: Config) -> BaseModel:
    """Return the parameters of the interestingness function, defaults filled in.

    Raises:
        ConfigError: as `make_function`.
    """
    part = plugins.load("interestingness", config.score.function)
    return _validated(part.Parameters, config.score.parameters, where="score.parameters")


def make_policy(config: Config) -> Policy:
    """Return the policy of `policy`, with its parameters, for the tiers of the configuration.

    Raises:
        ConfigError: if there is no such policy, or its parameters are wrong or don't fit the tiers.
    """
    part = plugins.load("policies", config.policy.kind)
    return cast("Policy", part(make_policy_parameters(config), list(config.tiers)))


def make_policy_parameters(config: Config) -> BaseModel:
    """Return the parameters of the policy, defaults filled in.

    Raises:
        ConfigError: as `make_policy`.
    """
    part = plugins.load("policies", config.policy.kind)
    return _validated(part.Parameters, config.policy.parameters, where="policy.parameters")


def _validated(model: type[BaseModel], values: Mapping[str, Any], *, where: str) -> BaseModel:
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(explain_parameters(error, where=where, model=model)) from error

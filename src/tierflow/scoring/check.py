"""Check the parts of a configuration that only the plug-ins can judge, before any image is read."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from tierflow import plugins
from tierflow.catalogue.schema import check_feature_names
from tierflow.config import QUARANTINE
from tierflow.errors import ConfigError, ObjectError
from tierflow.features.base import FeatureSettings
from tierflow.metadata_table import require_readable
from tierflow.scoring.build import make_function, make_policy
from tierflow.scoring.findings import DUPLICATE, INCOMPLETE_UNIT
from tierflow.scoring.planes import require_features
from tierflow.scoring.problems import UNSCORED

if TYPE_CHECKING:
    from tierflow.config import Config


def check(config: Config) -> None:
    """Build the function and the policy, and see that every name means something.

    Raises:
        ConfigError: for an unknown extractor, function, policy, driver, tier, feature or flag, and for parameters that
            are wrong or don't fit the tiers; for a table of metadata that doesn't fit its declaration; the message
            names the key, the value and the remedy.
        InputMissingError: if the table of metadata isn't there.
    """
    features = known_features(config)
    check_feature_names(features)
    function = make_function(config)
    where = f"score.parameters ({config.score.function})" if config.score.parameters else "score.function"
    require_features(function.needs(), features, where=where)
    for position, rule in enumerate(config.score.flags):
        require_features([rule.feature], features, where=f"score.flags.{position}.feature ({rule.flag})")
    make_policy(config)
    _check_drivers(config)
    _check_flag_tiers(config)
    require_readable(config)


def known_features(config: Config) -> list[str]:
    """Return the names of all features that the configured extractors yield, in column order.

    Raises:
        ConfigError: if an extractor isn't installed.
    """
    settings = FeatureSettings(
        scales_px=config.extract.scales_px,
        pixel_size_um=config.extract.pixel_size_um,
        bit_depth=config.extract.bit_depth,
    )
    parts = [plugins.load("extractors", name) for name in config.extract.extractors]
    return list(dict.fromkeys(name for part in parts for name in part(settings).units()))


def failure_flags() -> set[str]:
    """Return the flags of objects that couldn't be read, measured or scored."""
    kinds: list[type[ObjectError]] = [ObjectError, *ObjectError.__subclasses__()]
    return {kind.flag for kind in kinds} | {UNSCORED}


def _check_drivers(config: Config) -> None:
    for name in (*config.tiers, QUARANTINE):
        driver = config.tier(name).driver
        if driver not in plugins.available("tiers"):
            key = "quarantine.driver" if name == QUARANTINE else f"tiers.{name}.driver"
            known = plugins.available("tiers")
            near = get_close_matches(driver, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{key}: no driver {driver!r}; installed are {', '.join(known)}{hint}")


def _check_flag_tiers(config: Config) -> None:
    failures = failure_flags()
    raised = {rule.flag for rule in config.score.flags} | {DUPLICATE, INCOMPLETE_UNIT}
    for flag, tier in config.policy.flag_tiers.items():
        key = f"policy.flag_tiers.{flag}"
        if flag in failures - raised:
            if tier != QUARANTINE:
                raise ConfigError(
                    f"{key}: {tier}: objects with this flag failed, and failed objects always go to {QUARANTINE}; "
                    "remove the line"
                )
        elif flag not in raised:
            near = get_close_matches(flag, raised, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"{key}: nothing raises the flag {flag!r}; score.flags has {', '.join(sorted(raised))}{hint}"
            )

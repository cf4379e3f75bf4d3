"""What made a shard's records, from the configuration and the stamps of the shard's tables."""

from __future__ import annotations

import json
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING

from tierflow import __version__, plugins
from tierflow.catalogue.records import Provenance
from tierflow.catalogue.schema import RECORD_SECTIONS
from tierflow.scoring.build import make_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierflow.config import Config

SET_DIGITS = 8
UNNAMED_RUN = "unnamed"


def provenance(
    config: Config, *, dataset: str, times: Mapping[str, str | None] | None = None, digest: str | None = None
) -> Provenance:
    """Return what made the records of a shard.

    Args:
        config: The run's configuration.
        dataset: Name of the data set, as the scan stamped it.
        times: `measured_at` and `scored_at`, as the steps stamped their tables.
        digest: Digest of the configuration; without one, that of the sections that decide what a record says.

    Raises:
        ConfigError: if the interestingness function isn't installed or its parameters are wrong.
    """
    return Provenance(
        dataset=dataset,
        run=config.catalogue.run or UNNAMED_RUN,
        config_digest=digest or config.digest(RECORD_SECTIONS),
        function=config.score.function,
        parameters=json.dumps(make_parameters(config).model_dump(mode="json"), sort_keys=True),
        parameter_set=set_pointer(config),
        extractors=", ".join(f"{name} {_version('extractors', name)}" for name in config.extract.extractors),
        version=__version__,
        **(times or {}),
    )


def set_digest(config: Config) -> str:
    """Return the digest of everything under `score`, which tells parameter sets apart."""
    return config.digest(["score"])[:SET_DIGITS]


def set_pointer(config: Config) -> str:
    """Return NAME@DIGEST of the saved set that `score` equals, or @DIGEST where it was changed or never saved."""
    digest = set_digest(config)
    name, _, saved = (config.catalogue.parameter_set or "").rpartition("@")
    return f"{name if saved == digest else ''}@{digest}"


def _version(kind: plugins.Kind, name: str) -> str:
    point = plugins.available(kind).get(name)
    package = point.dist.name if point is not None and point.dist is not None else "tierflow"
    return version_of(package)

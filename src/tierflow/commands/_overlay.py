"""What the forms of engines hand to `tierflow job`: configuration as text, and numbers of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from tierflow.commands._options import config_of
from tierflow.config_io import merge, validate
from tierflow.errors import ConfigError
from tierflow.io.remote import input_root, input_text
from tierflow.render.snakemake import CONFIG_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def laid_over(tree: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return a configuration with keys of YAML text laid over it.

    Args:
        tree: Keys and values.
        text: YAML; empty for no change.

    Raises:
        ConfigError: if the text isn't YAML, not a mapping, or has wrong keys.
    """
    try:
        changes = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"the configuration text is not readable as YAML: {error}") from error
    if changes is None:
        return dict(tree)
    if not isinstance(changes, dict):
        raise ConfigError(
            f"the configuration text is {text[:100]!r}: expected keys, such as `score: {{function: haste}}`"
        )
    validate(changes, where="configuration text")
    merged = merge(tree, changes)
    validate(merged, where="configuration text, laid over the rest")
    return merged


def kept_config(output: Path, given: str) -> dict[str, Any]:
    """Return the configuration of the run that an output folder holds; empty if it holds none.

    Raises:
        ConfigError: if it is a run of another input: its objects would count as gone.
    """
    if not (output / CONFIG_FILE).exists():
        return {}
    tree = config_of(output)
    absolute = input_text(input_root(given))
    if tree.get("input") != absolute:
        raise ConfigError(f"{output} holds a run of {tree.get('input')}, not of {absolute}: give another --output")
    return tree


def check_jobs(shards_per_job: Sequence[int], most_jobs: int) -> None:
    """Check what the form says about jobs.

    Raises:
        ConfigError: if a number isn't at least 1.
    """
    if min(*shards_per_job, most_jobs) < 1:
        raise ConfigError(
            f"shards per job {list(shards_per_job)} and most jobs {most_jobs}: every number must be at least 1"
        )

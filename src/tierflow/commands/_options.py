"""Options that several commands share, and how they become a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from cyclopts import Parameter

from tierflow import datasets, named_sets
from tierflow.config_io import merge, read_tree, validate
from tierflow.errors import ConfigError
from tierflow.render.snakemake import configuration_of

ConfigFile = Annotated[
    Path | None, Parameter(name=["--config", "-c"], help="YAML file; only the keys that differ from the defaults.")
]
Settings = Annotated[
    list[str] | None,
    Parameter(
        name="--set",
        negative=(),
        help="Change one key, such as `--set score.function=haste`; the value is YAML. May be given several times.",
    ),
]
Cores = Annotated[int | None, Parameter(name=["--cores", "-j"], help="Processor cores to use; all without it.")]
Profiles = Annotated[
    list[str] | None,
    Parameter(
        name="--profile",
        negative=(),
        help="Where jobs run: slurm, cluster-generic, kubernetes, or a folder with a profile.yaml; each one given is "
        "laid over those before it. This machine without it.",
    ),
]
OutputFolder = Annotated[
    str | None, Parameter(name=["--output", "-o"], help="Folder for the results; `<INPUT>-tierflow` without it.")
]
DryRun = Annotated[
    bool, Parameter(name=["--dry-run", "-n"], negative=(), help="Say what would be done, and do nothing.")
]
Params = Annotated[
    str | None,
    Parameter(help="Saved parameter set, NAME or NAME@DIGEST, in place of `score`, `baseline` and `policy`."),
]
Dataset = Annotated[
    str | None, Parameter(help="Registered data set, NAME or NAME@VERSION: gives `dataset` and `metadata`.")
]
Results = Annotated[Path, Parameter(help="Output folder of a run.")]


def configured(
    base: dict[str, Any],
    *,
    config: Path | None,
    settings: list[str] | None,
    params: str | None = None,
    dataset: str | None = None,
) -> dict[str, Any]:
    """Lay a configuration file, a parameter set, a data set and `--set` options over `base`, and check the result.

    Raises:
        ConfigError: naming every wrong key, its value and the remedy.
        InputMissingError: if the file doesn't exist.
    """
    tree = dict(base)
    if config is not None:
        # Judged alone first, so that a message names the file and not the sum.
        validate(read_tree(config), where=str(config))
        tree = merge(tree, read_tree(config))
    if params is not None:
        tree = named_sets.laid_over(tree, named_sets.find(params))
        validate(tree, where=f"--params {params}")
    if dataset is not None:
        tree = datasets.laid_over(tree, datasets.find(dataset))
    if settings:
        # With every default spelt out, `tiers.A.driver=copy` changes one key and keeps the other tiers.
        tree = validate(tree).model_dump(mode="json")
    for setting in settings or []:
        tree = merge(tree, parse_setting(setting), whole=())
    validate(tree, where="--set" if settings else str(config or "configuration"))
    return tree


def parse_setting(setting: str) -> dict[str, Any]:
    """Read `KEY=VALUE` as the mapping that it changes.

    Raises:
        ConfigError: if it isn't of that form, or the value isn't YAML.
    """
    key, sign, text = setting.partition("=")
    if not sign or not key.strip():
        raise ConfigError(f"--set {setting!r}: expected KEY=VALUE, such as --set score.function=haste")
    try:
        value: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {setting!r}: the value is not readable as YAML: {error}") from error
    for part in reversed(key.strip().split(".")):
        value = {part: value}
    tree: dict[str, Any] = value
    return tree


def config_of(results: Path) -> dict[str, Any]:
    """Return the configuration of an existing run.

    Raises:
        InputMissingError: if the folder doesn't hold a run.
    """
    return read_tree(configuration_of(results))

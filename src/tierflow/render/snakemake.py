"""What the Snakefile needs to know: the resolved configuration, the shards, and what makes a step's result stale."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tierflow.config_io import merge, validate, write
from tierflow.errors import ConfigError
from tierflow.io.walk import fingerprint
from tierflow.steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierflow.config import Config

CONFIG_FILE = "config.yaml"


def snakefile() -> Path:
    """Return the Snakefile: the one in the wheel, or the checkout's when tierflow is installed in place."""
    package = Path(str(files("tierflow")))
    carried = package / "workflow" / "Snakefile"
    return carried if carried.exists() else package.parents[1] / "Snakefile"


def default_output(dataset: str) -> Path:
    """Return where results go when the user names no place: `<dataset>-tierflow` in the current folder."""
    return Path.cwd() / f"{dataset}-tierflow"


@dataclass(frozen=True)
class Workflow:
    """A resolved run, as the rules see it.

    Attributes:
        config: The validated configuration with an absolute input.
        output: Absolute output folder.
    """

    config: Config
    output: Path

    def settings(self, step: str) -> str:
        """Return a digest of everything but files that a step's result depends on; a change makes Snakemake redo it."""
        row = STEPS[step]
        return hashlib.sha256(f"{row.revision} {self.config.digest(row.settings)}".encode()).hexdigest()[:12]

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the input's listing: new, changed or removed files make Snakemake scan again."""
        return fingerprint(Path(self.config.input or ""), self.config, output=self.output)

    def tables(self, step: str, summary: str | Path) -> list[str]:
        """Return the tables that a shard step writes, one per shard, relative to the output.

        Args:
            step: Name of the step, which is the folder of its tables.
            summary: The scan's summary, which lists the shards.
        """
        folder = "catalogue" if step == "index" else step
        shards = json.loads((self.output / summary).read_text(encoding="utf-8"))["shards"]
        return [f"{folder}/{shard['name']}.parquet" for shard in shards]

    def all_tables(self, summary: str | Path) -> list[str]:
        """Return the tables of every shard step and of every shard, relative to the output."""
        return [table for step in STEPS.values() if step.scope == "shard" for table in self.tables(step.name, summary)]


def resolve(tree: Mapping[str, Any]) -> Workflow:
    """Turn Snakemake's `config` into a resolved run.

    Args:
        tree: Keys of the configuration, and `output` (folder of the results).

    Raises:
        ConfigError: when a key is wrong or `input` is missing.
    """
    tree = dict(tree)
    output = tree.pop("output", None)
    config = validate(tree)
    if not config.input:
        raise ConfigError("`input` is missing: give the folder of images, such as --config input=my_plate")
    source = Path(config.input).expanduser().absolute()
    place = Path(str(output)).expanduser().absolute() if output else default_output(source.name)
    return Workflow(config=validate(merge(tree, {"input": str(source)})), output=place)


def prepare(tree: Mapping[str, Any], *, dry_run: bool) -> Workflow:
    """Resolve a run and, unless it is a dry run, write the configuration that its steps will read.

    Raises:
        ConfigError: when a key is wrong or `input` is missing.
    """
    workflow = resolve(tree)
    if not dry_run:
        write(workflow.output / CONFIG_FILE, workflow.config)
    return workflow

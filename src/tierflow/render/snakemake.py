"""What the Snakefile needs to know: the resolved configuration, the shards, and what makes a step's result stale."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import tempfile
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tierflow.config_io import merge, read_tree, validate
from tierflow.config_io import write as write_config
from tierflow.errors import ConfigError, InputMissingError
from tierflow.io.atomic import write_text
from tierflow.io.remote import input_root, input_text
from tierflow.io.walk import fingerprint
from tierflow.steps import STEPS
from tierflow.steps.places import SETTINGS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierflow.config import Config

CONFIG_FILE = "config.yaml"
URL_VARIABLE = "TIERFLOW_ES_URL"


def snakefile() -> Path:
    """Return the Snakefile: the one in the wheel, or the checkout's when tierflow is installed in place."""
    package = Path(str(files("tierflow")))
    carried = package / "workflow" / "Snakefile"
    return carried if carried.exists() else package.parents[1] / "Snakefile"


def default_output(dataset: str) -> Path:
    """Return where results go when the user names no place: `<dataset>-tierflow` in the current folder."""
    return Path.cwd() / f"{dataset}-tierflow"


Mode = Literal["write", "plan", "read"]


@dataclass(frozen=True)
class Workflow:
    """A resolved run, as the rules see it.

    Attributes:
        config: The validated configuration with an absolute input.
        output: Absolute output folder.
        settings_files: File of each step that changes when its results are out of date for another reason than its
            tables; relative to the output. A dry run has some elsewhere, see `prepare`.
    """

    config: Config
    output: Path
    settings_files: Mapping[str, str] = field(
        default_factory=lambda: {step: f"{SETTINGS_FOLDER}/{step}" for step in STEPS}
    )

    def settings(self, step: str) -> str:
        """Return a digest of everything but tables that a step's result depends on.

        For `scan` that includes the listing of the input: new, changed or removed files make it scan again. For `place`
        it includes what people decided, for `index` the table of what is known about the objects, for `baseline` what
        an interestingness function that looks back wants to see of earlier planes.
        """
        row = STEPS[step]
        text = f"{row.revision} {self.config.digest(row.settings)} {self._other_files(step)}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _other_files(self, step: str) -> str:
        """Return a digest of what a step reads besides tables and its own sections of the configuration."""
        if step == "scan":
            return fingerprint(input_root(self.config.input or ""), self.config, output=self.output)
        # Imported late: a Snakefile is parsed in every job on a cluster, and only the first asks this.
        if step == "place":
            from tierflow import corrections

            return corrections.digest(self.output)
        if step == "baseline":
            from tierflow.scoring import history

            return history.digest(self.config)
        if step == "index":
            from tierflow import metadata_table

            return metadata_table.digest(self.config)
        return ""

    def tables(self, step: str, summary: str | Path) -> list[str]:
        """Return the tables that a shard step writes, one per shard, relative to the output.

        Args:
            step: Name of the step, which is the folder of its tables.
            summary: The scan's summary, which lists the shards.
        """
        folder = "catalogue" if step == "index" else step
        ending = "json" if step == "publish" else "parquet"
        shards = json.loads((self.output / summary).read_text(encoding="utf-8"))["shards"]
        return [f"{folder}/{shard['name']}.{ending}" for shard in shards]

    def all_tables(self, summary: str | Path) -> list[str]:
        """Return the results of every shard step and of every shard, relative to the output.

        Receipts of a server are among them only where one is configured.
        """
        steps = [step.name for step in STEPS.values() if step.scope == "shard"]
        if not self.config.catalogue.elasticsearch.url:
            steps.remove("publish")
        return [table for step in steps for table in self.tables(step, summary)]


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
    source = input_root(config.input)
    named = input_text(source)
    place = Path(str(output)).expanduser().absolute() if output else default_output(named.rpartition("/")[2])
    found = {
        "run": config.catalogue.run or _stored_run(place) or run_name(place.name, place=f"{platform.node()}:{place}"),
        "elasticsearch": {"url": config.catalogue.elasticsearch.url or os.environ.get(URL_VARIABLE) or None},
    }
    table = config.metadata.table and str(Path(config.metadata.table).expanduser().absolute())
    changes = {"input": named, "catalogue": found, "metadata": {"table": table}}
    return Workflow(config=validate(merge(tree, changes)), output=place)


def _stored_run(output: Path) -> str | None:
    """Return the name that an earlier run of this output got; it stays when the folder is moved."""
    path = output / CONFIG_FILE
    if not path.exists():
        return None
    stored = read_tree(path).get("catalogue")
    return stored.get("run") if isinstance(stored, dict) else None


def configuration_of(output: Path) -> Path:
    """Return the file with the configuration of a run.

    Raises:
        InputMissingError: if the folder doesn't hold a run.
    """
    path = output / CONFIG_FILE
    if not path.exists():
        raise InputMissingError(
            f"{output} holds no run ({CONFIG_FILE} is missing): give the --output of `tierflow run`"
        )
    return path


def run_name(name: str, *, place: str) -> str:
    """Return a name for a run that another place will hardly get: runs share a server.

    Args:
        name: Last part of the output's path or URL.
        place: What tells this output from all others: machine and path, or URL.
    """
    mark = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:6]
    readable = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-") or "run"
    return f"{readable[:100]}-{mark}"


def prepare(tree: Mapping[str, Any], *, mode: Mode) -> Workflow:
    """Resolve a run, and write the configuration that its steps read and a settings file per step.

    A settings file is written only when its content changes; its time of change then makes Snakemake redo the step.

    Args:
        tree: See `resolve`.
        mode: `write` for a run. `plan` for a dry run: a settings file that would change is written to a folder for
            temporary files and named in its place, so that Snakemake plans as if it had changed. `read` for a job of a
            cluster: the run that sent it has written them.

    Raises:
        ConfigError: when a key is wrong or `input` is missing.
    """
    workflow = resolve(tree)
    if mode == "read":
        return workflow
    if mode == "write":
        write_config(workflow.output / CONFIG_FILE, workflow.config)
    names = dict(workflow.settings_files)
    for step, name in workflow.settings_files.items():
        path, digest = workflow.output / name, workflow.settings(step)
        if path.exists() and path.read_text(encoding="utf-8") == digest:
            continue
        if mode == "plan":
            path = Path(_scratch().name) / step
            names[step] = str(path)
        write_text(path, digest)
    return replace(workflow, settings_files=names)


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that is removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="tierflow-plan-")

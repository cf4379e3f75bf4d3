"""`tierflow run`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from tierflow.commands._options import ConfigFile, Cores, Dataset, DryRun, Params, Settings, configured
from tierflow.errors import ConfigError, InputMissingError
from tierflow.render.snakemake import resolve
from tierflow.runner import execute
from tierflow.summary import show_summary


def run(
    input: Annotated[Path | None, Parameter(help="Folder of images.")] = None,  # noqa: A002
    /,
    *,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Folder for the results; `<INPUT>-tierflow` without it.")
    ] = None,
    config: ConfigFile = None,
    params: Params = None,
    dataset: Dataset = None,
    set: Settings = None,  # noqa: A002
    cores: Cores = None,
    dry_run: DryRun = False,
) -> None:
    """Measure, score, place, catalogue and report every image of a folder.

    A run that was stopped goes on where it was. A second run with other settings redoes only what depends on them.
    """
    tree = configured({}, config=config, settings=set, params=params, dataset=dataset)
    if input is not None:
        tree["input"] = str(input)
    if not tree.get("input"):
        raise ConfigError("no input: give the folder of images, such as `tierflow run my_plate`")
    workflow = resolve(tree | ({"output": str(output)} if output else {}))
    source = Path(workflow.config.input or "")
    if not source.exists():
        raise InputMissingError(f"input folder {source} does not exist: check the path, and that its share is mounted")
    console = Console(stderr=True)
    execute(workflow, cores=cores, target="all", dry_run=dry_run, console=console)
    if not dry_run:
        show_summary(workflow.output, Console())

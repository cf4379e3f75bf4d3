"""`tierflow run`: the main job."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from tierflow.commands._options import (
    ConfigFile,
    Cores,
    Dataset,
    DryRun,
    OutputFolder,
    Params,
    Profiles,
    Settings,
    configured,
)
from tierflow.errors import ConfigError, InputMissingError
from tierflow.io.remote import input_root, require_root
from tierflow.kubernetes_run import EXECUTOR, execute_in_pods
from tierflow.objectstore.connect import StorePath, is_url
from tierflow.render.profiles import setting
from tierflow.render.snakemake import resolve
from tierflow.runner import execute
from tierflow.summary import show_summary


def run(
    input: Annotated[  # noqa: A002
        str | None, Parameter(help="Folder of images, or a place on an object store such as s3://bucket/plates/P1.")
    ] = None,
    /,
    *,
    output: OutputFolder = None,
    config: ConfigFile = None,
    params: Params = None,
    dataset: Dataset = None,
    set: Settings = None,  # noqa: A002
    cores: Cores = None,
    profile: Profiles = None,
    dry_run: DryRun = False,
) -> None:
    """Measure, score, place, catalogue and report every image of a folder.

    A run that was stopped goes on where it was. A second run with other settings redoes only what depends on them.
    """
    tree = configured({}, config=config, settings=set, params=params, dataset=dataset)
    if input is not None:
        tree["input"] = input
    if not tree.get("input"):
        raise ConfigError("no input: give the folder of images, such as `tierflow run my_plate`")
    console = Console(stderr=True)
    if setting(profile or (), "executor") == EXECUTOR:
        if dry_run or cores is not None:
            raise ConfigError(
                f"{'--dry-run' if dry_run else '--cores'} has no meaning where jobs are pods: leave it out. "
                "What a run needs is told by `tierflow plan`, how many pods run at once by `jobs` in a profile"
            )
        execute_in_pods(tree, output=output or "", console=console, profiles=profile or ())
        return
    if output and is_url(output):
        raise ConfigError(
            f"--output {output}: `tierflow run` writes to folders. Give a folder, and copy it there afterwards; "
            "or use `--profile kubernetes` (docs/hpc.md), or have an engine call `tierflow job scan|run|summary`, "
            "which write to a store (docs/object-stores.md)"
        )
    workflow = resolve(tree | ({"output": output} if output else {}))
    source = input_root(workflow.config.input or "")
    if isinstance(source, StorePath):
        require_root(source)
    elif not source.exists():
        raise InputMissingError(f"input folder {source} does not exist: check the path, and that its share is mounted")
    execute(workflow, cores=cores, target="all", dry_run=dry_run, console=console, profiles=profile or ())
    if not dry_run:
        show_summary(workflow.output, Console())

"""`tierflow score`, `place` and `report`: redo a part of an existing run, with another configuration if given."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.progress import Progress

from tierflow.commands._options import ConfigFile, Cores, DryRun, Params, Results, Settings, config_of, configured
from tierflow.config_io import write
from tierflow.errors import ConfigError
from tierflow.lock import run_lock
from tierflow.render.snakemake import Workflow, prepare, resolve
from tierflow.rescore import is_measured, rescore
from tierflow.runner import execute
from tierflow.scoring.check import check
from tierflow.scoring.folder import shard_names
from tierflow.summary import show_policy, show_summary


def _workflow(results: Path, *, config: Path | None, settings: list[str] | None, params: str | None = None) -> Workflow:
    tree = configured(config_of(results), config=config, settings=settings, params=params)
    return resolve(tree | {"output": str(results)})


def score(
    results: Results,
    /,
    *,
    config: ConfigFile = None,
    params: Params = None,
    set: Settings = None,  # noqa: A002
    cores: Cores = None,
    dry_run: DryRun = False,
) -> None:
    """Score an existing run again and show the tiers that follow; no image is opened, no file is touched."""
    workflow = _workflow(results, config=config, settings=set, params=params)
    if dry_run or not _scored_here(workflow):
        execute(workflow, cores=cores, target="policy.json", dry_run=dry_run, console=Console(stderr=True))
    if not dry_run:
        show_policy(workflow.output, Console())
        Console().print(f"Files are where they were. To move them: tierflow place {shlex.quote(str(results))}")


def _scored_here(workflow: Workflow) -> bool:
    """Score without an engine where nothing has to be measured before; tell whether that was so."""
    check(workflow.config)
    with run_lock(workflow.output):
        prepare(workflow.config.model_dump() | {"output": str(workflow.output)}, mode="write")
        if not is_measured(workflow.output):
            return False
        with Progress(console=Console(stderr=True), transient=True) as bar:
            shards = shard_names(workflow.output / "scan" / "summary.json")
            task = bar.add_task("scoring", total=len(shards))
            rescore(workflow.output, on_shard=lambda: bar.advance(task))
    return True


def place(
    results: Results,
    /,
    *,
    config: ConfigFile = None,
    params: Params = None,
    set: Settings = None,  # noqa: A002
    cores: Cores = None,
    dry_run: DryRun = False,
) -> None:
    """Bring the files of a run to the tiers that its scores and policy say, and bring the report up to date."""
    workflow = _workflow(results, config=config, settings=set, params=params)
    execute(workflow, cores=cores, target="all", dry_run=dry_run, console=Console(stderr=True))
    if dry_run:
        _show_plan(workflow, Console())
    else:
        show_summary(workflow.output, Console())


def _show_plan(workflow: Workflow, console: Console) -> None:
    from tierflow.placements_view import show_plan
    from tierflow.tiers.plan import plan

    with tempfile.TemporaryDirectory(prefix="tierflow-") as scratch:
        configuration = Path(scratch) / "config.yaml"
        write(configuration, workflow.config)
        show_plan(plan(workflow.output, config=configuration), console)
    console.print("By the scores and the policy of the last run; `tierflow score` brings those up to date.")


def report(
    results: Annotated[Path | None, Parameter(help="Output folder of a run.")] = None,
    /,
    *,
    config: ConfigFile = None,
    set: Settings = None,  # noqa: A002
    cores: Cores = None,
    dry_run: DryRun = False,
    where: Annotated[
        str | None,
        Parameter(name="--from", help="Address of a server, or output folder: writes one page of its whole catalogue."),
    ] = None,
    run: Annotated[str | None, Parameter(help="With --from and a server: only this run.")] = None,
    output: Annotated[Path, Parameter(help="With --from: the page to write.")] = Path("catalogue.html"),
) -> None:
    """Write the report and objects.csv of a run again, or a page of a whole catalogue."""
    if (results is None) == (where is None):
        raise ConfigError("give either the output folder of a run, or --from with the address of a server")
    if where is not None:
        _views(where, run=run, output=output)
        return
    assert results is not None
    workflow = _workflow(results, config=config, settings=set)
    if not dry_run:
        (workflow.output / "report.html").unlink(missing_ok=True)
    execute(workflow, cores=cores, target="all", dry_run=dry_run, console=Console(stderr=True))
    if not dry_run:
        show_summary(workflow.output, Console())


def _views(where: str, *, run: str | None, output: Path) -> None:
    from tierflow.report.views import build_views, catalogue_of

    catalogue, title = catalogue_of(where, run=run)
    build_views(catalogue, output, title=title)
    Console().print(f"Written: {output}", markup=False, highlight=False, soft_wrap=True)

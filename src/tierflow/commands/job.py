"""`tierflow job`: parts of a run, for engines that keep no record of what is up to date. Argo's pods call these."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from tierflow import jobs
from tierflow.commands._options import ConfigFile, Dataset, Params, Results, Settings, configured
from tierflow.io.atomic import write_text
from tierflow.output_folder import notes_of
from tierflow.render.snakemake import resolve

app = App(
    name="job",
    help="Do a part of a run; a part whose results are up to date is left as it is. Meant for workflow engines.",
)

Values = Annotated[
    Path | None, Parameter(help="Folder for what the engine wants to know next, one small file per value.")
]


@app.command
def scan(
    input: Annotated[Path, Parameter(help="Folder of images.")],  # noqa: A002
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="Folder for the results.")],
    config: ConfigFile = None,
    params: Params = None,
    dataset: Dataset = None,
    set: Settings = None,  # noqa: A002
    values: Values = None,
    shards_per_job: Annotated[
        tuple[int, int, int], Parameter(help="Shards that one job of extract, score and place handles.")
    ] = (1, 50, 5),
    most_jobs: Annotated[int, Parameter(help="No step gets more jobs than this.")] = 2000,
) -> None:
    """Begin a run: write its configuration and scan its input.

    Values: shards, objects, extract_jobs, score_jobs, place_jobs.
    """
    tree = configured({}, config=config, settings=set, params=params, dataset=dataset)
    workflow = resolve(tree | {"input": str(input), "output": str(output)})
    jobs.begin(workflow)
    per_job = dict(zip(("extract", "score", "place"), shards_per_job, strict=True))
    found = jobs.scan_values(workflow.output, shards_per_job=per_job, most_jobs=most_jobs)
    _write(found, values)


@app.command
def run(
    results: Results,
    /,
    *,
    steps: Annotated[str, Parameter(help="Steps, separated by commas, such as place,index,publish.")],
    part: Annotated[str | None, Parameter(help="Which shards, such as 3/10; all without it.")] = None,
    values: Values = None,
) -> None:
    """Do steps of a run that was begun, for some or all of its shards.

    Values after `policy`: tiers (objects by tier, JSON), removed_share (share of objects in quarantine or trash).
    """
    names = steps.split(",")
    done = jobs.work(results, steps=names, part=jobs.Part.parse(part) if part else None)
    Console(stderr=True).print(f"{steps}: {done.ran} done, {done.skipped} were up to date", highlight=False)
    if "policy" in names:
        _write(jobs.policy_values(results), values)


@app.command
def summary(results: Results, /) -> None:
    """Say how far a run is, and what failed; changes nothing."""
    table = Table("step", "done", "of")
    for step, there, expected in jobs.state_of(results):
        table.add_row(step, str(there), str(expected))
    console = Console()
    console.print(table)
    for note in notes_of(results):
        console.print(f"{note['step']} ended with {note['exit_code']}: {note['message']}", markup=False)


def _write(found: dict[str, str], folder: Path | None) -> None:
    if folder is not None:
        for name, text in found.items():
            write_text(folder / name, text)

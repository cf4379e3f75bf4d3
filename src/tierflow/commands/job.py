"""`tierflow job`: parts of a run, for engines that keep no record of what is up to date. Argo's pods call these."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from tierflow import jobs
from tierflow.commands._options import ConfigFile, Dataset, Params, Settings, config_of, configured
from tierflow.commands._overlay import check_jobs, kept_config, laid_over
from tierflow.errors import InputMissingError
from tierflow.io.atomic import write_text
from tierflow.objectstore.staging import at_hand, named, require_far_tiers
from tierflow.output_folder import notes_of
from tierflow.render.snakemake import resolve

app = App(
    name="job",
    help="Do a part of a run; a part whose results are up to date is left as it is. Meant for workflow engines.",
)

AnyResults = Annotated[str, Parameter(help="Output folder of a run, or its place on an object store.")]
Values = Annotated[
    Path | None, Parameter(help="Folder for what the engine wants to know next, one small file per value.")
]

ConfigText = Annotated[
    str, Parameter(help="Keys that differ, as YAML text; laid over --config. For engines whose forms hold text.")
]
PerJob = Annotated[tuple[int, int, int], Parameter(help="Shards that one job of extract, score and place handles.")]
MostJobs = Annotated[int, Parameter(help="No step gets more jobs than this.")]


@app.command
def scan(
    input: Annotated[  # noqa: A002
        str, Parameter(help="Folder of images, or a place on an object store such as s3://bucket/plates/P1.")
    ],
    /,
    *,
    output: Annotated[
        str, Parameter(name=["--output", "-o"], help="Folder for the results, or a place on an object store.")
    ],
    config: ConfigFile = None,
    params: Params = None,
    dataset: Dataset = None,
    config_text: ConfigText = "",
    keep_config: Annotated[
        bool,
        Parameter(
            negative=(),
            help="Where the output holds a run of this input, keep its configuration in place of --config.",
        ),
    ] = False,
    set: Settings = None,  # noqa: A002
    values: Values = None,
    shards_per_job: PerJob = (1, 50, 5),
    most_jobs: MostJobs = 2000,
) -> None:
    """Begin a run: write its configuration and scan its input.

    Values: shards, objects, extract_jobs, score_jobs, place_jobs, publish_jobs (0 without a server).
    """
    check_jobs(shards_per_job, most_jobs)
    with at_hand(output) as (folder, keep):
        base = kept_config(folder, input) if keep_config else {}
        tree = laid_over(configured(base, config=None if base else config, settings=None), config_text)
        tree = configured(tree, config=None, settings=set, params=params, dataset=dataset)
        workflow = resolve(named(tree, output) | {"input": input, "output": str(folder)})
        require_far_tiers(workflow.config, output)
        jobs.begin(workflow, keep=keep)
        _write_scan_values(workflow.output, values, shards_per_job, most_jobs)


@app.command
def configure(
    results: AnyResults,
    /,
    *,
    config: ConfigFile = None,
    params: Params = None,
    config_text: ConfigText = "",
    set: Settings = None,  # noqa: A002
    values: Values = None,
    shards_per_job: PerJob = (1, 50, 5),
    most_jobs: MostJobs = 2000,
) -> None:
    """Give a run that was measured another score, policy or tiers; `job run` then redoes what depends on them.

    Values: as after `scan`.
    """
    check_jobs(shards_per_job, most_jobs)
    with at_hand(results) as (folder, _):
        tree = laid_over(configured(config_of(folder), config=config, settings=None), config_text)
        tree = configured(tree, config=None, settings=set, params=params)
        workflow = resolve(tree | {"output": str(folder)})
        require_far_tiers(workflow.config, results)
        jobs.configure(workflow)
        _write_scan_values(workflow.output, values, shards_per_job, most_jobs)


@app.command
def approve(
    results: AnyResults,
    /,
    *,
    answer: Annotated[str, Parameter(help="YES lets the run go on; NO ends it with exit code 76.")],
) -> None:
    """Take a person's answer to whether the files may be placed as the policy says; changes nothing."""
    with at_hand(results) as (folder, _):
        jobs.approve(folder, answer=answer)


@app.command
def run(
    results: AnyResults,
    /,
    *,
    steps: Annotated[str, Parameter(help="Steps, separated by commas, such as place,index,publish.")],
    part: Annotated[str | None, Parameter(help="Which shards, such as 3/10; all without it.")] = None,
    values: Values = None,
) -> None:
    """Do steps of a run that was begun, for some or all of its shards.

    Values after `policy`: tiers (objects by tier, JSON), removed_share (share of objects in quarantine or trash),
    quarantine_share.
    """
    names = steps.split(",")
    with at_hand(results) as (folder, keep):
        done = jobs.work(folder, steps=names, part=jobs.Part.parse(part) if part else None, keep=keep)
        Console(stderr=True).print(f"{steps}: {done.ran} done, {done.skipped} were up to date", highlight=False)
        if "policy" in names:
            _write(jobs.policy_values(folder), values)


@app.command
def summary(results: AnyResults, /) -> None:
    """Say how far a run is, and what failed; changes nothing."""
    console = Console()
    with at_hand(results) as (folder, keep):
        keep.show()
        try:
            table = Table("step", "done", "of")
            for step, there, expected in jobs.state_of(folder):
                table.add_row(step, str(there), str(expected))
            console.print(table)
        except InputMissingError as error:
            # Also the end of a run whose first step failed is to be summed up.
            console.print(f"No image was looked at: {error}", markup=False, highlight=False)
        for note in notes_of(folder):
            console.print(f"{note['step']} ended with {note['exit_code']}: {note['message']}", markup=False)


def _write_scan_values(output: Path, values: Path | None, shards_per_job: tuple[int, int, int], most: int) -> None:
    per_job = dict(zip(("extract", "score", "place"), shards_per_job, strict=True))
    _write(jobs.scan_values(output, shards_per_job=per_job, most_jobs=most), values)


def _write(found: dict[str, str], folder: Path | None) -> None:
    if folder is not None:
        for name, text in found.items():
            write_text(folder / name, text)

"""Run the workflow by Snakemake in a process of its own, and turn what went wrong into one clear error."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tierflow.errors import EXIT_TRY_AGAIN, LASTING, TierflowError, TryAgainError
from tierflow.io.atomic import write_text
from tierflow.live import watch
from tierflow.lock import run_lock
from tierflow.output_folder import STATE, clear_state, notes_of, remove_leftovers, require_room
from tierflow.render.profiles import profile_arguments
from tierflow.render.snakemake import snakefile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from tierflow.render.snakemake import Workflow

LOG = "logs/snakemake.log"
# Snakemake needs some seconds to cancel the jobs of a batch system.
_PATIENCE_S = 20

# The first of these that any step ended with is what the whole run ended with.
_ERRORS = LASTING | {EXIT_TRY_AGAIN: TryAgainError}


def execute(
    workflow: Workflow,
    *,
    cores: int | None,
    target: str,
    dry_run: bool,
    console: Console,
    profiles: Sequence[str] = (),
) -> None:
    """Bring `target` of a run up to date.

    Args:
        workflow: The resolved run.
        cores: Cores to use; None for all, or for what the profiles say.
        target: Rule or file of the Snakefile.
        dry_run: Only list the jobs; nothing is written into the output.
        console: Where progress goes.
        profiles: Names or folders of profiles, each laid over those before it; without one, jobs run here.

    Raises:
        ConfigError: also if a profile isn't found or can't be used.
        TierflowError: of the class that fits what a step reported.
    """
    from tierflow.scoring.check import check
    from tierflow.stream.recover import recover_output

    check(workflow.config)
    where = [*_where(cores, profiles), target]
    if dry_run:
        _dry_run(workflow, where=where, console=console)
        return
    require_room(workflow.output)
    with run_lock(workflow.output) as lock:
        recover_output(workflow.output)
        clear_state(workflow.output)
        remove_leftovers(workflow.output)
        configuration = workflow.output / STATE / "run.yaml"
        write_text(configuration, _tree(workflow))
        log = workflow.output / LOG
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as stream:
            process = subprocess.Popen(
                _command(workflow, configuration=configuration, where=where),
                stdout=stream,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                pass_fds=(lock,),
            )
            try:
                watch(process, workflow.output, console)
            except KeyboardInterrupt:
                _end(process)
                raise
        if process.returncode:
            error = _explain(workflow.output, process.returncode)
            if not _only_publishing_failed(workflow.output):
                _leave_partial_report(workflow, str(error))
            raise error


def _where(cores: int | None, profiles: Sequence[str]) -> list[str]:
    """Return the arguments that say where jobs run, and how many."""
    if profiles:
        return profile_arguments(profiles) + ([] if cores is None else ["--cores", str(cores)])
    default = snakefile().parent / "profiles" / "default"
    return ["--workflow-profile", str(default), "--cores", "all" if cores is None else str(cores)]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let Snakemake end its jobs, also those that it sent to a batch system, and wait for that."""
    while process.poll() is None:
        # The terminal sends it too. Snakemake forgets one that comes while it hands a job to a batch system.
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_PATIENCE_S)


def _command(workflow: Workflow, *, configuration: Path, where: list[str]) -> list[str]:
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(snakefile()), "--directory", str(workflow.output)),
        *("--configfile", str(configuration)),
        # Our own lock guards the output, and unlike Snakemake's it doesn't outlive a killed process.
        "--nolock",
        *where,
    ]


def _tree(workflow: Workflow) -> str:
    return yaml.safe_dump(workflow.config.model_dump(mode="json") | {"output": str(workflow.output)}, sort_keys=False)


def _dry_run(workflow: Workflow, *, where: list[str], console: Console) -> None:
    existed = workflow.output.exists()
    with tempfile.TemporaryDirectory(prefix="tierflow-") as scratch:
        configuration = Path(scratch) / "run.yaml"
        write_text(configuration, _tree(workflow))
        argv = [*_command(workflow, configuration=configuration, where=where), "--dry-run"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if not existed:
        # Snakemake makes its working directory even for a dry run.
        shutil.rmtree(workflow.output, ignore_errors=True)
    if done.returncode:
        raise TierflowError(f"Snakemake could not plan the run:\n{_tail(done.stdout + done.stderr)}")
    console.print(_plan(done.stdout + done.stderr), highlight=False, markup=False)
    console.print(f"Dry run: nothing was done. Results would be in {workflow.output}", highlight=False, markup=False)


def _plan(text: str) -> str:
    """Cut Snakemake's job table out of what it printed."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("job ")]
    if not starts:
        return "Nothing to be done: all results are up to date."
    table = []
    for line in lines[starts[0] :]:
        if not line.strip():
            break
        table.append(line)
    return "\n".join(["Steps that would run (shards are known after scan):", *table])


def _only_publishing_failed(output: Path) -> bool:
    """Tell whether everything of this run is done on this side, its report too."""
    steps = {note["step"] for note in notes_of(output)}
    return steps == {"publish"}


def _explain(output: Path, returncode: int) -> TierflowError:
    notes = notes_of(output)
    by_code = {note["exit_code"]: note for note in reversed(notes)}
    for code, kind in _ERRORS.items():
        if code in by_code:
            return kind(by_code[code]["message"])
    if notes:
        return TierflowError(f"step {notes[0]['step']} failed: {notes[0]['message']}\nDetails: {output / 'logs'}")
    if returncode < 0:
        return TryAgainError(f"the run was stopped by signal {-returncode}: run the same command again to go on")
    text = (output / LOG).read_text(encoding="utf-8", errors="replace")
    return TierflowError(f"the workflow failed (Snakemake exit code {returncode}); see {output / LOG}\n{_tail(text)}")


def _leave_partial_report(workflow: Workflow, problem: str) -> None:
    """Write objects.csv and the report from what is known, so that a failed run can be looked into.

    A trouble in doing so is not told: it would hide the one that stopped the run.
    """
    from tierflow.catalogue.objects_csv import write_objects_csv
    from tierflow.report.partial import build_partial

    html, objects = workflow.output / "report.html", workflow.output / "objects.csv"
    with suppress(TierflowError, OSError):
        write_objects_csv(workflow.output, objects)
        # Older than everything: Snakemake must never take a stopgap for the result.
        os.utime(objects, (0, 0))
        build_partial(output=workflow.output, config=workflow.config, html=html, problem=problem)
        os.utime(html, (0, 0))


def _tail(text: str, lines: int = 15) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])

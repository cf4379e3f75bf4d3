"""The `tierflow` command: which commands exist, and how an error becomes a message and an exit code.

Commands live in `tierflow.commands` and are imported when they are called, so that a step starts fast.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, NamedTuple

from tierflow import __version__
from tierflow.errors import EXIT_INTERNAL, EXIT_TRY_AGAIN, ConfigError, TierflowError, exit_code_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cyclopts import App

_ABOUT = """Look at every scientific image of a folder: measure, score, route to a tier, keep a searchable record.

Start with `tierflow run FOLDER`. Exit codes: 0 done, 66 input missing, 70 internal error, 75 try again later,
76 too many objects failed, 78 configuration or command line wrong.
"""


class _Command(NamedTuple):
    name: str
    target: str
    group: str
    about: str
    examples: tuple[str, ...] = ()


_COMMANDS = (
    _Command(
        "run",
        "run:run",
        "Main job",
        "Measure, score, place, catalogue and report every image of a folder.",
        (
            "tierflow run my_plate",
            "tierflow run my_plate --output results --cores 8",
            "tierflow run my_plate --config screen.yaml --dry-run",
            "tierflow run my_plate --set score.function=haste",
        ),
    ),
    _Command(
        "watch",
        "watch:watch",
        "Main job",
        "Measure, score, place and catalogue every image of a folder as it arrives.",
        (
            "tierflow watch incoming --output results",
            "tierflow watch incoming --include '*.tif' --tag urgent --drain-after-idle 600",
            "tierflow watch incoming --once",
        ),
    ),
    _Command(
        "plan",
        "plan:plan",
        "Main job",
        "Say before a run what it is going to need: shards, hours, memory, disk, requests, money.",
        ("tierflow plan my_plate", "tierflow plan my_plate --workers 2 16 100 --engine argo --output results"),
    ),
    _Command(
        "cost",
        "plan:cost",
        "Main job",
        "Say what a run did need, beside its plan, by owner, plate and tier.",
        ("tierflow cost results", "tierflow cost results --format csv"),
    ),
    _Command(
        "measure",
        "measure:measure",
        "Main job",
        "Measure a few files at once and print their features.",
        (
            "tierflow measure image.tif",
            "tierflow measure *.tif --scales 5 10 20 --format csv > features.csv",
        ),
    ),
    _Command(
        "score",
        "redo:score",
        "Redo a part",
        "Score a run again and show the tiers that follow; no file is touched.",
        ("tierflow score results --set score.function=haste",),
    ),
    _Command(
        "place",
        "redo:place",
        "Redo a part",
        "Bring the files of a run to the tiers that its scores and policy say.",
        ("tierflow place results --dry-run", "tierflow place results --config other.yaml"),
    ),
    _Command(
        "report",
        "redo:report",
        "Redo a part",
        "Write the report and objects.csv of a run again.",
        (
            "tierflow report results --set report.title='Screen 12'",
            "tierflow report --from http://search.lab:9200 --output overview.html",
        ),
    ),
    _Command(
        "undo",
        "placements:undo",
        "Files",
        "Bring every placed file back to where it was, byte for byte.",
        ("tierflow undo results --dry-run", "tierflow undo results --tier D"),
    ),
    _Command(
        "verify",
        "placements:verify",
        "Files",
        "Check that every object is in exactly one right place, unchanged.",
        ("tierflow verify results", "tierflow verify results --quick"),
    ),
    _Command(
        "search",
        "search:search",
        "Find",
        "Find objects of a run by tier, well, features, flags or path.",
        (
            "tierflow search 'tier:A well:B0*' --from results",
            "tierflow search flag:saturated --from results --sort -interestingness --format csv",
            "tierflow search 'features.snr>5 and not tier:D' --from results --columns plate,well,features.snr",
            "tierflow search 'flag:blank run:screen-*' --from http://search.lab:9200 --open report",
        ),
    ),
    _Command(
        "facets",
        "search:facets",
        "Find",
        "Count objects per value, or summarise a number.",
        ("tierflow facets tier --from results", "tierflow facets features.snr --from results --by well"),
    ),
    _Command(
        "export",
        "search:export",
        "Find",
        "Write the objects of a search to a file.",
        ("tierflow export best.parquet 'tier:A' --from results",),
    ),
    _Command(
        "fetch",
        "fetch:fetch",
        "Find",
        "Bring the files of a search together in a folder, with checksums.",
        (
            "tierflow fetch 'tier:A well:B0*' --from results --to best",
            "tierflow fetch flag:blank --from results --to look --link",
        ),
    ),
    _Command(
        "relabel",
        "relabel:relabel",
        "Decide",
        "Record a person's decision on the tier of what a search finds; it outlives every new score.",
        (
            "tierflow relabel 'path:*B03*' --from results --tier A --reason 'mitosis, wanted for figure 2' --dry-run",
            "tierflow relabel 'path:*B03*' --from results --undo",
        ),
    ),
    _Command(
        "calibrate",
        "calibrate:calibrate",
        "Decide",
        "Find the cut-offs that agree best with people's decisions.",
        ("tierflow calibrate results", "tierflow calibrate results --save screen-12"),
    ),
    _Command("params", "params:app", "Decide", "Save, list, show and compare parameter sets."),
    _Command("dataset", "dataset:app", "Set up", "Register what is known about a data set: compound, dose, cell line."),
    _Command("elastic", "elastic:app", "Server", "Look after the catalogue in Elasticsearch: check, rebuild, migrate."),
    _Command(
        "serve",
        "serve:serve",
        "Server",
        "Show reports, thumbnails, live views of streams and metrics in the browser.",
        (
            "tierflow serve results",
            "tierflow serve results --allow-actions",
            "tierflow serve runs/ --port 8700",
            "tierflow serve --make-token operator --name anna",
            "tierflow serve runs/ --host 0.0.0.0 --tokens tokens.yaml",
            "tierflow serve runs/ --tokens tokens.yaml --run-inputs /data/plates",
        ),
    ),
    _Command(
        "metrics",
        "serve:metrics",
        "Server",
        "Write the figures of the indexer for Prometheus.",
        ("tierflow metrics results", "tierflow metrics results --out /var/lib/node_exporter/tierflow.prom"),
    ),
    _Command(
        "layouts",
        "layouts:layouts",
        "Set up",
        "Show which naming layout fits a folder and what it reads from each name.",
        ("tierflow layouts my_plate",),
    ),
    _Command("config", "config:app", "Set up", "Show, check or describe the configuration."),
    _Command(
        "argo", "argo:app", "Clusters", "Run on Kubernetes by Argo Workflows: submit, watch, retry, render, check."
    ),
    _Command(
        "status",
        "status:status",
        "Stream",
        "Say how a stream stands: objects by state, lag, latency, tiers, trouble.",
        ("tierflow status results", "tierflow status results --watch", "tierflow status results --format json"),
    ),
    _Command("pause", "status:pause", "Stream", "Let a stream begin nothing new.", ("tierflow pause results",)),
    _Command("resume", "status:resume", "Stream", "Let a paused stream go on.", ("tierflow resume results",)),
    _Command(
        "drain",
        "status:drain",
        "Stream",
        "Let a stream handle everything that is there, and then end.",
        ("tierflow drain results --follow",),
    ),
    _Command(
        "retry",
        "status:retry",
        "Stream",
        "Have objects handled again: those in quarantine, those that failed, or files by name.",
        (
            "tierflow retry results",
            "tierflow retry results --state lost_source",
            "tierflow retry results plate_7/B03_s1_w1.tif",
        ),
    ),
    _Command(
        "work",
        "work:work",
        "Stream",
        "Measure for a stream that is watched elsewhere.",
        ("tierflow work results", "tierflow work results --workers 8 --wait-for-stream"),
    ),
    _Command(
        "simulate",
        "simulate:simulate",
        "Stream",
        "Write the images of a folder into another one as a microscope would, to try out a watcher.",
        (
            "tierflow simulate my_plate watched --rate 5/s --pattern plate",
            "tierflow simulate my_plate watched --rate 20/s --writer slow --write-s 10 --count 1000",
        ),
    ),
    _Command("step", "step:step", "For engines", "Run one step of the pipeline."),
    _Command("job", "job:app", "For engines", "Do a part of a run where it is out of date."),
)


def build_app() -> App:
    """Return the command-line application; no command's module is imported yet."""
    from cyclopts import App, Group

    app = App(
        name="tierflow",
        help=_ABOUT,
        version=__version__,
        help_format="markdown",
        exit_on_error=False,
        print_error=False,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    names = dict.fromkeys(command.group for command in _COMMANDS)
    groups = {name: Group(name, sort_key=order) for order, name in enumerate(names)}
    for command in _COMMANDS:
        lines = "\n".join(command.examples)
        extra = {"help_epilogue": f"Examples:\n```\n{lines}\n```\n"} if lines else {}
        target = f"tierflow.commands.{command.target}"
        app.command(target, name=command.name, group=groups[command.group], help=command.about, **extra)
    return app


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the documented code."""
    sys.exit(run_cli(sys.argv[1:] if argv is None else argv))


def run_cli(argv: Sequence[str]) -> int:
    """Run the command line.

    Returns:
        The exit code; see `tierflow.errors`.
    """
    try:
        return _dispatch(argv)
    except KeyboardInterrupt:
        _complain("stopped; nothing is lost: the same command goes on where this one stopped")
        return 130
    except BrokenPipeError:
        # The reader of our output (such as `head`) has left: not an error of ours, but Python would complain at exit.
        sys.stderr.close()
        return 0
    except TierflowError as error:
        _complain(str(error))
        return error.exit_code
    except OSError as error:
        code = exit_code_of(error)
        if code == EXIT_TRY_AGAIN:
            _complain(f"{error}: free the disk or bring the share back, then run the same command again")
            return code
        traceback.print_exc()
        return EXIT_INTERNAL
    except Exception as error:
        traceback.print_exc()
        _complain(
            f"internal error ({type(error).__name__}): this is a fault of tierflow; please report the lines above"
        )
        return EXIT_INTERNAL


def _dispatch(argv: Sequence[str]) -> int:
    if argv[:1] == ["step"]:
        # A job has the cores of its step: numpy's linear algebra would take all of them, for matrices of 64 x 6.
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")
        from tierflow.commands.step import main as step_main

        return step_main(argv[1:])
    from cyclopts.exceptions import CycloptsError

    try:
        result = build_app()(list(argv))
    except CycloptsError as error:
        chain = " ".join(error.command_chain or ())
        raise ConfigError(f"{error}\nSee `tierflow {chain} --help`.".replace("  ", " ")) from error
    return result if isinstance(result, int) else 0


def _complain(message: str) -> None:
    sys.stderr.write(f"tierflow: {message}\n")

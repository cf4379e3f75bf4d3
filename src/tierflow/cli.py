"""The `tierflow` command: which commands exist, and how an error becomes a message and an exit code.

Commands live in `tierflow.commands` and are imported when they are called, so that a step starts fast.
"""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING

from tierflow import __version__
from tierflow.errors import EXIT_CONFIG, EXIT_INTERNAL, EXIT_TRY_AGAIN, TierflowError, exit_code_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cyclopts import App

_ABOUT = """Look at every scientific image of a folder: measure, score, route to a storage tier, keep a searchable record.

Start with `tierflow run FOLDER`. Exit codes: 0 done, 66 input missing, 70 internal error, 75 try again later,
76 too many objects failed, 78 configuration or command line wrong.
"""

# name, "module:function", group, examples
_COMMANDS: tuple[tuple[str, str, str, str], ...] = (
    (
        "run",
        "run:run",
        "Main job",
        "tierflow run my_plate\n\ntierflow run my_plate --output results --cores 8\n\n"
        "tierflow run my_plate --config screen.yaml --dry-run\n\ntierflow run my_plate --set score.function=haste",
    ),
    (
        "measure",
        "measure:measure",
        "Main job",
        "tierflow measure image.tif\n\ntierflow measure *.tif --scales 5 10 20 --format csv > features.csv",
    ),
    ("score", "redo:score", "Redo a part", "tierflow score results --set score.function=haste"),
    ("place", "redo:place", "Redo a part", "tierflow place results --dry-run\n\ntierflow place results --config other.yaml"),
    ("report", "redo:report", "Redo a part", "tierflow report results --set report.title='Screen 12'"),
    ("undo", "placements:undo", "Files", "tierflow undo results --dry-run\n\ntierflow undo results --tier D"),
    ("verify", "placements:verify", "Files", "tierflow verify results\n\ntierflow verify results --quick"),
    (
        "search",
        "search:search",
        "Find",
        "tierflow search 'tier:A well:B0*' --from results\n\n"
        "tierflow search 'flag:saturated' --from results --sort -interestingness --format csv\n\n"
        "tierflow search 'features.snr>5 and not tier:D' --from results --columns plate,well,features.snr --limit 20",
    ),
    ("facets", "search:facets", "Find", "tierflow facets tier --from results\n\ntierflow facets features.snr --from results --by well"),
    ("export", "search:export", "Find", "tierflow export best.parquet 'tier:A' --from results"),
    ("layouts", "layouts:layouts", "Set up", "tierflow layouts my_plate"),
    ("config", "config:app", "Set up", ""),
    ("step", "step:app", "For engines", ""),
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
    )
    groups = {name: Group(name, sort_key=order) for order, name in enumerate(dict.fromkeys(c[2] for c in _COMMANDS))}
    for name, target, group, examples in _COMMANDS:
        extra = {"help_epilogue": f"**Examples**\n\n{examples}"} if examples else {}
        app.command(f"tierflow.commands.{target}", name=name, group=groups[group], **extra)
    return app


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the documented code."""
    sys.exit(run_cli(sys.argv[1:] if argv is None else argv))


def run_cli(argv: Sequence[str]) -> int:
    """Run the command line.

    Returns:
        The exit code; see `tierflow.errors`.
    """
    from cyclopts.exceptions import CycloptsError

    try:
        result = build_app()(list(argv))
    except CycloptsError as error:
        _complain(f"{error}\nSee `tierflow {' '.join(argv[:1])} --help`.".replace("  ", " "))
        return EXIT_CONFIG
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
    return result if isinstance(result, int) else 0


def _complain(message: str) -> None:
    sys.stderr.write(f"tierflow: {message}\n")

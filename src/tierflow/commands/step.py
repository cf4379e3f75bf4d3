"""`tierflow step NAME`: one step of the table, with the arguments of its function. Engines call only this."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from tierflow.errors import TierflowError, exit_code_of
from tierflow.io.atomic import write_text
from tierflow.steps import STEPS, port_kinds

if TYPE_CHECKING:
    from collections.abc import Callable

ERRORS_FOLDER = Path(".tierflow/errors")

app = App(
    name="step",
    help="Run one step of the pipeline; the arguments are those of its function. Meant for workflow engines.",
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
)


def _command(name: str) -> Callable[..., None]:
    function = STEPS[name].function

    def command(**paths: Path) -> None:
        started = time.perf_counter()
        try:
            function(**paths)
        except BaseException as error:
            _leave_note(name, error)
            raise
        _log_cost(name, time.perf_counter() - started)

    kinds = {"input": "read", "output": "written", "params": "used"}
    command.__doc__ = cleandoc(function.__doc__ or "")
    command.__annotations__ = {
        port: Annotated[Path, Parameter(name=f"--{port.replace('_', '-')}", help=kinds[kind], group=kind.capitalize())]
        for port, kind in port_kinds(function).items()
    }
    return _with_signature(command)


def _with_signature(command: Callable[..., None]) -> Callable[..., None]:
    from inspect import Parameter as Argument
    from inspect import Signature

    arguments = [Argument(n, Argument.KEYWORD_ONLY, annotation=hint) for n, hint in command.__annotations__.items()]
    command.__signature__ = Signature(arguments)  # type: ignore[attr-defined]
    return command


def _leave_note(name: str, error: BaseException) -> None:
    """Tell a waiting `tierflow run` what went wrong; without one there is no folder and nothing to tell."""
    if ERRORS_FOLDER.is_dir():
        note: dict[str, Any] = {
            "step": name,
            "exit_code": exit_code_of(error),
            "message": str(error) if isinstance(error, TierflowError | OSError) else repr(error),
        }
        write_text(ERRORS_FOLDER / f"{name}-{os.getpid()}.json", json.dumps(note))


def _log_cost(name: str, step_s: float) -> None:
    """Write what the step cost to its log, for benchmarks and sizing; `process_s` includes the start of Python."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    cost = {
        "step": name,
        "step_s": round(step_s, 4),
        "process_s": round(time.time() - _process_started_at(), 4),
        "cpu_s": round(own.ru_utime + own.ru_stime, 4),
        "peak_mb": round(own.ru_maxrss / 1024, 1),
    }
    sys.stderr.write(json.dumps(cost) + "\n")


def _process_started_at() -> float:
    stat = Path("/proc/self/stat")
    if not stat.exists():
        return time.time() - time.process_time()
    ticks = float(stat.read_text().rpartition(")")[2].split()[19])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - (uptime - ticks / os.sysconf("SC_CLK_TCK"))


def _register() -> None:
    # Only the named step is imported: the others would cost each job their imports.
    wanted = [token for token in sys.argv[2:3] if token in STEPS] or list(STEPS)
    for name in wanted:
        app.command(_command(name), name=name)


_register()

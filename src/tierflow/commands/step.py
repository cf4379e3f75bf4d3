"""`tierflow step NAME`: one step of the table, with the arguments of its function. Engines call only this."""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tierflow.errors import ConfigError, TierflowError, exit_code_of
from tierflow.io.atomic import write_text
from tierflow.steps import STEPS, declared_ports

if TYPE_CHECKING:
    from collections.abc import Sequence

ERRORS_FOLDER = Path(".tierflow/errors")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}; see {self.prog} --help")


def step(*tokens: str) -> int:
    """Run one step of the pipeline; the arguments are those of its function. Meant for workflow engines."""
    return main(tokens)


def main(argv: Sequence[str]) -> int:
    """Run `tierflow step ARGV`; parsed by argparse, because a richer parser costs every job a tenth of a second.

    Returns:
        0; errors are raised.
    """
    parser = _Parser(prog="tierflow step", description=step.__doc__)
    parser.add_argument("name", choices=STEPS, help="step of the pipeline")
    if not argv or argv[0] not in STEPS:
        parser.parse_args(argv)
    name, *rest = argv
    paths = vars(_parser(name).parse_args(rest))
    started = time.perf_counter()
    try:
        STEPS[name].function(**paths)
    except BaseException as error:
        _leave_note(name, error)
        raise
    _log_cost(name, time.perf_counter() - started)
    return 0


def _parser(name: str) -> _Parser:
    parser = _Parser(prog=f"tierflow step {name}", allow_abbrev=False)
    about = {"input": "is read", "output": "is written", "params": "is used"}
    for port, kind in declared_ports(name).items():
        parser.add_argument(f"--{port.replace('_', '-')}", type=Path, required=True, metavar="PATH", help=about[kind])
    return parser


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
        "ended_at": round(time.time(), 3),
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

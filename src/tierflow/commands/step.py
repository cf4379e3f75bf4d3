"""`tierflow step NAME`: one step of the table, with the arguments of its function. Engines call only this."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tierflow.costs import cost_of
from tierflow.errors import ConfigError
from tierflow.output_folder import leave_note
from tierflow.steps import STEPS, declared_ports

if TYPE_CHECKING:
    from collections.abc import Sequence


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
        leave_note(Path(), name, error)
        raise
    sys.stderr.write(json.dumps(cost_of(name, step_s=time.perf_counter() - started)) + "\n")
    return 0


def _parser(name: str) -> _Parser:
    parser = _Parser(prog=f"tierflow step {name}", allow_abbrev=False)
    about = {"input": "is read", "output": "is written", "params": "is used"}
    for port, kind in declared_ports(name).items():
        parser.add_argument(f"--{port.replace('_', '-')}", type=Path, required=True, metavar="PATH", help=about[kind])
    return parser

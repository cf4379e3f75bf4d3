"""The step table: the single definition of what runs, from which engines derive their jobs.

A step is one keyword-only function `run` in the module of its name. It reads tables, calls pure functions and writes
one table. Modules are imported when a step is asked for, so that listing the steps costs nothing.
"""

from __future__ import annotations

import ast
import shlex
import sys
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

PortKind = Literal["input", "output", "params"]


@dataclass(frozen=True, slots=True)
class Step:
    """One row of the step table.

    Attributes:
        name: Name of the step, its module, its rule and its log folder.
        scope: `dataset` when it sees all objects, `shard` when it sees one shard.
        settings: Sections of the configuration that change its result.
        threads: Cores it uses.
        mem_mb: Memory it may need, in MB.
        runtime_min: Minutes after which a batch system may end it: several times what the largest shard of the default
            settings takes, because a job that is ended has to begin anew.
        disk_mb: Room it may need on the disk of its node, in MB; tables go straight to the output.
        revision: Raised when the step gives other results for the same input, so that old results are redone.
    """

    name: str
    scope: Literal["dataset", "shard"]
    settings: tuple[str, ...]
    threads: int = 1
    mem_mb: int = 1000
    runtime_min: int = 30
    disk_mb: int = 1000
    revision: int = 1

    @property
    def function(self) -> Callable[..., None]:
        """The step's function, imported now."""
        function: Callable[..., None] = import_module(f"tierflow.steps.{self.name}").run
        return function

    def mem_mb_of(self, _wildcards: object, attempt: int) -> int:
        """Return the memory, in MB, of one attempt, counted from 1; the resource function of the step's rule.

        A job that was ended because it used more is given more, so that an object of unforeseen size passes in the end.
        """
        return self.mem_mb * attempt

    def runtime_of(self, _wildcards: object, attempt: int) -> int:
        """Return the minutes of one attempt, counted from 1; the resource function of the step's rule."""
        return self.runtime_min * attempt

    def ports(self, kind: PortKind | None = None) -> list[str]:
        """Return the argument names of the step, of one kind or all, in the order of its signature."""
        return [name for name, its_kind in declared_ports(self.name).items() if kind in (None, its_kind)]

    def argv(self, ref: Callable[[PortKind, str], str]) -> list[str]:
        """Return the command of this step.

        Args:
            ref: Gives the text of an argument from its kind and name, such as `{input.shard:q}` for Snakemake.
        """
        flags = [
            text
            for name, kind in declared_ports(self.name).items()
            for text in (f"--{name.replace('_', '-')}", ref(kind, name))
        ]
        return [sys.executable, "-m", "tierflow", "step", self.name, *flags]

    def shell(self) -> str:
        """Return the shell line of the step's Snakemake rule; standard error goes to the rule's log."""
        first, *rest = self.argv(lambda kind, name: f"{{{kind}.{name}:q}}")
        return f"{shlex.quote(first)} {' '.join(rest)} 2> {{log:q}}"


_KINDS: dict[str, PortKind] = {"In": "input", "Out": "output", "Param": "params"}


@cache
def declared_ports(name: str) -> dict[str, PortKind]:
    """Return the kind of each argument of a step's function, read from its source (see `_ports`).

    The module isn't imported: a Snakefile is parsed in every job on a cluster, and the steps import all of tierflow.
    """
    path = Path(__file__).with_name(f"{name}.py")
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == "run":
            return {argument.arg: _KINDS[ast.unparse(argument.annotation or node)] for argument in node.args.kwonlyargs}
    raise AssertionError(f"{path} has no function `run`")


_INDEX_SETTINGS = ("catalogue.histogram", "catalogue.run", "catalogue.parameter_set", "metadata")
STEPS: dict[str, Step] = {
    step.name: step
    for step in (
        Step("scan", "dataset", ("input", "dataset", "scan"), runtime_min=240),
        Step("extract", "shard", ("extract",), mem_mb=1000, runtime_min=60),
        Step("baseline", "dataset", ("baseline",), runtime_min=60),
        Step("score", "shard", ("score",), runtime_min=5),
        Step("policy", "dataset", ("policy", "tiers", "quarantine", "run"), mem_mb=2000),
        Step("place", "shard", ("tiers", "quarantine", "place"), runtime_min=120, revision=2),
        Step("index", "shard", _INDEX_SETTINGS, runtime_min=10, revision=2),
        Step("publish", "shard", ("catalogue.elasticsearch",)),
        Step("report", "dataset", ("report",), mem_mb=2000, runtime_min=120),
    )
}

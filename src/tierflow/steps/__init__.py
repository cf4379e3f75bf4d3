"""The step table: the single definition of what runs, from which engines derive their jobs.

A step is one keyword-only function `run` in the module of its name. It reads tables, calls pure functions and writes
one table. Modules are imported when a step is asked for, so that listing the steps costs nothing.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

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
        revision: Raised when the step gives other results for the same input, so that old results are redone.
    """

    name: str
    scope: Literal["dataset", "shard"]
    settings: tuple[str, ...]
    threads: int = 1
    mem_mb: int = 1000
    revision: int = 1

    @property
    def function(self) -> Callable[..., None]:
        """The step's function, imported now."""
        function: Callable[..., None] = import_module(f"tierflow.steps.{self.name}").run
        return function

    def ports(self, kind: PortKind | None = None) -> list[str]:
        """Return the argument names of the step, of one kind or all, in the order of its signature."""
        kinds = port_kinds(self.function)
        return [name for name, its_kind in kinds.items() if kind in (None, its_kind)]

    def argv(self, ref: Callable[[PortKind, str], str]) -> list[str]:
        """Return the command of this step.

        Args:
            ref: Gives the text of an argument from its kind and name, such as `{input.shard:q}` for Snakemake.
        """
        flags = [
            text
            for name, kind in port_kinds(self.function).items()
            for text in (f"--{name.replace('_', '-')}", ref(kind, name))
        ]
        return [sys.executable, "-m", "tierflow", "step", self.name, *flags]

    def shell(self) -> str:
        """Return the shell line of the step's Snakemake rule; standard error goes to the rule's log."""
        first, *rest = self.argv(lambda kind, name: f"{{{kind}.{name}:q}}")
        return f"{shlex.quote(first)} {' '.join(rest)} 2> {{log:q}}"


def port_kinds(function: Callable[..., Any]) -> dict[str, PortKind]:
    """Return the kind of each argument of a step's function, read from its annotations (see `_ports`)."""
    hints = get_type_hints(function, include_extras=True)
    kinds: dict[str, PortKind] = {}
    for name in signature(function).parameters:
        hint = hints[name]
        kinds[name] = get_args(hint)[1] if get_origin(hint) is Annotated else "params"
    return kinds


STEPS: dict[str, Step] = {
    step.name: step
    for step in (
        Step("scan", "dataset", ("input", "dataset", "scan")),
        Step("extract", "shard", ("extract",), mem_mb=1000),
        Step("baseline", "dataset", ("baseline",)),
        Step("score", "shard", ("score",)),
        Step("policy", "dataset", ("policy", "tiers", "quarantine", "run"), mem_mb=2000),
        Step("place", "shard", ("tiers", "quarantine", "place")),
        Step("index", "shard", ("catalogue",)),
        Step("report", "dataset", ("report",), mem_mb=2000),
    )
}

"""`tierflow relabel`: a person's decision about objects, against the policy."""

from __future__ import annotations

import getpass
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.prompt import Confirm
from rich.table import Table

from tierflow import corrections
from tierflow.catalogue.language import parse
from tierflow.catalogue.parquet import ParquetCatalogue
from tierflow.catalogue.query import Query
from tierflow.clock import utc_now
from tierflow.commands._options import Cores, DryRun, config_of
from tierflow.config import QUARANTINE, Config
from tierflow.corrections import Choice, Decision
from tierflow.errors import ConfigError, TierflowError, TryAgainError
from tierflow.render.snakemake import resolve
from tierflow.runner import execute
from tierflow.stream.decisions import held
from tierflow.stream.ledger import Ledger
from tierflow.stream.requests import ask
from tierflow.summary import show_summary

_PATIENCE_S = 30.0


def relabel(
    query: Annotated[str, Parameter(help="The objects, as for `tierflow search`, such as `tier:D well:B03`.")],
    /,
    *,
    results: Annotated[Path, Parameter(name="--from", help="Output folder of a run.")],
    tier: Annotated[str | None, Parameter(help="Tier that they belong to; `quarantine` is one.")] = None,
    reason: Annotated[str, Parameter(help="Why, in your words; kept in every record.")] = "",
    by: Annotated[str | None, Parameter(help="Who decides; your login name without it.")] = None,
    undo: Annotated[
        bool, Parameter(negative=(), help="Withdraw earlier decisions about them: the policy decides again.")
    ] = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=(), help="Don't ask before.")] = False,
    cores: Cores = None,
    dry_run: DryRun = False,
) -> None:
    """Record that objects belong to another tier than the policy says, and bring files and report up to date.

    Objects that share a unit share its decision: the whole unit goes. It stays through other scores, policies and
    scans, until another decision or `--undo`.
    """
    workflow = resolve(config_of(results) | {"output": str(results)})
    wanted = _wanted_tier(tier, workflow.config, undo=undo)
    decides = {"by": _person(by), "reason": _reason(reason, undo=undo)}
    console = Console()
    choice = _choose(workflow.output, query)
    if not choice.objects:
        console.print("No object fits the query: nothing to decide.")
        return
    _show(choice, wanted, console)
    if dry_run:
        console.print("Dry run: nothing was decided.")
        return
    if not yes:
        _ask(console)
    decision = Decision(
        tier=wanted,
        at=utc_now(),
        query=_printable(query),
        units=choice.units,
        objects=choice.objects,
        others=choice.others,
        **decides,
    )
    with held(workflow.output) as watched:
        corrections.append(workflow.output, decision)
    console.print(f"Decided, and kept in {corrections.path_of(workflow.output)}", soft_wrap=True, highlight=False)
    if watched:
        _let_watcher_place(workflow.output, decision, console)
        return
    execute(workflow, cores=cores, target="all", dry_run=False, console=Console(stderr=True))
    show_summary(workflow.output, console)


def _let_watcher_place(output: Path, decision: Decision, console: Console) -> None:
    names = [*decision.objects, *decision.others]
    with closing(Ledger(output)) as ledger:
        answer = ask(ledger, "relabel", patience_s=_PATIENCE_S, arguments={"object_ids": names})
    if not answer:
        raise TryAgainError(f"the watching process of {output} is busy: it brings the files there when it can")
    if not answer["ok"]:
        raise TierflowError(answer["problem"])
    console.print(f"{answer['objects']:,} objects are where they belong now.", highlight=False)


def _wanted_tier(tier: str | None, config: Config, *, undo: bool) -> str | None:
    if undo == (tier is not None):
        raise ConfigError("give either --tier NAME to decide, or --undo to withdraw decisions")
    known = [*config.tiers, QUARANTINE]
    if tier is not None and tier not in known:
        raise ConfigError(f"--tier {tier!r}: the run has no such tier, expected one of {', '.join(known)}")
    return tier


def _person(by: str | None) -> str:
    try:
        name = _printable(getpass.getuser() if by is None else by)
    except (OSError, KeyError, ImportError) as error:
        raise ConfigError("nobody knows who you are here: give your name by --by") from error
    if not name:
        raise ConfigError("--by is empty: give the name of who decides")
    return name


def _reason(reason: str, *, undo: bool) -> str:
    text = _printable(reason)
    if not text and not undo:
        raise ConfigError("--reason is missing: say why, so that others can follow the decision")
    return text


def _printable(text: str) -> str:
    return text.strip().encode("utf-8", "backslashreplace").decode()


def _choose(output: Path, query: str) -> Choice:
    catalogue = ParquetCatalogue(output)
    filters = parse(query, catalogue.fields())
    found = catalogue.batches(Query(filters, limit=None, columns=("object_id",))).read_all()
    everything = catalogue.batches(Query(limit=None, columns=("unit_id", "status", "tier"))).read_all()
    return corrections.choose_units(map(str, found["object_id"].to_pylist()), everything, failed_tier=QUARANTINE)


def _show(choice: Choice, wanted: str | None, console: Console) -> None:
    target = "what the policy says" if wanted is None else wanted
    grid = Table(title=f"{len(choice.objects):,} objects found", title_justify="left")
    grid.add_column("now in tier")
    grid.add_column("goes to")
    grid.add_column("objects", justify="right")
    for name, number in sorted(choice.tiers.items()):
        grid.add_row(name, target, f"{number:,}")
    if choice.staying:
        grid.add_row(QUARANTINE, "stays", f"{choice.staying:,}")
    console.print(grid)
    if choice.others:
        console.print(
            f"With them go {len(choice.others) - choice.staying:,} other objects: a unit shares one decision, and "
            f"these are {len(choice.units):,} units.",
            soft_wrap=True,
        )
    if choice.staying:
        console.print(
            "Objects that couldn't be measured stay in quarantine unless the query itself finds them.", soft_wrap=True
        )


def _ask(console: Console) -> None:
    if not sys.stdin.isatty():
        raise ConfigError("nobody is there to ask: add --yes to decide, or --dry-run to look only")
    if not Confirm.ask("Decide so?", console=console, default=False):
        raise ConfigError("nothing was decided: you said no")

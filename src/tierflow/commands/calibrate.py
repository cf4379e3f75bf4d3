"""`tierflow calibrate`: cut-offs that agree best with what people decided."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import yaml
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from tierflow import named_sets
from tierflow.calibration import Agreement, best_minima, compare, intervals, require_enough, tiers_under
from tierflow.commands._options import Results, config_of
from tierflow.config import Config
from tierflow.config_io import validate
from tierflow.decided import Decided, read_decided

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def calibrate(
    results: Results,
    /,
    *,
    save: Annotated[str | None, Parameter(help="Keep the new policy as a parameter set of this name.")] = None,
) -> None:
    """Find the cut-offs under which most units get the tier that people chose by `tierflow relabel`.

    Nothing is changed: the last lines say how to use them. Units that nobody decided about don't count.
    """
    config = validate(config_of(results), where=str(results))
    tiers = list(config.tiers)
    found = read_decided(results.absolute(), tiers=tiers)
    chosen = np.array(found.chosen, dtype=np.int64)
    require_enough(chosen, tiers=len(tiers))
    score = np.array(found.score)
    minima = best_minima(score, chosen, tiers=len(tiers))
    ranges = intervals(tiers, minima)
    console = Console()
    before = compare(chosen, np.array(found.by_policy, dtype=np.int64), tiers=len(tiers))
    after = compare(chosen, tiers_under(score, minima), tiers=len(tiers))
    _show(before, f"now ({config.policy.kind})", tiers, console)
    _show(after, "calibrated", tiers, console)
    _show_others(found, console)
    policy = {"kind": "interval", "parameters": {"intervals": ranges}}
    _show_use(results, config, policy, save, console)


def _show(agreement: Agreement, title: str, tiers: Sequence[str], console: Console) -> None:
    share = agreement.agreeing / agreement.units
    title = f"{title}: agrees with people on {agreement.agreeing:,} of {agreement.units:,} units ({share:.0%})"
    grid = Table(title=title, title_justify="left")
    grid.add_column("people chose")
    for tier in tiers:
        grid.add_column(f"policy: {tier}", justify="right")
    for tier, row in zip(tiers, agreement.table.tolist(), strict=True):
        grid.add_row(tier, *(f"{number:,}" for number in row))
    console.print(grid)


def _show_others(found: Decided, console: Console) -> None:
    console.print(f"{found.undecided:,} units have no human decision: whether people agree there is not known.")
    if found.forced:
        console.print(
            f"{found.forced:,} decided units don't count: a flag sends them to a tier, whatever the cut-offs."
        )
    if found.elsewhere:
        console.print(f"{found.elsewhere:,} decided units don't count: people sent them to quarantine.")


def _show_use(results: Path, config: Config, policy: Mapping[str, object], save: str | None, console: Console) -> None:
    plain = console.print
    text = yaml.safe_dump({"policy": policy}, sort_keys=False)
    plain(f"\nThe policy:\n{text}", highlight=False, markup=False)
    left_out = [tier for tier in config.tiers if f"tier: {tier}\n" not in text]
    if left_out:
        plain(f"No value is left for {', '.join(left_out)}: people's choices leave no room there.", soft_wrap=True)
    folder = shlex.quote(str(results))
    if save is None:
        plain("Write these lines to a file such as calibrated.yaml; then", highlight=False)
        plain(f"  tierflow place {folder} --config calibrated.yaml --dry-run", soft_wrap=True, highlight=False)
        return
    kept = {**policy, "flag_tiers": dict(config.policy.flag_tiers)}
    changed = validate({**config.model_dump(mode="json"), "policy": kept})
    made, _ = named_sets.save(save, changed, about=f"calibrated from people's decisions in {results.name}")
    plain(f"Saved as {made.name}@{made.version}; to use it", highlight=False, soft_wrap=True)
    plain(f"  tierflow place {folder} --params {made.name}@{made.version}", soft_wrap=True, highlight=False)

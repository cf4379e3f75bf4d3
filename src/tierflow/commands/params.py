"""`tierflow params`: parameters of score and policy under a name, for later runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from tierflow import named_sets
from tierflow.commands._console import console
from tierflow.commands._options import ConfigFile, config_of, configured
from tierflow.config_io import validate
from tierflow.errors import ConfigError

Reference = Annotated[str, Parameter(help="NAME for its newest version, or NAME@DIGEST.")]

_EXAMPLES = """Examples:
```
tierflow params save screen --from results
tierflow run next_plate --params screen
```
"""

app = App(
    name="params",
    help="Save parameters of score and policy under a name, and look at them.",
    help_epilogue=_EXAMPLES,
    result_action="return_value",
)


@app.command
def save(
    name: Annotated[str, Parameter(help="Name of the set.")],
    /,
    *,
    results: Annotated[Path | None, Parameter(name="--from", help="Output folder of a run that used them.")] = None,
    config: ConfigFile = None,
    about: Annotated[str, Parameter(help="What the set is for.")] = "",
) -> None:
    """Keep `score`, `baseline` and `policy` of a run or of a file. What was saved is never overwritten."""
    if (results is None) == (config is None):
        raise ConfigError("give either --from OUTPUT or --config FILE: whose parameters?")
    tree = config_of(results) if results is not None else configured({}, config=config, settings=None)
    made, is_new = named_sets.save(name, validate(tree), about=about)
    if is_new:
        print(f"saved {made.name}@{made.version}; use it by `tierflow run FOLDER --params {made.name}`")  # noqa: T201
    else:
        print(f"{made.name}@{made.version} holds the same since {made.saved_at[:10]}; nothing was written")  # noqa: T201


@app.command(name="list")
def list_sets() -> None:
    """List all sets, every version."""
    found = named_sets.all_sets()
    grid = Table()
    for heading in ("name", "version", "saved", "function", "policy", "about"):
        grid.add_column(heading, overflow="fold")
    for made in found:
        function, policy = made.sections["score"].get("function"), made.sections["policy"].get("kind")
        grid.add_row(made.name, made.version, made.saved_at[:16], str(function), str(policy), made.about)
    out = console(markup=False)
    if found:
        out.print(grid)
    else:
        out.print("no parameter set was saved yet: tierflow params save NAME --from OUTPUT")


@app.command
def show(reference: Reference, /) -> None:
    """Print a set as YAML; its sections can be used as a configuration file."""
    print(named_sets.dump(named_sets.find(reference)), end="")  # noqa: T201


@app.command
def diff(old: Reference, new: Reference, /) -> None:
    """Print every key that differs between two sets, with both values."""
    found = named_sets.differences(named_sets.find(old).sections, named_sets.find(new).sections)
    for key, before, after in found:
        print(f"{key}: {before or '(none)'} -> {after or '(none)'}")  # noqa: T201
    if not found:
        print(f"{json.dumps(old)} and {json.dumps(new)} say the same")  # noqa: T201

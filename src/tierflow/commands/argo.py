"""`tierflow argo`: the same steps on Kubernetes, by Argo Workflows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console

from tierflow.commands._argo_client import add_to

app = App(name="argo", help="Render and check the workflow templates for Argo; submit, watch and retry runs.")
add_to(app)

_TEMPLATES = Path("argo/templates")
_BASE = Path("argo/base")


@app.command
def render(
    *,
    to: Annotated[Path, Parameter(help="Folder to write to.")] = _TEMPLATES,
    check: Annotated[bool, Parameter(negative=(), help="Write nothing; exit 1 if the files are out of date.")] = False,
) -> int:
    """Write the workflow templates that follow from the step table."""
    from tierflow.argo import render as rendering

    console = Console(highlight=False, soft_wrap=True)
    if not check:
        rendering.write(to)
        console.print(f"Written: {to}", markup=False)
        return 0
    difference = rendering.differences(to)
    if difference:
        console.print(f"{difference}\n{to} is out of date; mend it with: tierflow argo render --to {to}", markup=False)
    return int(bool(difference))


@app.command
def lint(
    files: Annotated[list[Path] | None, Parameter(help="Workflow files, or folders of them.")] = None,
    /,
    *,
    base: Annotated[
        Path | None,
        Parameter(help="Folder that defines ConfigMaps, Secrets, claims and accounts; argo/base where it is there."),
    ] = None,
) -> int:
    """Check workflow files without a cluster, more strictly than `argo lint`, which is called too if it is there."""
    from tierflow.argo import lint as linting
    from tierflow.argo.lint_files import read_defined

    paths = files or [_TEMPLATES]
    if base is None and _BASE.exists():
        base = _BASE
    found = linting.problems(paths, defined=read_defined(base) if base else None)
    by_argo = linting.run_argo(paths)
    console = Console(highlight=False, soft_wrap=True)
    for problem in [*found, *([by_argo] if by_argo else [])]:
        console.print(problem, markup=False)
    if not found and not by_argo:
        without = " (the program argo isn't there; `argo lint --offline` was left out)" if by_argo is None else ""
        console.print(f"No problem found{without}.", markup=False)
    return int(bool(found or by_argo))

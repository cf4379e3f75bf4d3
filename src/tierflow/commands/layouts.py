"""`tierflow layouts`: which naming layout fits a folder, and what would be read from each name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tierflow import plugins
from tierflow.commands._options import ConfigFile, Settings, configured
from tierflow.config_io import validate
from tierflow.scan.describe import describe
from tierflow.tables import NAME_COLUMNS

if TYPE_CHECKING:
    from tierflow.scan.describe import Description


def layouts(
    folder: Annotated[Path, Parameter(help="Folder of images.")],
    /,
    *,
    config: ConfigFile = None,
    set: Settings = None,  # noqa: A002
    limit: Annotated[int, Parameter(help="Names to show.")] = 20,
) -> None:
    """Show which naming layout fits a folder, how sure that is, and what would be read from each name."""
    scan = validate(configured({}, config=config, settings=set)).scan
    _show(describe(folder, scan, limit=limit), Console())


def _show(found: Description, console: Console) -> None:
    console.print(f"{found.files:,} image files; left out: {found.skipped or 'nothing'}", highlight=False)
    fits = Table("layout", "names it reads", "confidence", "about", title="layouts that fit", title_justify="left")
    abouts = {name: plugins.load("layouts", name).about for name in plugins.available("layouts")}
    for fit in found.fits:
        fits.add_row(fit.layout, f"{fit.share:.1%}", f"{fit.confidence:.2f}", escape(abouts[fit.layout]))
    console.print(fits)
    console.print("what would be read:")
    for example in found.examples:
        said = {name: getattr(example.names, name) for name in NAME_COLUMNS}
        words = ", ".join(f"{name} {value}" for name, value in said.items() if value is not None) or "nothing"
        console.print(repr(example.path)[1:-1], highlight=False, markup=False, soft_wrap=True)
        console.print(f"    {example.layout}: {words}", highlight=False, markup=False, soft_wrap=True)
    if found.more_folders:
        console.print(f"and {found.more_folders:,} more folders (--limit shows more)")
    if found.unparsed:
        console.print(f"{found.unparsed:,} names don't fit: they get plate and nothing else")
    for warning in found.warnings:
        console.print(f"warning: {escape(warning)}", highlight=False)

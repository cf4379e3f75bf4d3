"""`tierflow fetch`: the files of a search in one folder, with checksums and a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tierflow.catalogue.commands import DEFAULT_SORT, cell_text, query_of
from tierflow.catalogue.fetch import fetch as fetch_files
from tierflow.catalogue.fetch import wanted
from tierflow.catalogue.open import open_catalogue
from tierflow.commands._options import DryRun
from tierflow.commands.search import Query, SortKeys, Where
from tierflow.errors import EXIT_INTERNAL
from tierflow.summary import human_bytes

if TYPE_CHECKING:
    from tierflow.catalogue.fetch import FetchReport

MOST_SHOWN = 20


def fetch(
    query: Query = "",
    /,
    *,
    where: Where,
    to: Annotated[Path, Parameter(help="Folder to bring the files to; made when it isn't there.")],
    link: Annotated[
        bool, Parameter(name="--link", negative="--copy", help="Symbolic links to the files, or verified copies.")
    ] = False,
    sort: SortKeys = DEFAULT_SORT,
    limit: Annotated[int | None, Parameter(help="Most files.")] = None,
    dry_run: DryRun = False,
) -> int:
    """Bring the files of a search together in a folder: copies with checked SHA-256, and `manifest.csv`.

    Files keep their paths relative to the input. Nothing is overwritten: a different file with the same path, such as
    one of another run, goes to a folder named after its run. A stopped call goes on when it is repeated. Files that are
    missing or changed are listed, the others are brought, and the exit code is 70.
    """
    catalogue = open_catalogue(where)
    files = wanted(catalogue, query_of(catalogue, query, sort=sort, limit=limit))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("fetching", total=len(files))
        report = fetch_files(
            files, to, how="link" if link else "copy", dry_run=dry_run, on_done=lambda: bar.advance(task)
        )
    _show(report, to, Console(soft_wrap=True, markup=False, highlight=False))
    return EXIT_INTERNAL if report.bad else 0


def _show(report: FetchReport, to: Path, console: Console) -> None:
    if not report.entries:
        console.print("no object fulfils the query: nothing to fetch")
    for status in dict.fromkeys(entry.status for entry in report.entries):
        console.print(f"{status}: {report.count(status):,} files ({human_bytes(report.bytes_of(status))})")
    for entry in report.bad[:MOST_SHOWN]:
        _line(console, f"  {entry.status}: {entry.problem}")
    if len(report.bad) > MOST_SHOWN:
        console.print(f"  and {len(report.bad) - MOST_SHOWN:,} more, see the manifest")
    if report.manifest is not None:
        _line(console, f"list of all files: {to / report.manifest.name}")


def _line(console: Console, text: str) -> None:
    # Names may hold newlines, and bytes that aren't UTF-8.
    console.print(cell_text(text.encode("utf-8", "backslashreplace").decode()))

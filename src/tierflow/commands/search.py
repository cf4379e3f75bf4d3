"""`tierflow search`, `facets` and `export`: find objects in the catalogue of a run or of a server."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from tierflow.catalogue.commands import (
    DEFAULT_SORT,
    Rows,
    cell_text,
    export_command,
    facets_command,
    query_of,
    search_command,
    write_rows,
)
from tierflow.catalogue.open import open_catalogue
from tierflow.commands._console import console
from tierflow.errors import QueryError
from tierflow.opening import Viewer, open_found

if TYPE_CHECKING:
    from tierflow.catalogue.export import Format

Where = Annotated[
    str,
    Parameter(
        name="--from",
        help="Output folder of a run, or the address of a server that holds many runs, such as "
        "http://search.lab:9200/lab-objects; `run:NAME` in the query picks one.",
    ),
]
Query = Annotated[
    str,
    Parameter(
        help="Such as `tier:A well:B0* features.snr>5 flag:saturated`; `and`, `or`, `not`, brackets and quotes work, "
        "a bare word searches in the path. Everything without it."
    ),
]
SortKeys = Annotated[
    str,
    Parameter(allow_leading_hyphen=True, help="Fields with commas between them, `-` in front for descending."),
]
Columns = Annotated[str, Parameter(help="Fields with commas between them, such as `tier,well,features.snr`.")]


def search(
    query: Query = "",
    /,
    *,
    where: Where,
    sort: SortKeys = DEFAULT_SORT,
    columns: Columns = "",
    limit: Annotated[int | None, Parameter(help="Most objects; 20 in a table, all in other formats.")] = None,
    cursor: Annotated[str | None, Parameter(help="Go on where the note below a table says.")] = None,
    format: Annotated[  # noqa: A002
        Literal["table", "csv", "json", "jsonl", "parquet", "paths", "paths0"],
        Parameter(
            name=["--format", "-f"],
            help="`paths` gives where the files are now, one per line; `paths0` with NUL between them for `xargs -0`.",
        ),
    ] = "table",
    open: Annotated[  # noqa: A002
        Viewer | None,
        Parameter(
            help="Look at the files instead: `report` is a page with pictures, `folder` a folder of links, `napari` "
            "starts napari."
        ),
    ] = None,
    to: Annotated[Path | None, Parameter(help="Folder for the page or the links; a temporary one without it.")] = None,
) -> None:
    """Find objects. The first columns are always `object_id` and `path`."""
    if open is not None:
        _open(where, query, viewer=open, sort=sort, limit=limit, to=to)
        return
    if to is not None:
        raise QueryError("--to goes with --open report or --open folder: use `tierflow export` to write a table")

    def run(fmt: Format | Literal["table"], target: BinaryIO) -> Rows | None:
        return search_command(
            where, query, target=target, sort=sort, columns=columns, limit=limit, cursor=cursor, fmt=fmt
        )

    if format == "table":
        rows = run("table", sys.stdout.buffer)
        if rows is not None:
            _show(rows)
    elif format == "json":
        lines = io.BytesIO()
        run("json", lines)
        _write_array(lines)
    else:
        run("json" if format == "jsonl" else format, sys.stdout.buffer)


def _open(where: str, query: str, *, viewer: Viewer, sort: str, limit: int | None, to: Path | None) -> None:
    catalogue = open_catalogue(where)
    asked = query_of(catalogue, query, sort=sort, limit=limit)
    told = open_found(catalogue, asked, viewer, folder=to, where=where, told=query)
    sys.stdout.write(cell_text(told.encode("utf-8", "backslashreplace").decode()) + "\n")


def _write_array(lines: io.BytesIO) -> None:
    lines.seek(0)
    out, first = sys.stdout.buffer, True
    out.write(b"[")
    for line in lines:
        out.write((b"\n" if first else b",\n") + line.rstrip(b"\n"))
        first = False
    out.write(b"\n]\n")


def facets(
    field: Annotated[str, Parameter(help="Field to summarise, such as `tier`, `flag` or `features.snr`.")],
    query: Query = "",
    /,
    *,
    where: Where,
    by: Annotated[str | None, Parameter(help="Give numbers for each value of this field.")] = None,
    bins: Annotated[int | None, Parameter(help="Give a histogram of so many bins.")] = None,
    limit: Annotated[int, Parameter(help="Most values counted.")] = 20,
    format: Annotated[Literal["table", "csv", "json"], Parameter(name=["--format", "-f"])] = "table",  # noqa: A002
) -> None:
    """Count objects per value of a field, or summarise a number: extremes, mean, percentiles."""
    rows = facets_command(where, field, query, by=by, bins=bins, limit=limit)
    if format == "table":
        _show(rows)
    elif format == "csv":
        write_rows(rows, "csv", sys.stdout.buffer)
    else:
        lines = io.BytesIO()
        write_rows(rows, "json", lines)
        _write_array(lines)


def export(
    target: Annotated[Path, Parameter(help="File to write; its ending says the format: .parquet, .csv, .json, .txt.")],
    query: Query = "",
    /,
    *,
    where: Where,
    sort: SortKeys = DEFAULT_SORT,
    columns: Columns = "",
    limit: Annotated[int | None, Parameter(help="Most objects.")] = None,
    format: Annotated[  # noqa: A002
        Literal["parquet", "csv", "json", "paths", "paths0"] | None, Parameter(name=["--format", "-f"])
    ] = None,
) -> None:
    """Write the objects of a search to a file, whole or not at all. JSON has an object per line."""
    count = export_command(where, target, query, sort=sort, columns=columns, limit=limit, fmt=format)
    Console(stderr=True).print(f"{count:,} objects written to {target}", highlight=False, soft_wrap=True)


def _show(rows: Rows) -> None:
    grid = Table()
    for name in rows.columns:
        grid.add_column(name, overflow="fold")
    for row in rows.rows:
        grid.add_row(*(cell_text(value) for value in row))
    out = console(markup=False)
    out.print(grid)
    if rows.note:
        out.print(rows.note, highlight=False, soft_wrap=True)

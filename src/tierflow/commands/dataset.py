"""`tierflow dataset`: what is known about the objects of a data set, described and checked once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from cyclopts import App, Parameter
from rich.table import Table

from tierflow import datasets
from tierflow.commands._console import console
from tierflow.metadata_cells import read_texts

FIRST_ROWS = 5

_EXAMPLES = """Examples:
```
tierflow dataset register screen --schema fields.yaml --table plate_map.csv
tierflow run plates --dataset screen
```
"""

app = App(
    name="dataset",
    help="Register what is known about a data set: compound, dose ...",
    help_epilogue=_EXAMPLES,
    result_action="return_value",
)


@app.command
def register(
    name: Annotated[str, Parameter(help="Name of the data set; it becomes part of every object's id.")],
    /,
    *,
    schema: Annotated[Path, Parameter(help="YAML file with `key` and `fields`, as in the section `metadata`.")],
    table: Annotated[Path, Parameter(help="CSV or Parquet file with the key's columns and one per field.")],
    about: Annotated[str, Parameter(help="What the data set is.")] = "",
) -> None:
    """Check a table against its schema and keep both. What was registered is never overwritten."""
    made, is_new = datasets.register(name, schema=schema, table=table, about=about)
    if is_new:
        fields = ", ".join(made.schema["fields"])
        print(f"registered {made.name}@{made.version}: {made.rows:,} rows with {fields}")  # noqa: T201
        print(f"use it by `tierflow run FOLDER --dataset {made.name}`")  # noqa: T201
    else:
        since = made.registered_at[:10]
        print(f"{made.name}@{made.version} holds the same since {since}; nothing was written")  # noqa: T201


@app.command(name="list")
def list_datasets() -> None:
    """List all data sets, every version."""
    found = datasets.all_datasets()
    grid = Table()
    for heading in ("name", "version", "registered", "rows", "key", "fields", "about"):
        grid.add_column(heading, overflow="fold")
    for made in found:
        key, fields = ", ".join(made.schema["key"]), ", ".join(made.schema["fields"])
        grid.add_row(made.name, made.version, made.registered_at[:16], f"{made.rows:,}", key, fields, made.about)
    out = console(markup=False)
    if found:
        out.print(grid)
    else:
        out.print("no data set was registered yet: tierflow dataset register NAME --schema FILE --table FILE")


@app.command
def show(reference: Annotated[str, Parameter(help="NAME for its newest version, or NAME@VERSION.")], /) -> None:
    """Print schema, checksum and the first rows of a data set."""
    made = datasets.find(reference)
    head = {
        "name": made.name,
        "version": made.version,
        "registered_at": made.registered_at,
        "about": made.about,
        "rows": made.rows,
        "table": str(made.table),
        "sha256": made.sha256,
        **made.schema,
    }
    print(yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=120), end="")  # noqa: T201
    columns = read_texts(made.table)
    grid = Table(title=f"the first rows of {made.rows:,}", title_justify="left")
    for name in columns:
        grid.add_column(name, overflow="fold")
    for row in zip(*(column.slice(0, FIRST_ROWS).to_pylist() for column in columns.values()), strict=True):
        grid.add_row(*("" if cell is None else cell for cell in row))
    console(markup=False).print(grid)

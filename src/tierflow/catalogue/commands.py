"""What `tierflow search`, `facets` and `export` do, apart from reading the command line and drawing tables."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from tierflow.catalogue.base import PERCENTS
from tierflow.catalogue.export import export
from tierflow.catalogue.language import parse
from tierflow.catalogue.open import open_catalogue
from tierflow.catalogue.query import MAX_PAGE, Query, Sort
from tierflow.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tierflow.catalogue.base import Catalogue
    from tierflow.catalogue.export import Format
    from tierflow.catalogue.query import Filter

DEFAULT_SORT = "path"
DEFAULT_COLUMNS = "tier,interestingness,flags,status,plate,well,site,channel"
DEFAULT_ROWS = 20
SUFFIXES: dict[str, Format] = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".txt": "paths",
}


@dataclass(frozen=True, slots=True)
class Rows:
    """A small table to show.

    Attributes:
        columns: Headings.
        rows: Values as they are; `cell_text` makes them fit for a terminal.
        note: A sentence to show below it, "" for none.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""


def search_command(
    where: str | Path,
    query: str = "",
    *,
    target: BinaryIO,
    sort: str = DEFAULT_SORT,
    columns: str = "",
    limit: int | None = None,
    cursor: str | None = None,
    fmt: Format | Literal["table"] = "table",
) -> Rows | None:
    """Find objects.

    Args:
        where: Output folder of a run, or address of a server.
        query: Query in the language of `tierflow.catalogue.language`; "" for all objects.
        target: Where formats other than `table` are written.
        sort: Field names with commas between them, each with "-" in front for descending order.
        columns: Field names with commas between them; "" for a useful choice (table) or all.
        limit: Most objects; None for 20 in a table and all of them in other formats.
        cursor: Where the page begins, for a table: as the note of the page before said.
        fmt: `table`, or a format of `tierflow.catalogue.export.export`.

    Returns:
        The table to show; None where `target` was written.

    Raises:
        QueryError: if query, sort, columns, limit or cursor can't be understood.
        InputMissingError: if there is no catalogue.
    """
    catalogue = open_catalogue(where)
    if fmt == "table":
        rows = DEFAULT_ROWS if limit is None else limit
        asked = query_of(catalogue, query, sort=sort, columns=columns or DEFAULT_COLUMNS, limit=rows)
        return _page(catalogue, replace(asked, cursor=cursor))
    if cursor is not None:
        raise QueryError("--cursor goes with --format table: other formats hold all objects, or the first --limit")
    export(catalogue, query_of(catalogue, query, sort=sort, columns=columns, limit=limit), fmt, target)
    return None


def export_command(
    where: str | Path,
    target: Path,
    query: str = "",
    *,
    sort: str = DEFAULT_SORT,
    columns: str = "",
    limit: int | None = None,
    fmt: Format | None = None,
) -> int:
    """Write the objects of a query to a file, whole or not at all.

    Args:
        where: Output folder of a run, or address of a server.
        target: File to write.
        query: As for `search_command`.
        sort: As for `search_command`.
        columns: As for `search_command`; "" for all.
        limit: Most objects; None for all.
        fmt: Format; None: by the file's suffix.

    Returns:
        The number of objects written.

    Raises:
        QueryError: if an argument can't be understood.
        InputMissingError: if there is no catalogue.
    """
    chosen = fmt or SUFFIXES.get(target.suffix.lower())
    if chosen is None:
        raise QueryError(
            f"can't tell the format of {target.name!r}: end it with {', '.join(SUFFIXES)}, or give the format"
        )
    catalogue = open_catalogue(where)
    return export(catalogue, query_of(catalogue, query, sort=sort, columns=columns, limit=limit), chosen, target)


def facets_command(
    where: str | Path,
    field: str,
    query: str = "",
    *,
    by: str | None = None,
    bins: int | None = None,
    limit: int = DEFAULT_ROWS,
) -> Rows:
    """Summarise one field: counts of its values, or numbers about them.

    Text and whole numbers are counted by value. Numbers give count, extremes, mean, standard deviation and percentiles.

    Args:
        where: Output folder of a run, or address of a server.
        field: Field to summarise.
        query: Objects to look at, as for `search_command`.
        by: Give numbers about `field` for each value of this field instead.
        bins: Give a histogram of so many equal bins instead.
        limit: Most values counted.

    Raises:
        QueryError: if an argument can't be understood, or both `by` and `bins` are given.
        InputMissingError: if there is no catalogue.
    """
    if by is not None and bins is not None:
        raise QueryError("--by and --bins exclude each other: give one of them")
    catalogue = open_catalogue(where)
    filters = parse(query, catalogue.fields())
    if bins is not None:
        found = catalogue.histogram(field, bins=bins, filters=filters)
        return Rows(("from", "to", "objects"), tuple((b.low, b.high, b.count) for b in found))
    if by is not None:
        return _stats(catalogue, field, by, filters)
    if catalogue.fields().find(field).kind == "number":
        return _numbers(catalogue, field, filters)
    _check_limit(limit)
    values = catalogue.facets(field, filters=filters, limit=limit)
    note = f"the first {limit} values" if len(values) == limit else ""
    return Rows((field, "objects"), tuple(values), note)


def query_of(catalogue: Catalogue, query: str, *, sort: str, columns: str = "", limit: int | None = None) -> Query:
    """Return a query for all objects, up to a limit, from what a user wrote.

    Raises:
        QueryError: if an argument can't be understood.
    """
    _check_limit(limit)
    filters = parse(query, catalogue.fields())
    return Query(filters, sort=parse_sort(sort), limit=limit, columns=parse_names(columns))


def parse_sort(text: str) -> tuple[Sort, ...]:
    """Read sort keys: field names with commas between them, "-" in front for descending order.

    >>> parse_sort("-interestingness, path")
    (Sort(field='interestingness', descending=True), Sort(field='path', descending=False))
    """
    return tuple(Sort(name.removeprefix("-"), descending=name.startswith("-")) for name in parse_names(text))


def parse_names(text: str) -> tuple[str, ...]:
    """Read names with commas between them.

    >>> parse_names("tier, snr")
    ('tier', 'snr')
    """
    return tuple(name for part in text.split(",") if (name := part.strip()))


def cell_text(value: object) -> str:
    r"""Return a value as text for a terminal: at most 6 digits, no control characters.

    >>> cell_text(0.123456789), cell_text(["blank", "saturated"]), cell_text("a\nb")
    ('0.123457', 'blank;saturated', 'a\\nb')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bytes):
        return value.hex()
    text = ";".join(map(str, value)) if isinstance(value, list) else str(value)
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def write_rows(rows: Rows, fmt: Literal["csv", "json"], target: BinaryIO) -> None:
    """Write a small table as CSV, or as JSON with an object per line, in full precision."""
    if fmt == "json":
        lines = (json.dumps(dict(zip(rows.columns, row, strict=True)), ensure_ascii=False) for row in rows.rows)
        target.write("".join(f"{line}\n" for line in lines).encode())
        return
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows.columns)
    writer.writerows(rows.rows)
    target.write(text.getvalue().encode())


def _page(catalogue: Catalogue, query: Query) -> Rows:
    page = catalogue.search(query)
    rows: Iterable[tuple[Any, ...]] = (tuple(row.values()) for row in page.rows)
    known = catalogue.fields()
    headings = dict.fromkeys(["object_id", "path", *(known.find(name).column for name in query.columns)])
    note = f"{len(page.rows):,} of {page.total:,} objects"
    if page.next_cursor is not None:
        note += f"; next page: --cursor {page.next_cursor}"
    return Rows(tuple(headings), tuple(rows), note)


def _stats(catalogue: Catalogue, field: str, by: str, filters: Filter) -> Rows:
    found = catalogue.stats(field, by=by, filters=filters)
    rows = tuple((s.group, s.count, s.minimum, s.mean, s.maximum, s.sd) for s in found)
    return Rows((by, "objects", "minimum", "mean", "maximum", "sd"), rows, f"of {field}")


def _numbers(catalogue: Catalogue, field: str, filters: Filter) -> Rows:
    [whole] = catalogue.stats(field, filters=filters)
    percentiles = catalogue.percentiles(field, percents=PERCENTS, filters=filters)
    rows: list[tuple[str, float | None]] = [("objects", whole.count), ("minimum", whole.minimum)]
    rows += [(f"{percent:g} %", value) for percent, value in percentiles.items()]
    rows += [("maximum", whole.maximum), ("mean", whole.mean), ("sd", whole.sd)]
    return Rows((field, "value"), tuple(rows))


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise QueryError(f"limit {limit}: expected 1 or more (a table shows up to {MAX_PAGE:,})")

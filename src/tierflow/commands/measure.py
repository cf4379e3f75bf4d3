"""`tierflow measure`: the features of a few files at once, a row per plane."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pyarrow.parquet as pq
from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from tierflow import tables
from tierflow.commands._console import console
from tierflow.commands._options import ConfigFile, Settings, configured
from tierflow.config_io import merge, validate
from tierflow.errors import EXIT_INPUT_MISSING, ConfigError, ObjectError
from tierflow.io.identity import display_path, object_id
from tierflow.io.readers import load
from tierflow.measure import make_extractors, measure_object, units_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierflow.config import Extract

Format = Literal["table", "csv", "json", "parquet"]
Row = dict[str, Any]

FIRST = ("path", "series", "c", "z", "t", "status")
# A terminal has room for these; the other formats hold everything.
SHOWN = ("mid_band_share", "structure_snr", "saturated_share", "ImageQuality_PowerLogLogSlope")


def measure(
    files: Annotated[list[Path], Parameter(help="Image files; a folder stands for its files.")],
    /,
    *,
    scales: Annotated[
        list[int] | None, Parameter(consume_multiple=True, help="Scales of LocalFocusScore and Correlation, in pixels.")
    ] = None,
    format: Annotated[Format, Parameter(name=["--format", "-f"], help="What to print.")] = "table",  # noqa: A002
    config: ConfigFile = None,
    set: Settings = None,  # noqa: A002
) -> int:
    """Measure a few files at once and print their features, a row per plane.

    CSV and JSON are printed at full precision. A file that can't be read is a row with status `failed` and a reason.
    The exit code is 66 when a file isn't there.
    """
    tree = configured({}, config=config, settings=set)
    if scales:
        tree = merge(tree, {"extract": {"scales_px": scales}})
    settings = validate(tree, where="--scales").extract
    rows = _measured(_files(files), settings)
    features = list(units_of(make_extractors(settings)))
    columns = [*FIRST, *(c for c in ("flag", "reason", *tables.EXTRACT_COLUMNS) if c not in _UNSHOWN), *features]
    _print(rows, list(dict.fromkeys(columns)), format)
    return EXIT_INPUT_MISSING if any(row["flag"] == "missing" for row in rows) else 0


_UNSHOWN = frozenset(("object_id", "histogram"))


def _files(given: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in given:
        inside = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        if not inside:
            raise ConfigError(f"folder {path} holds no files: give image files, or use `tierflow run` for a whole tree")
        found += inside
    return found


def _measured(files: Sequence[Path], settings: Extract) -> list[Row]:
    extractors = make_extractors(settings)
    rows: list[Row] = []
    # Progress goes to standard error: standard output may be a file.
    for path in track(files, "measuring", console=Console(stderr=True), transient=True, disable=len(files) < 2):
        name = str(path).encode("utf-8", "surrogateescape")
        try:
            source: Any = load(path)
        except ObjectError as error:
            source = error
        found = measure_object(
            source,
            object_id=object_id("", name),
            extractors=extractors,
            max_plane_mb=settings.max_plane_mb,
            pixel_size_um=settings.pixel_size_um,
        )
        blank = dict.fromkeys(("series", "c", "z", "t", "flag", "reason"))
        rows += [blank | row | {"path": display_path(name)} for row in found]
    return rows


def _print(rows: Sequence[Row], columns: Sequence[str], format: Format) -> None:  # noqa: A002
    if format == "table":
        _print_table(rows)
        return
    complete = [{column: row.get(column) for column in columns} for row in rows]
    if format == "json":
        json.dump(complete, sys.stdout, indent=1, ensure_ascii=False, allow_nan=False)
        sys.stdout.write("\n")
    elif format == "csv":
        writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(complete)
    else:
        stream = io.BytesIO()
        pq.write_table(tables.from_rows(complete, _schema(columns)), stream)
        sys.stdout.buffer.write(stream.getvalue())


def _schema(columns: Sequence[str]) -> Any:
    import pyarrow as pa

    known = {field.name: field for field in tables.EXTRACT_BASE}
    path = tables.field("path", pa.string(), "path as given")
    feature = [tables.field(name, pa.float64(), "feature") for name in columns]
    return pa.schema([path if f.name == "path" else known.get(f.name, f) for f in feature])


def _print_table(rows: Sequence[Row]) -> None:
    grid = Table()
    grid.add_column("path", overflow="fold")
    for heading in (*FIRST[1:], "size", *(name.removeprefix("ImageQuality_") for name in SHOWN)):
        grid.add_column(heading, no_wrap=True)
    reasons: dict[str, str] = {}
    for row in rows:
        size = f"{row['width']} x {row['height']}" if row.get("width") else ""
        values = ("" if row.get(name) is None else f"{row[name]:.4g}" for name in SHOWN)
        grid.add_row(*(escape("" if row[name] is None else str(row[name])) for name in FIRST), size, *values)
        if row["reason"]:
            reasons[row["path"]] = row["reason"]
    out = console()
    out.print(grid)
    for path, reason in reasons.items():
        out.print(f"{path}: {reason}", markup=False, highlight=False, soft_wrap=True)
    out.print("All features: --format csv, json or parquet.", highlight=False)

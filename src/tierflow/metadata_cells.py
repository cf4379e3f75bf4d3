"""The cells of a user's table: read as text from CSV or Parquet, then turned into what is declared."""

from __future__ import annotations

import csv
import re
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tierflow.errors import ConfigError, InputMissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

PARQUET = (".parquet", ".pq")
_DELIMITERS = ",;\t"
_TRUTH = {"true": "true", "yes": "true", "1": "true", "false": "false", "no": "false", "0": "false"}
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?")
_INTEGER = re.compile(r"[+-]?\d{1,18}")
_EXPECTED = {
    "integer": "a whole number such as 12",
    "number": "a number such as 0.5 (with a point, without a unit)",
    "boolean": "true or false",
    "date": "a date as 2026-11-21 or 2026-11-21T08:15:30Z",
}


def read_texts(path: Path) -> dict[str, Any]:
    """Return the cells of a CSV file (comma, semicolon or tab) or Parquet file as text by column; empty ones are null.

    Raises:
        InputMissingError: if the file isn't there.
        ConfigError: if it is neither, damaged, or not UTF-8.
    """
    try:
        return _read_parquet(path) if path.suffix.lower() in PARQUET else _read_csv(path)
    except FileNotFoundError as error:
        raise InputMissingError(
            f"the table {path} is missing: check the path, and that its share is mounted"
        ) from error
    except (pa.ArrowException, csv.Error, UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(
            f"{path} can't be read as a table ({error}): save it as CSV (UTF-8) with a header, or as Parquet"
        ) from error


def checked(column: Any, kind: str, *, name: str, rows: NDArray[np.int64], where: str) -> Any:
    """Turn text into what is declared: integers and numbers as such, truths as true or false, dates as ISO 8601.

    Args:
        column: Texts, null where empty, shape (row,).
        kind: `text`, `integer`, `number`, `boolean` or `date`.
        name: The field, for messages.
        rows: Number of each row in the file, likewise.
        where: The file, for messages.

    Raises:
        ConfigError: with row, field, value and what was expected.
    """
    if kind == "text":
        return column
    turn = _TURN[kind]
    distinct: Any = column.combine_chunks().dictionary_encode()
    values = []
    for text in distinct.dictionary.to_pylist():
        try:
            values.append(turn(text))
        except ValueError as error:
            place = pc.index(column, text).as_py()
            raise ConfigError(f"{where}, row {rows[place]}: {name} is {text!r}: expected {_EXPECTED[kind]}") from error
    types: dict[str, Any] = {"integer": pa.int64(), "number": pa.float64()}
    made: Any = pa.array(values, types.get(kind, pa.string()))
    return made.take(distinct.indices)


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    # Python reads 1_000 as a number, which hardly anybody means.
    if not np.isfinite(value) or "_" in text:
        raise ValueError(text)
    return value


def _truth(text: str) -> str:
    if text.lower() not in _TRUTH:
        raise ValueError(text)
    return _TRUTH[text.lower()]


def _date(text: str) -> str:
    if not _DATE.fullmatch(text):
        raise ValueError(text)
    datetime.fromisoformat(text)
    return text.replace(" ", "T")


_TURN: dict[str, Callable[[str], Any]] = {"integer": _integer, "number": _number, "boolean": _truth, "date": _date}


def _read_csv(path: Path) -> dict[str, Any]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        delimiter = max(_DELIMITERS, key=stream.readline().count)
        stream.seek(0)
        header, *rows = [list(map(str.strip, row)) for row in csv.reader(stream, delimiter=delimiter)] or [[]]
    if not any(header):
        raise ConfigError(f"{path} begins with an empty line: expected a header with the names of the columns")
    while header[-1] == "":
        header.pop()
    for number, row in enumerate(rows, start=2):
        if any(row[len(header) :]):
            raise ConfigError(
                f"{path}, row {number} has {len(row)} cells, but the header has {len(header)}: name every column, and "
                "put quotes around text that holds a comma"
            )
        row += [""] * (len(header) - len(row))
    columns = [[row[place] or None for row in rows] for place in range(len(header))]
    return _named(path, header, [pa.array(column, pa.string()) for column in columns])


def _read_parquet(path: Path) -> dict[str, Any]:
    table = pq.read_table(path)
    return _named(path, table.column_names, [_texts(column) for column in table.columns])


def _named(path: Path, names: Sequence[str], columns: Sequence[Any]) -> dict[str, Any]:
    names = [name.strip() for name in names]
    for place, name in enumerate(names):
        if not name:
            raise ConfigError(f"{path}: column {place + 1} has no name: give it one, or remove it")
        if name in names[:place]:
            raise ConfigError(f"{path}: the column {name!r} occurs twice: remove or rename one")
    return dict(zip(names, columns, strict=True))


def _texts(column: Any) -> Any:
    return pa.array([_text(value) for value in column.to_pylist()], pa.string())


def _text(value: object) -> str | None:
    if value is None or value != value:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        # Whole numbers with gaps are written as floating-point numbers by other programs.
        return str(int(value))
    if isinstance(value, date):
        return value.isoformat()
    return str(value).strip() or None

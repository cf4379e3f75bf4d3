"""Compile typed queries to DuckDB SQL. Values are always bound; identifiers come from the schema and are quoted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tierflow.catalogue.query import (
    TIE_BREAKERS,
    And,
    Contains,
    Eq,
    Exists,
    Filter,
    In,
    Not,
    Or,
    Prefix,
    Range,
    Scalar,
    Sort,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tierflow.catalogue.fields import Field, Fields

SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL and the values of its question marks, in order."""

    text: str
    values: tuple[Any, ...] = ()


def quoted(column: str) -> str:
    """Return a column's name as an SQL identifier."""
    return '"' + column.replace('"', '""') + '"'


def where(filters: Filter, fields: Fields) -> Sql:
    """Compile checked filters to a condition; where it is null, the filters aren't fulfilled.

    Args:
        filters: As `query.check` returns them.
        fields: The catalogue's fields.
    """
    match filters:
        case And(parts):
            return _joined(" AND ", "TRUE", (where(part, fields) for part in parts))
        case Or(parts):
            return _joined(" OR ", "FALSE", (where(part, fields) for part in parts))
        case Not(part):
            inner = where(part, fields)
            return Sql(f"({inner.text} IS NOT TRUE)", inner.values)
    return _leaf(filters, fields[filters.field])


def _joined(word: str, empty: str, parts: Iterable[Sql]) -> Sql:
    done = list(parts)
    text = word.join(part.text for part in done) if done else empty
    return Sql(f"({text})", tuple(value for part in done for value in part.values))


def _leaf(leaf: Eq | In | Range | Exists | Prefix | Contains, field: Field) -> Sql:
    column = quoted(field.column)
    if isinstance(leaf, Exists):
        return Sql(f"(len({column}) > 0)" if field.kind == "texts" else f"({column} IS NOT NULL)")
    condition = _condition(leaf)
    if field.kind == "texts":
        inner = condition("element")
        return Sql(f"(len(list_filter({column}, lambda element: {inner.text})) > 0)", inner.values)
    inner = condition(column)
    return Sql(f"({inner.text})", inner.values)


def _condition(leaf: Eq | In | Range | Prefix | Contains) -> Callable[[str], Sql]:
    """Return what makes the condition from the SQL of the compared value."""
    match leaf:
        case Eq(_, value):
            return lambda left: Sql(f"{left} = ?", (value,))
        case In(_, values):
            marks = ", ".join("?" * len(values))
            return lambda left: Sql(f"{left} IN ({marks})", values)
        case Prefix(_, text):
            return lambda left: Sql(f"starts_with({left}, ?)", (text,))
        case Contains(_, text):
            return lambda left: Sql(f"contains(lower({left}), lower(?))", (text,))
    bounds = leaf.bounds()
    return lambda left: Sql(" AND ".join(f"{left} {SIGNS[name]} ?" for name in bounds), tuple(bounds.values()))


def order_by(sort: Sequence[Sort], fields: Fields) -> str:
    """Return the ORDER BY list of checked sort keys, nulls last, `TIE_BREAKERS` breaking ties."""
    keys = [f"{quoted(fields[s.field].column)} {'DESC' if s.descending else 'ASC'} NULLS LAST" for s in sort]
    return ", ".join([*keys, *(f"{quoted(name)} ASC NULLS LAST" for name in TIE_BREAKERS)])


def after(values: Sequence[Scalar | None], sort: Sequence[Sort], fields: Fields) -> Sql:
    """Return the condition that a row comes after the row with these sort values.

    Args:
        values: Values of all sort keys, those of `TIE_BREAKERS` last.
        sort: Checked sort keys.
        fields: The catalogue's fields.
    """
    keys = [*sort, *(Sort(name) for name in TIE_BREAKERS)]
    cases = []
    for position, key in enumerate(keys):
        equal = [
            Sql(f"{quoted(fields[k.field].column)} IS NOT DISTINCT FROM ?", (v,))
            for k, v in zip(keys[:position], values[:position], strict=True)
        ]
        cases.append(_joined(" AND ", "TRUE", [*equal, _later(key, values[position], fields)]))
    return _joined(" OR ", "FALSE", cases)


def _later(key: Sort, value: Scalar | None, fields: Fields) -> Sql:
    column = quoted(fields[key.field].column)
    if value is None:
        return Sql("FALSE")
    sign = "<" if key.descending else ">"
    return Sql(f"({column} {sign} ? OR {column} IS NULL)", (value,))

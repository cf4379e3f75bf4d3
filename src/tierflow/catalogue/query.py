"""Typed queries, independent of any backend: filters, sort keys, pages.

A backend compiles these objects; the query language (`language.py`) is only one way to make them. What they mean is
fixed here, so that every backend gives the same answer:

- Text is compared exactly, case included, by code points. `Contains` alone ignores case.
- On a field that holds a list, a filter is true when it is true for at least one element.
- A field that is null fulfils no filter but `Not`: `Not(Eq("tier", "A"))` includes objects without a tier.
- Sorting puts nulls last in both directions; `object_id` and then `run` break all ties.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from tierflow.errors import QueryError
from tierflow.io.identity import display_path

if TYPE_CHECKING:
    from tierflow.catalogue.fields import Field, Fields

Scalar: TypeAlias = str | int | float
TIE_BREAKERS = ("object_id", "run")
"""Last sort keys of every query, ascending: a catalogue of many runs holds an object once per run."""
MAX_PAGE = 10_000
INT64_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Eq:
    """The field equals the value."""

    field: str
    value: Scalar


@dataclass(frozen=True, slots=True)
class In:
    """The field equals one of the values.

    Raises:
        QueryError: without values.
    """

    field: str
    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        """Refuse an empty list."""
        if not self.values:
            raise QueryError(f"no values for {self.field!r}: give at least one")


@dataclass(frozen=True, slots=True)
class Range:
    """The field lies within all bounds that are given.

    Raises:
        QueryError: without a bound.
    """

    field: str
    gt: Scalar | None = None
    gte: Scalar | None = None
    lt: Scalar | None = None
    lte: Scalar | None = None

    def __post_init__(self) -> None:
        """Refuse a range without a bound."""
        if not self.bounds():
            raise QueryError(f"no bound for {self.field!r}: give gt, gte, lt or lte")

    def bounds(self) -> dict[str, Scalar]:
        """Return the bounds that are given, by name."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "field"}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Exists:
    """The field has a value (for lists: at least one)."""

    field: str


@dataclass(frozen=True, slots=True)
class Prefix:
    """The field's text starts with the value."""

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class Contains:
    """The field's text contains the text, upper and lower case being the same."""

    field: str
    text: str


@dataclass(frozen=True, slots=True)
class And:
    """All parts are true; without parts: every object."""

    parts: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part is true; without parts: no object."""

    parts: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True)
class Not:
    """The part isn't true."""

    part: Filter


Filter: TypeAlias = Eq | In | Range | Exists | Prefix | Contains | And | Or | Not
EVERYTHING = And()


@dataclass(frozen=True, slots=True)
class Sort:
    """A sort key; nulls come last in both directions."""

    field: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """What to find.

    Attributes:
        filters: Which objects.
        sort: Their order; `object_id` and `run` are always the last keys.
        limit: Largest number of rows of a page, 1 to 10,000; an export takes None for all.
        cursor: Where the page begins: `next_cursor` of the page before.
        columns: Names of the fields to return; empty: all that aren't opaque.
    """

    filters: Filter = EVERYTHING
    sort: tuple[Sort, ...] = ()
    limit: int | None = 100
    cursor: str | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Found objects.

    Attributes:
        rows: One dictionary per object, by column; `object_id` and `path` come first.
        next_cursor: Cursor of the page after; None on the last one.
        total: Number of objects that fulfil the filters, on all pages.
    """

    rows: tuple[dict[str, Any], ...]
    next_cursor: str | None
    total: int


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of a histogram: values from `low` up to but not including `high`, which the last bin includes."""

    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Numbers about the values of a field in one group (or in all objects: group None).

    Attributes:
        group: Value that the objects share.
        count: Objects that have a value; the others below are null when it is 0.
        minimum: Smallest value.
        maximum: Largest value.
        mean: Mean.
        sd: Standard deviation, of the group itself (divisor n).
    """

    group: Scalar | None
    count: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    sd: float | None


def check(filters: Filter, known: Fields) -> Filter:
    """Return the filters with full field names and values of the fields' types.

    Raises:
        QueryError: naming an unknown field, or a value or filter that doesn't fit its field.
    """
    match filters:
        case And(parts):
            return And(tuple(check(part, known) for part in parts))
        case Or(parts):
            return Or(tuple(check(part, known) for part in parts))
        case Not(part):
            return Not(check(part, known))
    return check_one(filters, known)


def check_one(leaf: Eq | In | Range | Exists | Prefix | Contains, known: Fields) -> Filter:
    """Do for a single filter what `check` does for a tree."""
    field = known.find(leaf.field)
    if field.kind == "opaque":
        raise QueryError(f"field {field.name!r} can't be searched: it can only be shown and exported")
    leaf = replace(leaf, field=field.name)
    match leaf:
        case Eq(_, value):
            return replace(leaf, value=coerce(value, field))
        case In(_, values):
            return replace(leaf, values=tuple(coerce(value, field) for value in values))
        case Range():
            return _check_range(leaf, field)
        case Prefix(_, text) | Contains(_, text):
            return _check_text(leaf, field, text)
    return leaf


def _check_range(leaf: Range, field: Field) -> Range:
    if field.kind == "texts":
        raise QueryError(f"field {field.name!r} is a list and has no order: use {field.name}:value")
    bounds = {name: _bound(name, value, field) for name, value in leaf.bounds().items()}
    return Range(leaf.field, **bounds)


def _bound(name: str, value: Scalar, field: Field) -> Scalar:
    """Return a bound as the field's type; 2.5 is a fair bound of whole numbers, though none equals it."""
    if field.kind != "integer":
        return coerce(value, field)
    number = _number(value, field)
    whole = _whole(value, number)
    if whole is None:
        # Compared as floats, whole numbers beyond 2**53 would lose their last digits.
        whole = math.floor(number) if name in ("gt", "lte") else math.ceil(number)
    return max(-INT64_MAX, min(whole, INT64_MAX))


def _check_text(leaf: Prefix | Contains, field: Field, text: str) -> Filter:
    if field.kind not in ("text", "texts"):
        raise QueryError(f"field {field.name!r} holds numbers: compare it with > >= < <= or {field.name}:number")
    if isinstance(leaf, Prefix):
        return replace(leaf, value=valid_text(text))
    return replace(leaf, text=valid_text(text))


def coerce(value: Scalar, field: Field) -> Scalar:
    """Return a value as the field's type.

    Raises:
        QueryError: if it doesn't fit.
    """
    if field.kind in ("text", "texts"):
        if isinstance(value, float):
            raise QueryError(f"field {field.name!r} holds text, {value!r} is a number: give it as text")
        return valid_text(str(value))
    number = _number(value, field)
    if field.kind == "number":
        return number
    whole = _whole(value, number)
    if whole is None or abs(whole) > INT64_MAX:
        raise QueryError(f"field {field.name!r} holds whole numbers: {value!r} can't be one of them")
    return whole


def _number(value: Scalar, field: Field) -> float:
    try:
        number = float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise QueryError(f"field {field.name!r} holds numbers: {value!r} isn't one, expected such as 5 or 0.25")
    return number


def _whole(value: Scalar, number: float) -> int | None:
    if not number.is_integer():
        return None
    # Digits as text keep their precision beyond 2**53, where float doesn't.
    try:
        return int(value)
    except ValueError:
        return int(number)


def valid_text(text: str) -> str:
    """Return text in which bytes of a file name that aren't UTF-8 look as they do in column `path`."""
    try:
        return display_path(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # a surrogate that stands for no byte: no file name holds it
        return text.encode("utf-8", "backslashreplace").decode()

"""Compile typed queries to Elasticsearch's query language: pure, checked filters in, dictionaries out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from tierflow.catalogue.elastic.folding import containing
from tierflow.catalogue.query import (
    INT64_MAX,
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
from tierflow.catalogue.schema import BASE
from tierflow.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tierflow.catalogue.fields import Field, Fields

Tree = dict[str, Any]
Leaf: TypeAlias = Eq | In | Range | Exists | Prefix | Contains

EVERY: Tree = {"match_all": {}}
NONE: Tree = {"match_none": {}}
MAX_TERM_BYTES = 32_766
"""No keyword of an index is longer, so no longer one is found."""
MAX_BOUND_BYTES = 900
"""The server makes an automaton of beginnings and bounds, of at most 1000 states in a row."""
MAX_TERMS = 50_000
MAX_STATES = 1_000_000
"""Effort that the server may spend on one pattern."""
INT32 = frozenset(column.name for column in BASE if pa.types.is_int32(column.type))
INT32_MAX = 2**31 - 1
SORT_TYPES = {"text": "keyword", "integer": "long", "number": "double"}


def where(filters: Filter, fields: Fields) -> Tree:
    """Compile checked filters to a query that scores nothing.

    Negations are moved down to single filters and nested parts of one kind are joined, because the server limits the
    depth of queries.

    Args:
        filters: As `query.check` returns them.
        fields: The catalogue's fields.

    Raises:
        QueryError: if a text of `Contains` is too long for the server.
    """
    return _render(_node(filters, negated=False), fields)


def after(values: Sequence[Scalar | None], sort: Sequence[Sort], fields: Fields) -> list[Scalar | None]:
    """Return the `search_after` of a row, for a search in the order of `order_by`.

    Args:
        values: The row's values of all sort keys, those of `TIE_BREAKERS` last.
        sort: Checked sort keys.
        fields: The catalogue's fields.
    """
    keys = [*sort, *(Sort(name) for name in TIE_BREAKERS)]
    return [_last(key, fields) if v is None else v for key, v in zip(keys, values, strict=True)]


def _last(key: Sort, fields: Fields) -> Scalar | None:
    """Return what the server takes a null for, so that it is last."""
    kind = fields[key.field].kind
    if kind == "text":
        return None
    if kind == "integer":
        return -(2**63) if key.descending else INT64_MAX
    return "-Infinity" if key.descending else "Infinity"


def order_by(sort: Sequence[Sort], fields: Fields) -> list[Tree]:
    """Return the sort of checked keys, nulls last, `TIE_BREAKERS` breaking ties."""
    keys = [*sort, *(Sort(name) for name in TIE_BREAKERS)]
    return [{key.field: _sort_key(key, fields[key.field].kind)} for key in keys]


def _sort_key(key: Sort, kind: str) -> Tree:
    stored = SORT_TYPES[kind]
    return {
        "order": "desc" if key.descending else "asc",
        "missing": "_last",
        # A feature that no object has a value of may be unknown to the server.
        "unmapped_type": stored,
        # Narrower numbers would have another last value than `after` says.
        **({} if kind == "text" else {"numeric_type": stored}),
    }


@dataclass(frozen=True, slots=True)
class _Literal:
    leaf: Leaf
    negated: bool


@dataclass(frozen=True, slots=True)
class _Group:
    """All of its parts are true, or at least one (`any_of`)."""

    any_of: bool
    parts: tuple[_Node, ...]

    def depth(self) -> int:
        return 1 + max((part.depth() for part in self.parts if isinstance(part, _Group)), default=0)


_Node: TypeAlias = _Literal | _Group


def _node(filters: Filter, *, negated: bool) -> _Node:
    if isinstance(filters, Not):
        return _node(filters.part, negated=not negated)
    if isinstance(filters, (And, Or)):
        any_of = isinstance(filters, Or) != negated
        parts = (_node(part, negated=negated) for part in filters.parts)
        return _Group(any_of, tuple(flat for part in parts for flat in _flattened(part, any_of)))
    return _Literal(filters, negated)


def _flattened(part: _Node, any_of: bool) -> tuple[_Node, ...]:
    return part.parts if isinstance(part, _Group) and part.any_of == any_of else (part,)


def _render(node: _Node, fields: Fields) -> Tree:
    if isinstance(node, _Literal):
        found = _leaf(node.leaf, fields[node.leaf.field])
        return {"bool": {"must_not": [found]}} if node.negated else found
    if not node.parts:
        return NONE if node.any_of else EVERY
    if len(node.parts) == 1:
        return _render(node.parts[0], fields)
    if node.any_of:
        return {"bool": _any(node, fields)}
    return {"bool": _all(node, fields)}


def _any(node: _Group, fields: Fields) -> Tree:
    return {"should": [_render(part, fields) for part in node.parts], "minimum_should_match": 1}


def _all(node: _Group, fields: Fields) -> Tree:
    groups = [part for part in node.parts if isinstance(part, _Group)]
    # One inner group, the deepest, needs no level of its own.
    merged = max((group for group in groups if len(group.parts) > 1), key=_Group.depth, default=None)
    wanted = [_render(p, fields) for p in node.parts if p is not merged and not (isinstance(p, _Literal) and p.negated)]
    refused = [_leaf(p.leaf, fields[p.leaf.field]) for p in node.parts if isinstance(p, _Literal) and p.negated]
    found: Tree = {} if merged is None else _any(merged, fields)
    return found | ({"filter": wanted} if wanted else {}) | ({"must_not": refused} if refused else {})


def _leaf(leaf: Leaf, field: Field) -> Tree:
    match leaf:
        case Exists():
            return {"exists": {"field": field.name}}
        case Eq(_, value):
            return _terms([value], field)
        case In(_, values):
            return _terms(values, field)
        case Range():
            return _range(leaf.bounds(), field)
        case Prefix(_, text):
            return _prefix(text, field)
        case Contains(_, text):
            if not text:
                return {"exists": {"field": field.name}}
            return {
                "regexp": {
                    field.name: {"value": containing(text), "flags": "NONE", "max_determinized_states": MAX_STATES}
                }
            }


def _terms(values: Sequence[Scalar], field: Field) -> Tree:
    kept = list(dict.fromkeys(_value(value) for value in values if _fits(value, field)))
    if not kept:
        return NONE
    if len(kept) == 1:
        return {"term": {field.name: {"value": kept[0]}}}
    several: list[Tree] = [{"terms": {field.name: part}} for part in _parts(kept, MAX_TERMS)]
    return several[0] if len(several) == 1 else {"bool": {"should": several, "minimum_should_match": 1}}


def _parts(values: list[Scalar], size: int) -> Iterator[list[Scalar]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _value(value: Scalar) -> Scalar:
    # -0.0 equals 0.0, but not on the server.
    return value + 0.0 if isinstance(value, float) else value


def _fits(value: Scalar, field: Field) -> bool:
    """Tell whether the field can hold the value at all; the server refuses to look for others."""
    if isinstance(value, str):
        return len(value.encode()) <= MAX_TERM_BYTES
    return field.name not in INT32 or abs(value) <= INT32_MAX


def _range(bounds: dict[str, Scalar], field: Field) -> Tree:
    kept: Tree = {}
    for name, value in bounds.items():
        if isinstance(value, str):
            _check_length(value, field)
        if _fits(value, field):
            kept[name] = _value(value)
        elif (value > 0) == (name in ("gt", "gte")):  # type: ignore[operator]
            return NONE
    return {"range": {field.name: kept}} if kept else {"exists": {"field": field.name}}


def _prefix(text: str, field: Field) -> Tree:
    if not text:
        return {"exists": {"field": field.name}}
    if not _fits(text, field):
        return NONE
    _check_length(text, field)
    return {"prefix": {field.name: {"value": text}}}


def _check_length(text: str, field: Field) -> None:
    if len(text.encode()) > MAX_BOUND_BYTES:
        raise QueryError(
            f"field {field.name!r} is compared with a text that is too long ({len(text)} characters, beginning "
            f"{text[:40]!r}): give {MAX_BOUND_BYTES} bytes at most"
        )

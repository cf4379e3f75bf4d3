r"""A small query language, a subset of Kibana's KQL: text to typed filters and back.

| written | means |
|---|---|
| `tier:A` | field equals value |
| `path:"run 1/A01.tif"` | quotes for spaces, brackets and `*`; in them `\"` and `\\` |
| `well:B0*` | starts with |
| `reason:*tag*` | contains, upper and lower case being the same |
| `tier:(A or B)`, `flag:(blank and saturated)` | several values |
| `features.snr > 5`, `bytes<=1000` | comparison: `>` `>=` `<` `<=` |
| `flag:*` | has a value |
| `truncated`, `"my plate"` | bare words: the path contains them, upper and lower case being the same |
| `not tier:D`, `a b`, `a and b`, `a or b`, `(a or b) c` | `not` binds tightest, then `and`, which may be left out |

Field names are those of the catalogue; features may be written with or without `features.`; `if` is short for
`interestingness`, `flag` for `flags`, `id` for `object_id`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from tierflow.catalogue.query import (
    EVERYTHING,
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
    check_one,
)
from tierflow.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tierflow.catalogue.fields import Fields

BARE_FIELD = "path"
MAX_DEPTH = 50
COMPARISONS = {">=": "gte", "<=": "lte", ">": "gt", "<": "lt"}
SIGNS = {bound: sign for sign, bound in COMPARISONS.items()}

_SPACE = re.compile(r"\s*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"', re.DOTALL)
_NAME = re.compile(r'[^\s()":<>]+')
_VALUE = re.compile(r'[^\s()"]+')
_OPERATOR = re.compile(r"\s*(:|>=|<=|>|<)")
_KEYWORD = re.compile(r"(and|or|not)(?=[\s()]|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Value:
    """A value as written: its text, and the stars before and after it."""

    text: str
    start: int
    before: bool = False
    after: bool = False


def parse(text: str, fields: Fields) -> Filter:
    """Read a query.

    Args:
        text: The query; empty: every object.
        fields: The fields it may name.

    Raises:
        QueryError: with the query, a caret at the position, and what was expected there.
    """
    return _Parser(text, fields).query()


def format_filter(filters: Filter) -> str:
    """Write filters as a query that `parse` reads as the same filters (in the form that `simplify` gives)."""
    return _format(simplify(filters), inside=False)


def simplify(filters: Filter) -> Filter:
    """Return equal filters in the form `parse` gives: nested And and Or flattened, one bound per Range."""
    match filters:
        case And(parts):
            return join_all(simplify(part) for part in parts)
        case Or(parts):
            return join_any(simplify(part) for part in parts)
        case Not(part):
            return Not(simplify(part))
        case In(field, (value,)):
            return Eq(field, value)
        case Range(field):
            return join_all(Range(field, **{name: value}) for name, value in filters.bounds().items())
    return filters


def join_all(parts: Iterable[Filter]) -> Filter:
    """Return the filter that is true when all parts are, without needless nesting."""
    flat = [leaf for part in parts for leaf in (part.parts if isinstance(part, And) else (part,))]
    return flat[0] if len(flat) == 1 else And(tuple(flat))


def join_any(parts: Iterable[Filter]) -> Filter:
    """Return the filter that is true when one part is, without needless nesting."""
    flat = [leaf for part in parts for leaf in (part.parts if isinstance(part, Or) else (part,))]
    if not flat:
        return Not(EVERYTHING)
    return flat[0] if len(flat) == 1 else Or(tuple(flat))


class _Parser:
    """Recursive descent over one query; `_at` is the position of the next character."""

    def __init__(self, text: str, fields: Fields) -> None:
        self._text = text
        self._fields = fields
        self._at = 0
        self._depth = 0

    def query(self) -> Filter:
        self._skip()
        if self._at == len(self._text):
            return EVERYTHING
        found = self._any()
        if self._at < len(self._text):
            self._fail("a bracket is closed that wasn't opened: remove it, or put it in quotes to search for it")
        return found

    def _any(self) -> Filter:
        parts = [self._all()]
        while self._keyword("or"):
            parts.append(self._all())
        return join_any(parts)

    def _all(self) -> Filter:
        parts = [self._one()]
        while self._keyword("and") or self._more():
            parts.append(self._one())
        return join_all(parts)

    def _more(self) -> bool:
        """Tell whether another part follows without an `and`."""
        ends = self._at == len(self._text) or self._text[self._at] == ")"
        return not ends and not self._peek("or")

    def _one(self) -> Filter:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(f"more than {MAX_DEPTH} nested brackets: simplify the query")
        try:
            if self._keyword("not"):
                return Not(self._one())
            if self._take("("):
                found = self._any()
                self._close()
                return found
            return self._term()
        finally:
            self._depth -= 1

    def _term(self) -> Filter:
        start = self._at
        quoted = self._quoted()
        name = self._match(_NAME) if quoted is None else quoted
        operator = self._match(_OPERATOR) if name is not None else None
        if name is None:
            self._fail("expected a word, field:value or a bracket")
        if operator is None:
            self._skip_after_value()
            return self._bare(name, start, is_quoted=quoted is not None)
        self._skip()
        if operator.strip() == ":":
            return self._after_colon(name, start)
        bound = COMPARISONS[operator.strip()]
        value = self._value(f"a number or text after {operator.strip()}")
        if value.before or value.after:
            self._fail("a comparison takes no *: write the value alone", value.start)
        return self._checked(start, lambda: Range(name, **{bound: value.text}), value=value)

    def _bare(self, word: str, start: int, *, is_quoted: bool) -> Filter:
        if is_quoted:
            return self._checked(start, lambda: Contains(BARE_FIELD, word))
        if word == "*":
            return EVERYTHING
        if word.lower() in ("and", "or", "not"):
            self._fail(f"expected a word or field:value before {word!r}, or the word in quotes", start)
        if "*" in word.strip("*"):
            self._fail("a * is understood only around a word: use quotes to search for the sign", start)
        return self._checked(start, lambda: Contains(BARE_FIELD, word.strip("*")))

    def _after_colon(self, name: str, start: int) -> Filter:
        if self._take("("):
            return self._group(name, start)
        return self._compare(name, start, self._value(f"a value after {name}:"))

    def _group(self, name: str, start: int) -> Filter:
        """Read `(a or b)` or `(a and b)`; the opening bracket is gone."""
        values = [self._group_value(name)]
        word = next((w for w in ("or", "and") if self._peek(w)), None)
        while word is not None and self._keyword(word):
            values.append(self._group_value(name))
        self._close(f"`or` or `and` between all values of {name}, then )")
        parts = [self._compare(name, start, value) for value in values]
        if word == "and":
            return join_all(parts)
        exact = [part.value for part in parts if isinstance(part, Eq)]
        if 1 < len(exact) == len(parts) and isinstance(parts[0], Eq):
            return In(parts[0].field, tuple(exact))
        return join_any(parts)

    def _group_value(self, name: str) -> _Value:
        if self._peek("and") or self._peek("or") or self._peek("not"):
            self._fail(f"expected a value of {name}; put the word in quotes if it is one")
        return self._value(f"a value of {name}")

    def _compare(self, name: str, start: int, value: _Value) -> Filter:
        def build() -> Eq | Prefix | Contains | Exists:
            if value.before and value.after:
                return Contains(name, value.text)
            if value.after:
                return Prefix(name, value.text)
            return Exists(name) if value.before else Eq(name, value.text)

        return self._checked(start, build, value=value)

    def _value(self, expected: str) -> _Value:
        start = self._at
        before = self._quote_follows_star()
        text = self._quoted()
        if text is not None:
            after = self._star()
            self._skip_after_value()
            if before and not after:
                self._fail("a value with a * before it needs one after it too: *text*", start)
            return _Value(text, start, before=before, after=after)
        word = self._match(_VALUE)
        if word is None:
            self._fail(f"expected {expected}")
        self._skip_after_value()
        return self._stars(word, start)

    def _stars(self, word: str, start: int) -> _Value:
        if word == "*":
            return _Value("", start, before=True)
        after = word.endswith("*")
        before = word.startswith("*")
        inner = word[before : len(word) - after]
        if "*" in inner or (before and not after):
            self._fail(
                "a * is understood only at the end (text*) or around a value (*text*); use quotes for the sign", start
            )
        return _Value(inner, start, before=before, after=after)

    def _quote_follows_star(self) -> bool:
        found = self._text.startswith('*"', self._at)
        self._at += found
        return found

    def _star(self) -> bool:
        found = self._text.startswith("*", self._at)
        self._at += found
        return found

    def _checked(
        self, start: int, build: Callable[[], Eq | Range | Exists | Prefix | Contains], *, value: _Value | None = None
    ) -> Filter:
        """Build a filter and check it against the fields; point at the value where the value is wrong."""
        leaf = build()
        try:
            self._fields.find(leaf.field)
        except QueryError as error:
            self._fail(str(error), start)
        try:
            return check_one(leaf, self._fields)
        except QueryError as error:
            self._fail(str(error), start if value is None else value.start)

    def _quoted(self) -> str | None:
        if not self._text.startswith('"', self._at):
            return None
        found = _QUOTED.match(self._text, self._at)
        if found is None:
            self._fail('this quote isn\'t closed: add a ", and write \\" and \\\\ for those signs in quotes')
        self._at = found.end()
        return re.sub(r'\\(["\\])', r"\1", found[1])

    def _skip_after_value(self) -> None:
        """Skip space after a value; text that touches it is a mistake, such as a forgotten quote."""
        following = self._text[self._at : self._at + 1]
        if following and not following.isspace() and following not in "()":
            self._fail("expected a space here, or quotes around the whole value")
        self._skip()

    def _peek(self, word: str) -> bool:
        found = _KEYWORD.match(self._text, self._at)
        return found is not None and found[1].lower() == word and not self._operator_follows(found.end())

    def _operator_follows(self, at: int) -> bool:
        return _OPERATOR.match(self._text, at) is not None

    def _keyword(self, word: str) -> bool:
        found = self._peek(word)
        if found:
            self._at += len(word)
            self._skip()
        return found

    def _take(self, sign: str) -> bool:
        found = self._text.startswith(sign, self._at)
        if found:
            self._at += len(sign)
            self._skip()
        return found

    def _close(self, expected: str = "a closing bracket )") -> None:
        if not self._take(")"):
            self._fail(f"expected {expected}")

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        return found[0]

    def _skip(self) -> None:
        self._match(_SPACE)

    def _fail(self, message: str, at: int | None = None) -> NoReturn:
        position = self._at if at is None else at
        shown = re.sub(r"\s", " ", self._text)
        raise QueryError(
            f"in the query, at character {position + 1}: {message}\n  {shown}\n  {' ' * position}^"
        ) from None


def _format(filters: Filter, *, inside: bool) -> str:
    match filters:
        case And(()):
            return "*"
        case And(parts):
            return _bracket(" and ".join(_format(part, inside=True) for part in parts), inside=inside)
        case Or(parts):
            return _bracket(" or ".join(_format(part, inside=True) for part in parts), inside=inside)
        case Not(part):
            return f"not {_format(part, inside=True)}"
        case In(field, values):
            return f"{_name(field)}:({' or '.join(_quote(value) for value in values)})"
        case Eq(field, value):
            return f"{_name(field)}:{_quote(value)}"
        case Range(field):
            return " and ".join(f"{_name(field)}{SIGNS[bound]}{_quote(v)}" for bound, v in filters.bounds().items())
        case Prefix(field, text):
            return f"{_name(field)}:{_quote(text)}*"
        case Contains(field, text):
            return f"{_name(field)}:*{_quote(text)}*"
        case Exists(field):
            return f"{_name(field)}:*"


def _bracket(text: str, *, inside: bool) -> str:
    return f"({text})" if inside else text


def _name(field: str) -> str:
    plain = _NAME.fullmatch(field) and not _KEYWORD.fullmatch(field)
    return field if plain else _quote(field)


def _quote(value: object) -> str:
    if isinstance(value, (int, float)):
        return repr(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

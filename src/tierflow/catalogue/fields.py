"""The fields that queries may name: catalogue columns, their aliases, and `features.NAME`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from tierflow import tables
from tierflow.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal["text", "integer", "number", "texts", "opaque"]
"""What a field holds. `texts` is a list of text; `opaque` can be shown and exported, not searched."""

ALIASES = {"flag": "flags", "if": "interestingness", "id": "object_id"}
FEATURE_PREFIX = "features."
METADATA_PREFIX = "metadata."


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    Attributes:
        name: Name in queries; features start with `features.`.
        column: Name of the column in tables, rows and exports; features without their prefix.
        kind: What it holds.
        about: Meaning, in words.
        unit: Unit, "" for none.
    """

    name: str
    column: str
    kind: Kind
    about: str = ""
    unit: str = ""


class Fields(Mapping[str, Field]):
    """The fields of a catalogue by name, in the order of its columns."""

    def __init__(self, fields: Iterable[Field]) -> None:
        self._fields = {field.name: field for field in fields}

    @classmethod
    def of_schema(cls, schema: pa.Schema) -> Fields:
        """Read the fields off a catalogue table's schema."""
        features = set(tables.feature_columns(schema))
        return cls(_field(column, feature=column.name in features) for column in schema)

    def __getitem__(self, name: str) -> Field:
        """Return the field of exactly that name; `find` also knows aliases."""
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._fields)

    def __len__(self) -> int:
        """Return the number of fields."""
        return len(self._fields)

    def find(self, name: str) -> Field:
        """Return the field that `name` means: a name, an alias, or a feature or metadata with or without its prefix.

        Raises:
            QueryError: if there is none; the message names the nearest one.
        """
        for candidate in (name, ALIASES.get(name, name), FEATURE_PREFIX + name, METADATA_PREFIX + name):
            if candidate in self._fields:
                return self._fields[candidate]
        raise QueryError(f"unknown field {name!r}: {self._remedy(name)}")

    def _remedy(self, name: str) -> str:
        near = get_close_matches(name.lower(), self._spellings(), n=1, cutoff=0.6)
        if near:
            return f"did you mean {self._spellings()[near[0]]!r}?"
        base = [field for field in self._fields if not field.startswith(FEATURE_PREFIX)]
        return f"expected one of {', '.join(base)}, or {FEATURE_PREFIX}NAME"

    def _spellings(self) -> dict[str, str]:
        """Return the full name by every spelling that is understood, in lower case."""
        short = {field.column.lower(): field.name for field in self.values()}
        return short | {alias: alias for alias in ALIASES} | {name.lower(): name for name in self._fields}


def _field(column: pa.Field[Any], *, feature: bool) -> Field:
    metadata = column.metadata or {}
    return Field(
        name=FEATURE_PREFIX + column.name if feature else column.name,
        column=column.name,
        kind=_kind(column.type),
        about=metadata.get(b"about", b"").decode(),
        unit=metadata.get(b"unit", b"").decode(),
    )


def _kind(kind: pa.DataType) -> Kind:
    if pa.types.is_string(kind):
        return "text"
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind):
        return "number"
    if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        return "texts"
    return "opaque"

"""The record of one object as a model: what a catalogue holds, whatever stores it.

Its fields are the columns of `tierflow.catalogue.schema`, where their types, units and meanings are said once.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, create_model

from tierflow.catalogue.schema import BASE, HISTOGRAM

_COLUMNS = {column.name: column for column in [*BASE, HISTOGRAM]}
REQUIRED = frozenset({"object_id", "path", "path_bytes", "dataset", "run"})


class _Whole(BaseModel):
    """What was found about one object, by whom and how."""

    NESTED: ClassVar[frozenset[str]] = frozenset({"features", "metadata"})
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    features: dict[str, float] = Field(default_factory=dict, description="measured features by name")
    metadata: dict[str, str | int | float] = Field(
        default_factory=dict, description="fields of the data set's registered table by name"
    )


def _python_type(kind: pa.DataType) -> Any:
    if pa.types.is_string(kind):
        return str
    if pa.types.is_binary(kind):
        return bytes
    if pa.types.is_integer(kind):
        return int
    if pa.types.is_floating(kind):
        return float
    if pa.types.is_struct(kind):
        return dict[str, Any]
    return list[_python_type(kind.value_type)]  # type: ignore[attr-defined,misc]


def _definition(column: pa.Field[Any]) -> Any:
    metadata = column.metadata or {}
    unit = metadata.get(b"unit", b"").decode()
    kind = _python_type(column.type)
    about = Field(
        *([] if column.name in REQUIRED else [None]),
        description=metadata[b"about"].decode(),
        json_schema_extra={"unit": unit} if unit else None,
    )
    return (kind if column.name in REQUIRED else kind | None), about


Record = create_model("Record", __base__=_Whole, **{name: _definition(column) for name, column in _COLUMNS.items()})


def column_of(name: str) -> pa.Field[Any]:
    """Return the column of a field of the record."""
    return _COLUMNS[name]

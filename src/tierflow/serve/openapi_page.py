"""The OpenAPI description as a page that needs nothing from outside."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Attributes:
        method: Such as `GET`.
        path: Address with its parameters in braces.
        about: What it does.
        parameters: Name, place and meaning of each.
        content: What a request must hold, as JSON schema; empty without any.
    """

    method: str
    path: str
    about: str
    parameters: Sequence[tuple[str, str, str]]
    content: str


def operations(schema: Mapping[str, Any]) -> list[Operation]:
    """Return the operations of an OpenAPI description, by path.

    Args:
        schema: The description.
    """
    return [
        _operation(schema, method, path, found)
        for path, methods in sorted(schema["paths"].items())
        for method, found in methods.items()
    ]


def _operation(schema: Mapping[str, Any], method: str, path: str, found: Mapping[str, Any]) -> Operation:
    parameters = [
        (each["name"], each["in"], each.get("description") or _kind(each.get("schema", {})))
        for each in found.get("parameters", ())
    ]
    body = found.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    return Operation(
        method=method.upper(),
        path=path,
        about=found.get("description") or found.get("summary", ""),
        parameters=parameters,
        content=json.dumps(_resolved(schema, body), indent=2) if body else "",
    )


def _kind(schema: Mapping[str, Any]) -> str:
    return " or ".join(str(each.get("type", "")) for each in schema.get("anyOf", [schema]))


def _resolved(schema: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(part.get("$ref", "")).rpartition("/")[2]
    found: Mapping[str, Any] = schema["components"]["schemas"][name] if name else part
    return found

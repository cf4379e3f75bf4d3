"""Opaque cursors: where the next page begins, and for which query that is meant."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import TYPE_CHECKING

from tierflow.catalogue.query import TIE_BREAKERS
from tierflow.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierflow.catalogue.query import Filter, Scalar, Sort


def encode(values: Sequence[Scalar | None], *, sort: Sequence[Sort], filters: Filter) -> str:
    """Make the cursor of the page after a row.

    Args:
        values: The row's values of all sort keys, those of `TIE_BREAKERS` last.
        sort: Sort keys of the query.
        filters: Its filters.
    """
    # -0.0 equals 0.0: stores differ in which of them they keep.
    kept = [value + 0.0 if isinstance(value, float) else value for value in values]
    text = json.dumps([_mark(sort, filters), *kept], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str, *, sort: Sequence[Sort], filters: Filter) -> list[Scalar | None]:
    """Return the values that `encode` was given.

    Raises:
        QueryError: if it isn't a cursor, or one of another query.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        content: list[Scalar | None] = json.loads(base64.urlsafe_b64decode(padded))
        mark, values = content[0], content[1:]
    except (binascii.Error, ValueError, TypeError, IndexError, KeyError) as error:
        raise QueryError(f"{cursor!r} is no cursor: give the one that came with the page before") from error
    if mark != _mark(sort, filters) or len(values) != len(sort) + len(TIE_BREAKERS):
        raise QueryError("this cursor belongs to another query: keep query and sort the same from page to page")
    return values


def _mark(sort: Sequence[Sort], filters: Filter) -> str:
    return hashlib.sha256(repr((tuple(sort), filters)).encode()).hexdigest()[:8]

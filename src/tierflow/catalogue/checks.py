"""What every backend checks in the same words before it asks its store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tierflow.catalogue.query import MAX_PAGE, Query, Sort
from tierflow.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tierflow.catalogue.fields import Field, Fields

MAX_BINS = 10_000
FIRST_COLUMNS = ("object_id", "path")


def page_limit(limit: int | None) -> int:
    """Return the number of rows of a page.

    Raises:
        QueryError: if it isn't 1 to 10,000.
    """
    if limit is None or not 1 <= limit <= MAX_PAGE:
        raise QueryError(f"limit {limit} is outside 1 to {MAX_PAGE}: take pages by cursor, or export")
    return limit


def facet_limit(limit: int) -> int:
    """Return the number of values that facets list at most.

    Raises:
        QueryError: if it is below 1.
    """
    if limit < 1:
        raise QueryError(f"limit {limit} of values is too small: expected 1 or more")
    return limit


def checked_sort(sort: Sequence[Sort], fields: Fields) -> tuple[Sort, ...]:
    """Return sort keys with full field names.

    Raises:
        QueryError: if a field is unknown or has no order.
    """
    checked = [Sort(fields.find(key.field).name, descending=key.descending) for key in sort]
    for key in checked:
        if fields[key.field].kind in ("texts", "opaque"):
            raise QueryError(f"can't sort by {key.field!r}: it has no order")
    return tuple(checked)


def shown_columns(names: Sequence[str], fields: Fields) -> list[str]:
    """Return the columns to show: the first ones, then those asked for or, without any, all that can be read."""
    asked = [fields.find(name) for name in names] or [field for field in fields.values() if field.kind != "opaque"]
    return list(dict.fromkeys([*FIRST_COLUMNS, *(field.column for field in asked)]))


def with_columns(query: Query, columns: tuple[str, ...]) -> Query:
    """Return the query with these columns in place of its own, from the first page."""
    return Query(filters=query.filters, sort=query.sort, limit=query.limit, columns=columns)


def numeric(name: str, fields: Fields) -> Field:
    """Return a field that holds numbers.

    Raises:
        QueryError: if it is unknown or holds none.
    """
    field = fields.find(name)
    if field.kind not in ("integer", "number"):
        raise QueryError(f"field {field.name!r} holds no numbers: count its values instead")
    return field


def groupable(name: str, fields: Fields) -> Field:
    """Return a field whose values can be counted.

    Raises:
        QueryError: if it is unknown or opaque.
    """
    field = fields.find(name)
    if field.kind == "opaque":
        raise QueryError(f"field {field.name!r} can't be grouped by: it can only be shown and exported")
    return field


def bin_edges(minimum: float, maximum: float, bins: int) -> NDArray[np.float64]:
    """Return the edges of equal bins, shape (bins + 1,); those of one bin when all values are equal.

    An object belongs to the last bin whose lower edge isn't above its value.
    """
    return np.linspace(minimum, maximum, (bins if maximum > minimum else 1) + 1)


def check_bins(bins: int) -> None:
    """Refuse numbers of bins that aren't 1 to 10,000.

    Raises:
        QueryError: if it is another.
    """
    if not 1 <= bins <= MAX_BINS:
        raise QueryError(f"{bins} bins are outside 1 to {MAX_BINS}")


def check_percents(percents: Sequence[float]) -> None:
    """Refuse percents that aren't 0 to 100.

    Raises:
        QueryError: naming them, or if there are none.
    """
    if not percents or not all(0 <= percent <= 100 for percent in percents):
        raise QueryError(f"percents {list(percents)}: expected numbers from 0 to 100")

"""Counts, moments and order statistics of a field's values, exact, from aggregations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tierflow.catalogue.elastic.ranks import FEW, MAX_RANGES
from tierflow.catalogue.elastic.views import groups
from tierflow.catalogue.query import Stats

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tierflow.catalogue.elastic.compile import Tree
    from tierflow.catalogue.elastic.views import Ask
    from tierflow.catalogue.query import Scalar

# The server's variance is the mean of squares less the square of the mean: near equal values nothing is left of it.
TRUSTED_VARIANCE = 1e-6
"""Least ratio of variance to squared mean at which the server's standard deviation has 9 true digits."""


class RangeCounts:
    """Counts of a field's values in ranges, from one view of the index; meets `ranks.Counts`.

    Args:
        search: From `views.view`.
        query: Which documents.
        field: Numeric field.
    """

    def __init__(self, search: Ask, query: Tree, field: str) -> None:
        self._search, self._query, self._field = search, query, field

    def in_ranges(self, ranges: Sequence[tuple[float, float]]) -> list[int]:
        """Return how many values lie in each range, low <= value < high; the ranges ascend."""
        found = []
        for start in range(0, len(ranges), MAX_RANGES):
            found += [bucket["doc_count"] for bucket in self._buckets(ranges[start : start + MAX_RANGES])]
        return found

    def values(self, ranges: Sequence[tuple[float, float]]) -> list[list[tuple[float, int]]]:
        """Return the different values in each range, ascending, and how often each occurs."""
        terms = {"field": self._field, "size": FEW, "shard_size": FEW, "order": {"_key": "asc"}}
        return [
            [(float(value["key"]), value["doc_count"]) for value in bucket["values"]["buckets"]]
            for bucket in self._buckets(ranges, aggs={"values": {"terms": terms}})
        ]

    def _buckets(self, ranges: Sequence[tuple[float, float]], *, aggs: Tree | None = None) -> list[Tree]:
        bounds = [{"from": low} if math.isinf(high) else {"from": low, "to": high} for low, high in ranges]
        body: Tree = {"range": {"field": self._field, "ranges": bounds}} | ({"aggs": aggs} if aggs else {})
        found = self._search(query=self._query, size=0, aggs={"ranges": body}, track_total_hits=False)
        buckets: list[Tree] = found["aggregations"]["ranges"]["buckets"]
        return buckets


def stats_of(search: Ask, query: Tree, field: str, *, by: str | None = None) -> list[Stats]:
    """Return numbers about a field, for all documents or for each value of the field `by`, ascending.

    Args:
        search: From `views.view`.
        query: Which documents.
        field: Numeric field.
        by: Field that groups.
    """
    wanted = {"value": {"extended_stats": {"field": field}}}
    if by is None:
        whole = search(query=query, size=0, aggs=wanted, track_total_hits=False)["aggregations"]
        found: list[tuple[Scalar | None, Tree]] = [(None, whole["value"])]
    else:
        present = {"bool": {"filter": [query, {"exists": {"field": field}}]}}
        buckets = groups(search, query=present, by={"group": by}, aggs=wanted)
        found = [(bucket["key"]["group"], bucket["value"]) for bucket in buckets]
    exact: dict[Scalar | None, float] = {}
    if not all(_trusted(numbers) for _, numbers in found):
        exact = dict(_deviations(search, query, field, by))
    return [_stats(group, numbers, exact) for group, numbers in found]


def _trusted(numbers: Tree) -> bool:
    variance, mean = numbers["variance_population"], numbers["avg"]
    if numbers["count"] == 0 or numbers["min"] == numbers["max"]:
        return True
    # What isn't finite comes as text.
    return isinstance(variance, float) and isinstance(mean, float) and variance > TRUSTED_VARIANCE * (mean * mean)


def _stats(group: Scalar | None, numbers: Tree, exact: dict[Scalar | None, float]) -> Stats:
    if numbers["count"] == 0:
        return Stats(group, 0, None, None, None, None)
    if numbers["min"] == numbers["max"]:
        deviation = 0.0
    elif _trusted(numbers):
        deviation = numbers["std_deviation_population"]
    else:
        deviation = exact[group]
    low, high, mean = (float(numbers[name]) for name in ("min", "max", "avg"))
    return Stats(group, numbers["count"], low, high, mean, deviation)


def _deviations(search: Ask, query: Tree, field: str, by: str | None) -> Iterator[tuple[Scalar | None, float]]:
    """Yield the standard deviation of every group, from its different values and how often each occurs."""
    keys = {"value": field} if by is None else {"group": by, "value": field}
    group: Scalar | None = None
    count, mean, squares = 0, 0.0, 0.0
    for bucket in groups(search, query=query, by=keys):
        key: dict[str, Any] = bucket["key"]
        if count and key.get("group") != group:
            yield group, _root(squares / count)
            count, mean, squares = 0, 0.0, 0.0
        group = key.get("group")
        # Welford's method, for several equal values at once.
        count += bucket["doc_count"]
        delta = key["value"] - mean
        mean += delta * (bucket["doc_count"] / count)
        squares += bucket["doc_count"] * delta * (key["value"] - mean)
    if count:
        yield group, _root(squares / count)


def _root(variance: float) -> float:
    return math.sqrt(variance) if math.isfinite(variance) else math.inf

"""The aggregation that a panel stands for: pure, a description in, the body of a search request out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierflow.catalogue.query import And, Eq, Exists, In, Not, Or, Prefix, Range
from tierflow.kibana.panels import Bins, Dates, Terms

if TYPE_CHECKING:
    from tierflow.catalogue.query import Filter
    from tierflow.kibana.panels import Bucket, Panel, Search, Value

Tree = dict[str, Any]
_METRICS = {"average": "avg", "min": "min", "max": "max", "unique_count": "cardinality"}


def aggregation(panel: Panel) -> Tree:
    """Return the body of the search whose answer holds the numbers of a panel.

    Groups are nested as `Panel.buckets` orders them, under the names `g0` and `g1`; values are `v0`, `v1` ... of the
    innermost group. The number of objects is the group's own `doc_count`, so that `count` needs no aggregation.
    """
    inner = {f"v{i}": metric(value) for i, value in enumerate(panel.values) if value.operation != "count"}
    for depth in reversed(range(len(panel.buckets))):
        bucket = panel.buckets[depth]
        inner = {f"g{depth}": _grouped(bucket, panel) | ({"aggs": inner | _order_value(bucket, panel, inner)})}
    body: Tree = {"size": 0, "track_total_hits": True, "query": query(panel.where)}
    return body | ({"aggs": inner} if inner else {})


def metric(value: Value) -> Tree:
    """Return the aggregation of one value; a median is the 50th percentile."""
    if value.operation in ("median", "percentile"):
        percent = 50 if value.operation == "median" else value.percent
        return {"percentiles": {"field": value.field, "percents": [percent], "keyed": False}}
    return {_METRICS[value.operation]: {"field": value.field}}


def _grouped(bucket: Bucket, panel: Panel) -> Tree:
    match bucket:
        case Terms(field, _, size):
            return {"terms": {"field": field, "size": size, "order": _order(bucket, panel)}}
        case Bins(field, _, interval):
            return {"histogram": {"field": field, "interval": interval, "min_doc_count": 1}}
        case Dates(field, _, interval):
            return {"date_histogram": {"field": field, "calendar_interval": interval, "min_doc_count": 1}}


def _order(bucket: Terms, panel: Panel) -> Tree:
    direction = "desc" if bucket.descending else "asc"
    if bucket.order == "name":
        return {"_key": direction}
    first = panel.values[0]
    if bucket.order == "count" or first.operation == "count":
        return {"_count": direction}
    return {_order_key(first): direction}


def _order_key(value: Value) -> str:
    if value.operation in ("median", "percentile"):
        return f"v0.{50 if value.operation == 'median' else value.percent:g}"
    return "v0"


def _order_value(bucket: Bucket, panel: Panel, inner: Tree) -> Tree:
    """Return the first value for groups that are ordered by it, where it isn't computed at their level anyway."""
    if not isinstance(bucket, Terms) or bucket.order != "value" or "v0" in inner:
        return {}
    return {} if panel.values[0].operation == "count" else {"v0": metric(panel.values[0])}


def listing(search: Search, size: int) -> Tree:
    """Return the body of the search that a saved search stands for, its first `size` records."""
    return {
        "size": size,
        "track_total_hits": True,
        "query": query(search.where),
        "sort": [{field: {"order": direction}} for field, direction in search.sort],
        "_source": list(search.columns),
    }


def query(filters: Filter) -> Tree:
    """Return a filter of a panel in the server's query language.

    Raises:
        TypeError: for kinds of filters that panels don't use.
    """
    match filters:
        case And(()):
            return {"match_all": {}}
        case And(parts):
            return {"bool": {"filter": [query(part) for part in parts]}}
        case Or(parts):
            return {"bool": {"should": [query(part) for part in parts], "minimum_should_match": 1}}
        case Not(part):
            return {"bool": {"must_not": [query(part)]}}
        case Eq(field, value):
            return {"term": {field: value}}
        case In(field, values):
            return {"terms": {field: list(values)}}
        case Prefix(field, text):
            return {"prefix": {field: text}}
        case Exists(field):
            return {"exists": {"field": field}}
        case Range(field):
            return {"range": {field: filters.bounds()}}
    raise TypeError(f"panels don't filter by {type(filters).__name__}")

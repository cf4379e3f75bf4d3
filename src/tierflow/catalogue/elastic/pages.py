"""Read every document of a search, page by page, from one unchanging view of an index."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from elastic_transport import TransportError
from elasticsearch import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from elasticsearch import Elasticsearch as Client

Hit = dict[str, Any]
KEEP_ALIVE = "5m"
PAGE = 1000
BUCKETS = 1000


def pages(
    client: Client, index: str, *, query: dict[str, Any], sort: list[Any] | None = None, source: Any = True
) -> Iterator[list[Hit]]:
    """Yield all hits of a query, some at a time; what is written meanwhile isn't seen.

    Args:
        client: Client of the server; its errors pass through unchanged.
        index: Index or alias. What was written since its last refresh isn't seen.
        query: Query DSL.
        sort: Sort keys; without any, the order that is fastest.
        source: Fields of `_source` to fetch, True for all.
    """
    view = client.open_point_in_time(index=index, keep_alive=KEEP_ALIVE)["id"]
    after: dict[str, Any] = {}
    try:
        while True:
            found = client.search(
                pit={"id": view, "keep_alive": KEEP_ALIVE},
                query=query,
                sort=sort or ["_shard_doc"],
                size=PAGE,
                source=source,
                version=True,
                track_total_hits=False,
                # A shard that is away must be an error: its documents would silently be taken for missing.
                allow_partial_search_results=False,
                **after,
            )
            view = found["pit_id"]
            hits: list[Hit] = found["hits"]["hits"]
            if hits:
                yield hits
            if len(hits) < PAGE:
                return
            after = {"search_after": hits[-1]["sort"]}
    finally:
        # The view ends by itself; a server that went away has said so already.
        with suppress(ApiError, TransportError):
            client.close_point_in_time(id=view)


def groups(
    client: Client,
    index: str,
    field: str,
    *,
    aggs: dict[str, Any] | None = None,
    query: dict[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield a bucket for each value of a keyword field, in its order; `key` is None for documents without it.

    Counts are exact whatever the number of values.

    Args:
        client: Client of the server.
        index: Index or alias.
        field: Keyword field.
        aggs: Aggregations inside each bucket.
        query: Query DSL; without one, all documents count.
    """
    composite: dict[str, Any] = {
        "size": BUCKETS,
        "sources": [{"value": {"terms": {"field": field, "missing_bucket": True}}}],
    }
    while True:
        body = {"groups": {"composite": composite, "aggs": aggs or {}}}
        found = client.search(
            index=index, query=query, size=0, aggs=body, track_total_hits=False, allow_partial_search_results=False
        )["aggregations"]["groups"]
        for bucket in found["buckets"]:
            yield {**bucket, "key": bucket["key"]["value"]}
        if "after_key" not in found:
            return
        composite["after"] = found["after_key"]


def count_by(client: Client, index: str, field: str, *, query: dict[str, Any] | None = None) -> dict[str | None, int]:
    """Return the number of documents by value of a keyword field, exactly; see `groups`."""
    return {bucket["key"]: bucket["doc_count"] for bucket in groups(client, index, field, query=query)}

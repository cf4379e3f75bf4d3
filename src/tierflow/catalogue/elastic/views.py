"""Ask an index: every search in one place, from one unchanging view where several belong together."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import elastic_transport
from elasticsearch import BadRequestError, NotFoundError

from tierflow.catalogue.elastic.problems import kind_and_reason, mapped
from tierflow.errors import InputMissingError, QueryError, TierflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from elasticsearch import Elasticsearch as Client

    from tierflow.catalogue.elastic.compile import Tree
    from tierflow.config import Elasticsearch

    Ask: TypeAlias = Callable[..., Tree]

KEEP_ALIVE = "5m"
BUCKETS = 5000
# What the server says of queries that are right but beyond its limits.
_TOO_MUCH = {
    "maxClauseCount": "has more conditions than the server allows: name fewer, or search in several steps",
    "too_complex_to_determinize_exception": "looks for a text that is too long or repeats itself too often: shorten it",
    "nested depth": "is nested deeper than the server allows: take brackets apart, or search in several steps",
    "automaton is too large": "compares with a text that is too long: shorten it",
    "max_regex_length": "looks for a text that is too long: look for a shorter part of it",
    "too_many_buckets_exception": "has more groups than the server allows: ask for fewer",
}


@contextmanager
def asking(settings: Elasticsearch) -> Iterator[None]:
    """Turn errors of searches into ours.

    Raises:
        InputMissingError: if the index isn't there.
        QueryError: if the query is beyond the server's limits.
        TryAgainError: if the server is away or overloaded.
        ConfigError: if the address or the credentials are wrong.
    """
    with mapped(settings):
        try:
            yield
        except NotFoundError as error:
            if kind_and_reason(error.body)[0] not in ("index_not_found_exception", "aliases_not_found_exception"):
                raise
            raise _missing(settings) from error
        except BadRequestError as error:
            found = _beyond(error)
            if found is None:
                raise
            raise found from error


def _missing(settings: Elasticsearch) -> InputMissingError:
    return InputMissingError(
        f"Elasticsearch at {settings.url} has no catalogue {settings.alias!r}: check the address and the alias, run "
        f"with catalogue.elasticsearch.url set, or fill it by `tierflow elastic rebuild OUTPUT`"
    )


def _beyond(error: BadRequestError) -> TierflowError | None:
    text = str(error.body)
    for mark, words in _TOO_MUCH.items():
        if mark in text:
            return QueryError(f"this query {words}")
    return None


def ask(client: Client, settings: Elasticsearch, *, index: str | None = None, **body: Any) -> Tree:
    """Search an index once.

    Args:
        client: Client of the server.
        settings: Names the alias, which is searched unless `index` says another.
        index: Index or alias.
        **body: Parts of the request.
    """
    with asking(settings):
        return _whole(client.search(index=index or settings.alias, allow_partial_search_results=False, **body))


@contextmanager
def view(client: Client, settings: Elasticsearch, *, index: str | None = None) -> Iterator[Ask]:
    """Give a function that searches one unchanging view of an index (the alias); the view is closed at the end."""
    with asking(settings):
        opened = client.open_point_in_time(
            index=index or settings.alias, keep_alive=KEEP_ALIVE, allow_partial_search_results=False
        )
    # The server may name the view anew with every answer.
    newest = opened["id"]

    def search(**body: Any) -> Tree:
        nonlocal newest
        with asking(settings):
            found = _whole(
                client.search(pit={"id": newest, "keep_alive": KEEP_ALIVE}, allow_partial_search_results=False, **body)
            )
        newest = found["pit_id"]
        return found

    try:
        yield search
    finally:
        # A server that went away has said so already, and a view that can't be closed ends by itself.
        with suppress(elastic_transport.TransportError, elastic_transport.ApiError):
            client.close_point_in_time(id=newest)


def _whole(found: Any) -> Tree:
    body: Tree = found.body
    return body


def hits(
    search: Ask, *, query: Tree, sort: Sequence[Tree], page: int, limit: int | None, source: Any
) -> Iterator[list[Tree]]:
    """Yield the hits of a query, a page at a time.

    Args:
        search: From `view`.
        query: Query.
        sort: Sort keys.
        page: Hits per request, 1 to 10,000.
        limit: Hits at most; None for all.
        source: Parts of the documents to fetch.
    """
    after: dict[str, Any] = {}
    left = limit
    while left is None or left > 0:
        size = page if left is None else min(page, left)
        answer = search(query=query, sort=sort, size=size, source=source, track_total_hits=False, **after)
        found = answer["hits"]["hits"]
        if found:
            yield found
        if len(found) < size:
            return
        left = None if left is None else left - size
        after = {"search_after": found[-1]["sort"]}


def groups(
    search: Ask, *, query: Tree, by: Mapping[str, str], aggs: Tree | None = None, size: int = BUCKETS
) -> Iterator[Tree]:
    """Yield a bucket for every combination of values, ascending; documents that lack a value are left out.

    Args:
        search: From `view`.
        query: Query.
        by: Field by the name that it has in the bucket's `key`; the first one is the outermost.
        aggs: Aggregations inside each bucket.
        size: Buckets per request.
    """
    composite: Tree = {"size": size, "sources": [{name: {"terms": {"field": field}}} for name, field in by.items()]}
    inside = {"aggs": aggs} if aggs else {}
    while True:
        body = {"groups": {"composite": composite, **inside}}
        found = search(query=query, size=0, aggs=body, track_total_hits=False)["aggregations"]["groups"]
        yield from found["buckets"]
        if "after_key" not in found:
            return
        composite["after"] = found["after_key"]

"""Take one run off the server; its Parquet isn't touched."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from tierflow.catalogue.elastic.bulk import Action, send
from tierflow.catalogue.elastic.pages import count_by, pages
from tierflow.catalogue.elastic.template import runs_alias
from tierflow.errors import ConfigError, TryAgainError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from elasticsearch import Elasticsearch as Client

    from tierflow.config import Elasticsearch


def count_run(client: Client, settings: Elasticsearch, run: str) -> int:
    """Return the number of documents of a run.

    Raises:
        ConfigError: if the server knows no such run; the message names the nearest one.
    """
    client.indices.refresh(index=settings.alias)
    found = count_by(client, settings.alias, "run")
    runs = [name for name in found if name is not None]
    if run not in found and not client.exists(index=runs_alias(settings.alias), id=run):
        near = get_close_matches(run, runs, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "`tierflow elastic status` lists the runs"
        raise ConfigError(f"no run {run!r} in {settings.alias} at {settings.url}: {hint}")
    return found.get(run, 0)


def forget(
    client: Client, settings: Elasticsearch, run: str, *, on_progress: Callable[[int], None] = lambda _: None
) -> int:
    """Delete the documents of a run and the one about it; killed in the middle, the next call does the rest.

    Errors of the client pass through unchanged.

    Returns:
        Number of documents of objects that were deleted.

    Raises:
        TryAgainError: if some were written again meanwhile: the run is being published.
    """
    deleted = delete(client, settings, {"term": {"run": run}}, on_progress=on_progress)
    client.indices.refresh(index=settings.alias)
    left = count_by(client, settings.alias, "run").get(run, 0)
    if left:
        raise TryAgainError(
            f"{left:,} documents of run {run!r} were written while it was deleted: wait until nothing publishes it, "
            "then run the same command again"
        )
    client.options(ignore_status=404).delete(index=runs_alias(settings.alias), id=run)
    return deleted


def delete(
    client: Client,
    settings: Elasticsearch,
    query: dict[str, object],
    *,
    on_progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Delete the documents that a query finds, as they are now; those written meanwhile stay.

    Returns:
        Number of documents that were deleted.
    """

    def actions() -> Iterator[Action]:
        for page in pages(client, settings.alias, query=query, source=False):
            # The version that was found: a newer document is another one.
            yield from (Action(hit["_id"], hit["_version"], None) for hit in page)

    deleted = 0
    for outcome in send(client, actions(), settings=settings, index=settings.alias):
        deleted += outcome.kind == "accepted"
        on_progress(1)
    return deleted

"""Swap an alias back to the index that it pointed to before a migration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierflow.catalogue.elastic import generations as gens
from tierflow.catalogue.elastic.migrate import swap
from tierflow.catalogue.elastic.pages import count_by
from tierflow.errors import ConfigError

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch as Client

    from tierflow.catalogue.elastic.generations import Generation
    from tierflow.config import Elasticsearch


@dataclass(frozen=True, slots=True)
class Rollback:
    """What a rollback does.

    Attributes:
        old: Index that the alias leaves.
        new: Index that it goes back to.
        documents: Documents by run in the index that it leaves and in the one that it goes back to.
        written: Documents by run that were written to the one that it leaves since the alias pointed to it.
        aborted: An unfinished migration was given up instead; the alias stayed where it was.
    """

    old: str
    new: str
    documents: dict[str | None, tuple[int, int]] = field(default_factory=dict)
    written: dict[str | None, int] = field(default_factory=dict)
    aborted: bool = False


def rollback(client: Client, settings: Elasticsearch, *, dry_run: bool) -> Rollback:
    """Swap the alias back to the index it pointed to before, or give up a migration that was killed.

    The index that it leaves stays as it is; a second rollback swaps forward again.

    Raises:
        ConfigError: if there is no earlier index.
        TryAgainError: if a migration is going on.
    """
    found = gens.generations(client, settings.alias)
    if any(one.mark is not None and not one.behind and one.mark.state != "source" for one in found):
        old = gens.current(found, settings.alias)
        if not dry_run:
            gens.tidy(client, settings.alias)
        return Rollback(old=old.name, new=old.name, aborted=True)
    if not dry_run:
        gens.tidy(client, settings.alias)
        found = gens.generations(client, settings.alias)
    old = gens.current(found, settings.alias)
    previous = old.previous or (old.mark.other if old.mark and old.mark.state == "swapping" else "")
    target = next((one for one in found if one.name == previous), None)
    if target is None:
        was = f"{previous} was deleted" if previous else "it hasn't been migrated"
        raise ConfigError(f"{old.name} has no earlier index to go back to ({was})")
    client.indices.refresh(index=f"{old.name},{target.name}")
    before, after = count_by(client, old.name, "run"), count_by(client, target.name, "run")
    plan = Rollback(
        old=old.name,
        new=target.name,
        documents={
            run: (before.get(run, 0), after.get(run, 0)) for run in sorted({*before, *after}, key=lambda run: run or "")
        },
        written=_written_since(client, old),
    )
    if not dry_run:
        swap(client, settings.alias, old=old.name, new=target.name)
        gens.put_mark(client, target, None, previous=old.name)
    return plan


def _written_since(client: Client, one: Generation) -> dict[str | None, int]:
    query = {"range": {"indexed_at": {"gte": one.since}}} if one.since else {"match_none": {}}
    return count_by(client, one.name, "run", query=query)

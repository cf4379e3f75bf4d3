"""What is on a server: its health, the indices of an alias, and the runs in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tierflow.catalogue.elastic import generations as gens
from tierflow.catalogue.elastic.pages import groups, pages
from tierflow.catalogue.elastic.template import runs_alias

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch as Client

    from tierflow.catalogue.elastic.generations import Generation
    from tierflow.config import Elasticsearch

INTERRUPTED = "unfinished migration: run `tierflow elastic migrate` again, or with --rollback to give it up"
GOING_ON = "a migration is going on"
FOREIGN_BLOCK = "blocked for writing, not by tierflow"


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """One index.

    Attributes:
        name: Its name.
        behind: Whether the alias points to it.
        documents: Number of its documents.
        bytes: Its size on disk, without copies.
        shards: Primary shards.
        replicas: Copies of each.
        catalogue_version: Version of its documents, "" where it doesn't say.
        health: `green`, `yellow` or `red`.
        note: What an administrator should know, "" for nothing.
    """

    name: str
    behind: bool
    documents: int
    bytes: int
    shards: int
    replicas: int
    catalogue_version: str
    health: str
    note: str


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One run.

    Attributes:
        run: Its name; None for documents that name none.
        dataset: Data set, "" where nothing says it.
        documents: Number of its documents.
        updated_at: When the newest of them was sent.
        output: Output folder, "" where nothing says it.
    """

    run: str | None
    dataset: str
    documents: int
    updated_at: str
    output: str


@dataclass(frozen=True, slots=True)
class Status:
    """What is on a server.

    Attributes:
        cluster: Name of the cluster.
        health: `green`, `yellow` or `red`.
        nodes: Number of nodes.
        versions: Versions of the nodes.
        alias: The alias.
        indices: Indices of the alias and of its runs, those that it doesn't point to included.
        runs: Runs behind the alias, by name.
    """

    cluster: str
    health: str
    nodes: int
    versions: tuple[str, ...]
    alias: str
    indices: tuple[IndexStatus, ...]
    runs: tuple[RunStatus, ...]


def status(client: Client, settings: Elasticsearch) -> Status:
    """Look at a server; nothing is changed. Documents of the last second may not be counted.

    An alias that isn't there has no indices. Errors of the client pass through unchanged.
    """
    health = client.cluster.health()
    nodes = client.nodes.info(filter_path="nodes.*.version").get("nodes", {})
    alias = settings.alias
    found = [*gens.generations(client, alias), *gens.generations(client, runs_alias(alias))]
    return Status(
        cluster=health["cluster_name"],
        health=health["status"],
        nodes=health["number_of_nodes"],
        versions=tuple(sorted({node["version"] for node in nodes.values()})),
        alias=alias,
        indices=_indices(client, found),
        runs=run_statuses(client, alias) if client.indices.exists_alias(name=alias) else (),
    )


def run_statuses(client: Client, alias: str) -> tuple[RunStatus, ...]:
    """Return the runs behind an alias, by name; also those that have a document of their own but no objects."""
    known = _run_documents(client, alias)
    aggs = {"newest": {"max": {"field": "indexed_at"}}, "dataset": {"terms": {"field": "dataset", "size": 1}}}
    found = {bucket["key"]: bucket for bucket in groups(client, alias, "run", aggs=aggs)}
    return tuple(
        _run(name, found.get(name), known.get(name or "", {}))
        for name in sorted({*found, *known}, key=lambda name: name or "")
    )


def _run(name: str | None, bucket: dict[str, Any] | None, known: dict[str, Any]) -> RunStatus:
    datasets = bucket["dataset"]["buckets"] if bucket else []
    newest = bucket["newest"].get("value_as_string", "") if bucket else ""
    return RunStatus(
        run=name,
        dataset=datasets[0]["key"] if datasets else known.get("dataset", ""),
        documents=bucket["doc_count"] if bucket else 0,
        updated_at=newest,
        output=known.get("output", ""),
    )


def _run_documents(client: Client, alias: str) -> dict[str, dict[str, Any]]:
    runs = runs_alias(alias)
    if not client.indices.exists_alias(name=runs):
        return {}
    found = pages(client, runs, query={"match_all": {}}, source=["dataset", "output"])
    return {hit["_id"]: hit["_source"] for page in found for hit in page}


def _indices(client: Client, found: list[Generation]) -> tuple[IndexStatus, ...]:
    if not found:
        return ()
    names = ",".join(one.name for one in found)
    stats = client.indices.stats(index=names, metric="docs,store")["indices"]
    return tuple(
        IndexStatus(
            name=one.name,
            behind=one.behind,
            documents=stats[one.name]["primaries"]["docs"]["count"],
            bytes=stats[one.name]["primaries"]["store"]["size_in_bytes"],
            shards=one.shards,
            replicas=one.replicas,
            catalogue_version=one.version,
            health=stats[one.name]["health"],
            note=note(one),
        )
        for one in found
    )


def note(one: Generation) -> str:
    """Return what an administrator should know about an index, "" for nothing."""
    if one.mark is not None:
        return GOING_ON if one.mark.running() else INTERRUPTED
    return FOREIGN_BLOCK if one.blocked else ""

"""The index behind the alias: made when it is absent, checked when it is there, extended by declared fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elasticsearch import ApiError, BadRequestError, NotFoundError

from tierflow.catalogue.elastic import template
from tierflow.catalogue.elastic.runs import run_index
from tierflow.catalogue.elastic.template import first_index, runs_alias
from tierflow.catalogue.fields import METADATA_PREFIX
from tierflow.catalogue.schema import CATALOGUE_VERSION
from tierflow.errors import ConfigError, TryAgainError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pyarrow as pa
    from elasticsearch import Elasticsearch as Client

    from tierflow.config import Elasticsearch


def ensure(client: Client, settings: Elasticsearch, *, features: Mapping[str, str]) -> None:
    """Make templates and first index behind the alias where there is none, and the same for the documents of runs.

    An index that is there is only looked at. Two jobs may do this at once. Errors of the client pass through.

    Args:
        client: The server.
        settings: Alias, shards and replicas.
        features: Unit by name of the features that are known beforehand.

    Raises:
        ConfigError: if the alias is a plain index, isn't tierflow's, has no index to write to, or its documents are of
            another version.
        TryAgainError: if somebody else deletes what was just made.
    """
    if not _check(client, settings):
        put_templates(client, settings, features=features)
        create(client, alias=settings.alias, index=_free_name(client, settings.alias))
        if not _check(client, settings):
            raise TryAgainError(
                f"alias {settings.alias!r} at {settings.url} vanished right after it was made: is somebody deleting "
                "it? Run the same command again"
            )
    runs = runs_alias(settings.alias)
    if not client.indices.exists_alias(name=runs):
        _refuse_plain_index(client, runs, settings)
        create(client, alias=runs, index=_free_name(client, runs), body=run_index(settings))


def put_templates(client: Client, settings: Elasticsearch, *, features: Mapping[str, str]) -> None:
    """Write the component templates and the index template to the server."""
    for name, body in template.component_templates(settings, features).items():
        client.cluster.put_component_template(name=name, **body)
    body = template.index_template(settings, features)
    client.indices.put_index_template(name=settings.alias, **{key.removeprefix("_"): v for key, v in body.items()})


def create(client: Client, *, alias: str, index: str, body: Mapping[str, Any] | None = None) -> None:
    """Create an index as the one that the alias writes to, unless another job has just done so.

    Args:
        client: The server.
        alias: Name that everybody uses.
        index: Name of the index.
        body: Its settings and mappings where no template gives them.
    """
    try:
        client.indices.create(index=index, aliases={alias: {"is_write_index": True}}, **(body or {}))
    except ApiError:
        # It has that name, or the alias another index to write to: a fault of the server's own, by its status.
        if not client.indices.exists_alias(name=alias):
            raise


def put_metadata(client: Client, settings: Elasticsearch, columns: Iterable[pa.Field[Any]]) -> None:
    """Add the data set's own fields to the mapping; nothing is sent where they are there already.

    Args:
        client: The server.
        settings: Names the alias.
        columns: Columns of a catalogue table; those that aren't metadata are left out.

    Raises:
        ConfigError: if a field has another type on the server, from another data set.
    """
    wanted = template.metadata_properties(columns)["properties"]["metadata"]["properties"]
    if not wanted:
        return
    known = _mapping(client, settings.alias)["properties"].get("metadata", {}).get("properties", {})
    for name, body in wanted.items():
        _same_type(name, theirs=known.get(name, body), ours=body, settings=settings)
    new = {name: body for name, body in wanted.items() if name not in known}
    if not new:
        return
    try:
        client.indices.put_mapping(index=settings.alias, properties={"metadata": {"properties": new}})
    except BadRequestError:
        # Another data set's job put one of them there since we looked.
        known = _mapping(client, settings.alias)["properties"]["metadata"].get("properties", {})
        for name, body in new.items():
            _same_type(name, theirs=known.get(name, body), ours=body, settings=settings)
        raise


def target_uuid(client: Client, alias: str) -> str:
    """Return what tells this index from every other, whatever its address: cluster and index uuid.

    An index that was deleted and made anew, or refilled by a migration, has another one.

    Raises:
        ConfigError: if the alias has no index to write to.
    """
    index = write_index(client, alias)
    found = client.indices.get_settings(index=index, name="index.uuid", flat_settings=True)
    cluster = client.cluster.state(metric="version")["cluster_uuid"]
    return f"{cluster}/{found[index]['settings']['index.uuid']}"


def write_index(client: Client, alias: str) -> str:
    """Return the name of the index that the alias writes to.

    Raises:
        ConfigError: if it has none.
    """
    found = {name: body["aliases"][alias] for name, body in client.indices.get_alias(name=alias).items()}
    writable: list[str] = [name for name, body in found.items() if body.get("is_write_index", len(found) == 1)]
    if len(writable) != 1:
        raise ConfigError(
            f"alias {alias!r} stands for {', '.join(sorted(found))}, none of which it writes to: an administrator must "
            "set `is_write_index` for the newest one"
        )
    return writable[0]


def _check(client: Client, settings: Elasticsearch) -> bool:
    """Tell whether the alias is there; raise where it can't take our documents."""
    try:
        index = write_index(client, settings.alias)
    except NotFoundError:
        _refuse_plain_index(client, settings.alias, settings)
        return False
    found = _mapping(client, index).get("_meta", {}).get("catalogue_version")
    where = f"index {index} at {settings.url}"
    if found is None:
        raise ConfigError(f"{where} wasn't made by tierflow: give another catalogue.elasticsearch.alias")
    if int(found) > int(CATALOGUE_VERSION):
        raise ConfigError(
            f"{where} holds documents of version {found}, this tierflow writes version {CATALOGUE_VERSION}: install a "
            "newer tierflow"
        )
    if int(found) < int(CATALOGUE_VERSION):
        raise ConfigError(
            f"{where} holds documents of version {found}, this tierflow writes version {CATALOGUE_VERSION}: run "
            "`tierflow elastic migrate` once; searches go on meanwhile"
        )
    return True


def _refuse_plain_index(client: Client, alias: str, settings: Elasticsearch) -> None:
    if client.indices.exists(index=alias):
        raise ConfigError(
            f"{alias!r} at {settings.url} is an index, where tierflow expects an alias: some other program made it by "
            "writing to that name. Delete it if nothing in it is needed, or give another catalogue.elasticsearch.alias"
        )


def _free_name(client: Client, alias: str) -> str:
    """Return the name for the index of a new alias: the first that no index has whose alias was taken away."""
    stem = first_index(alias).removesuffix("000001")
    taken = client.indices.get(index=f"{stem}*", expand_wildcards="all", features="aliases")
    numbers = [int(name.removeprefix(stem)) for name in taken if name.removeprefix(stem).isdecimal()]
    return f"{stem}{max(numbers, default=0) + 1:06}"


def _mapping(client: Client, index: str) -> dict[str, Any]:
    """Return the mapping of an index or, behind an alias, of the one that is written to."""
    found = client.indices.get_mapping(index=index).body
    name = next(iter(found)) if len(found) == 1 else write_index(client, index)
    mapping: dict[str, Any] = found[name]["mappings"]
    return mapping


def _same_type(name: str, *, theirs: Mapping[str, Any], ours: Mapping[str, Any], settings: Elasticsearch) -> None:
    if theirs.get("type") != ours["type"] or theirs.get("fields") != ours.get("fields"):
        raise ConfigError(
            f"{METADATA_PREFIX}{name} is {_kind(theirs)} in {settings.alias!r} at {settings.url}, as another data set "
            f"declared it, and {_kind(ours)} in this one: give it another name in metadata.fields (such as "
            f"{name}_2) or the same type, or publish to another catalogue.elasticsearch.alias"
        )


def _kind(body: Mapping[str, Any]) -> str:
    if body.get("fields"):
        return "a date"
    return {"keyword": "text", "long": "an integer", "double": "a number"}.get(body["type"], str(body["type"]))

"""The numbered indices behind an alias, and the marks that say what a migration is doing with them."""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tierflow.clock import utc_now
from tierflow.errors import ConfigError, TryAgainError

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch as Client

State = Literal["source", "filling", "swapping"]
DIGITS = 6


class Mark(BaseModel):
    """What a migration has noted in an index, under `_meta.migration` of its mapping.

    An index that is copied is a `source`: its write block is the migration's. A new one is `filling` until all
    documents are there, then `swapping` until the alias points to it and that is noted.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    state: State
    other: str
    """The new index on a `source`, else the index that the documents came from."""
    owner: str
    """Machine and process, as `HOST:PID`."""
    at: str
    """Last sign of life of the migration."""
    lease_s: float
    """Seconds without a sign of life after which the migration is dead."""

    def running(self) -> bool:
        """Whether its process may still be at work."""
        host, _, pid = self.owner.rpartition(":")
        age_s = (datetime.now(UTC) - datetime.fromisoformat(self.at)).total_seconds()
        here = host == platform.node() and (int(pid) == os.getpid() or not _alive(int(pid)))
        return abs(age_s) < self.lease_s and not here


def new_mark(state: State, *, other: str, lease_s: float) -> Mark:
    """Return a mark of this process, now."""
    return Mark(state=state, other=other, owner=f"{platform.node()}:{os.getpid()}", at=utc_now(), lease_s=lease_s)


@dataclass(frozen=True, slots=True)
class Generation:
    """One numbered index.

    Attributes:
        name: Such as `tierflow-objects-000001`.
        uuid: Identity that the server gave it.
        behind: Whether the alias points to it.
        blocked: Whether it has a write block.
        shards: Number of primary shards.
        replicas: Copies of each.
        meta: `_meta` of its mapping.
        properties: Its mapped fields.
        mark: What a migration that isn't at its end has noted, None without one.
        previous: Index that the alias pointed to before this one, "" where it doesn't say.
        since: Since when it points to this one, "" where it doesn't say.
    """

    name: str
    uuid: str
    behind: bool
    blocked: bool
    shards: int
    replicas: int
    meta: dict[str, Any]
    properties: dict[str, Any]
    mark: Mark | None
    previous: str = ""
    since: str = ""

    @property
    def number(self) -> int:
        """Its number."""
        return int(self.name[-DIGITS:])

    @property
    def version(self) -> str:
        """Version of the catalogue that it was made for, "" where it doesn't say."""
        return str(self.meta.get("catalogue_version", ""))


def generations(client: Client, alias: str) -> list[Generation]:
    """Return the numbered indices of an alias, the oldest first, whether behind it or not."""
    found = client.indices.get(index=f"{alias}-*", expand_wildcards="all", features=["aliases", "mappings", "settings"])
    pattern = re.compile(rf"{re.escape(alias)}-\d{{{DIGITS}}}")
    return sorted(
        (_generation(name, body, alias) for name, body in found.items() if pattern.fullmatch(name)),
        key=lambda one: one.number,
    )


def current(found: list[Generation], alias: str) -> Generation:
    """Return the one index behind the alias.

    Raises:
        ConfigError: if there is none, or several.
    """
    behind = [one for one in found if one.behind]
    if not behind:
        raise ConfigError(
            f"no index is behind the alias {alias}: check the alias, or create the index by "
            "`tierflow elastic rebuild OUTPUT`"
        )
    if len(behind) > 1:
        names = ", ".join(one.name for one in behind)
        raise ConfigError(
            f"the alias {alias} stands for {len(behind)} indices ({names}), expected one: take the alias off all but "
            "the newest (Kibana, Dev Tools: POST /_aliases)"
        )
    return behind[0]


def next_name(found: list[Generation], alias: str) -> str:
    """Return the name of the next index.

    >>> next_name([], "lab-objects")
    'lab-objects-000001'
    """
    number = max((one.number for one in found), default=0) + 1
    return f"{alias}-{number:0{DIGITS}}"


def put_mark(client: Client, one: Generation, mark: Mark | None, *, previous: str = "") -> None:
    """Replace an index's mark; the rest of its `_meta` stays. Works on a blocked index too.

    Args:
        client: Client of the server.
        one: The index.
        mark: The mark; None for none.
        previous: Note that the alias points to this index now, and to which one it did before.
    """
    meta = {name: value for name, value in one.meta.items() if name != "migration"}
    meta |= {"migration": mark.model_dump()} if mark else {}
    meta |= {"previous": previous, "since": utc_now()} if previous else {}
    client.indices.put_mapping(index=one.name, meta=meta)


def unblock(client: Client, one: Generation) -> None:
    """Take a migration's write block and mark off an index."""
    client.indices.put_settings(index=one.name, settings={"index.blocks.write": None})
    put_mark(client, one, None)


def tidy(client: Client, alias: str) -> Generation | None:
    """End what a killed migration left: blocks are taken off, an index that wasn't finished is deleted.

    Returns:
        The index whose swap was done but not noted, now noted as done; None if there was none.

    Raises:
        TryAgainError: if that migration may still be running.
    """
    found = generations(client, alias)
    marked = [(one, one.mark) for one in found if one.mark is not None]
    for _, mark in marked:
        if mark.running():
            raise TryAgainError(
                f"a migration of {alias} is going on (process {mark.owner}, last sign of life {mark.at}): "
                f"wait for it; if it was killed, the same command works after {mark.lease_s:.0f} seconds"
            )
    completed = None
    for one, mark in marked:
        if mark.state == "source":
            unblock(client, one)
        elif one.behind:
            put_mark(client, one, None, previous=mark.other)
            completed = one
        else:
            client.indices.delete(index=one.name)
    return completed


def _generation(name: str, body: dict[str, Any], alias: str) -> Generation:
    settings = body["settings"]["index"]
    meta = body["mappings"].get("_meta", {})
    mark = None
    with suppress(ValidationError):
        mark = Mark.model_validate(meta.get("migration"))
    return Generation(
        name=name,
        uuid=settings["uuid"],
        behind=alias in body["aliases"],
        blocked=str(settings.get("blocks", {}).get("write", "false")).lower() == "true",
        shards=int(settings["number_of_shards"]),
        replicas=int(settings["number_of_replicas"]),
        meta=meta,
        properties=body["mappings"].get("properties", {}),
        mark=mark,
        previous=str(meta.get("previous", "")),
        since=str(meta.get("since", "")),
    )


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

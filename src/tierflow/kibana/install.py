"""Bring the dashboards to a Kibana, or into files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tierflow.config import Elasticsearch
from tierflow.errors import ConfigError
from tierflow.io.atomic import write_text
from tierflow.kibana.client import Kibana
from tierflow.kibana.saved_objects import DEFAULT_ALIAS, files, ndjson, saved_objects

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tierflow.kibana.client import Answer

IMPORT = "/api/saved_objects/_import?overwrite=true"
OLDEST = "8.9"
_SPACE = re.compile(r"[a-z0-9_-]{1,200}")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Installed:
    """What was brought to a Kibana.

    Attributes:
        objects: Number of saved objects, all of them accepted.
        titles: Titles of the dashboards.
        url: Address of the list of dashboards.
    """

    objects: int
    titles: tuple[str, ...]
    url: str


def export(folder: Path, *, alias: str = DEFAULT_ALIAS, thumbnail_url: str | None = None) -> list[Path]:
    """Write the saved objects as NDJSON files, for Kibana's own import page.

    Args:
        folder: Where to write; made when it isn't there.
        alias: Alias of the objects' index.
        thumbnail_url: Address of `tierflow serve`; without one there are no thumbnails.

    Returns:
        The files.
    """
    written = []
    for name, text in files(alias=alias, thumbnail_url=checked_thumbnails(thumbnail_url)).items():
        write_text(folder / name, text)
        written.append(folder / name)
    return written


def install(
    url: str,
    *,
    space: str | None = None,
    alias: str = DEFAULT_ALIAS,
    thumbnail_url: str | None = None,
    settings: Elasticsearch | None = None,
) -> Installed:
    """Import every saved object into a Kibana; those of an earlier installation are replaced.

    Args:
        url: Address of the Kibana, such as `http://localhost:5601`, with its base path where it has one.
        space: Identifier of a space; None is the default one.
        alias: Alias of the objects' index.
        thumbnail_url: Address of `tierflow serve`; without one there are no thumbnails.
        settings: Where credentials and certificate come from and how long to wait; see `elastic.connection`.

    Raises:
        ConfigError: if it isn't a Kibana of version 8.9 or later, refuses us or an object, or has no such space.
        TryAgainError: if it is away or isn't ready within `settings.patience_s`.
    """
    if space is not None and not _SPACE.fullmatch(space):
        raise ConfigError(
            f"space {space!r}: expected its identifier, of a-z, 0-9, - and _, as in Kibana's address /s/ID"
        )
    objects = saved_objects(alias=alias, thumbnail_url=checked_thumbnails(thumbnail_url))
    kibana = Kibana(url, settings or Elasticsearch(), space=space)
    if space is not None:
        _check_space(kibana, space)
    answer = kibana.post_file(IMPORT, name="tierflow.ndjson", text=ndjson(objects))
    _check(answer, kibana, sent=objects)
    titles = tuple(item["attributes"]["title"] for item in objects if item["type"] == "dashboard")
    return Installed(objects=len(objects), titles=titles, url=f"{kibana.home}/app/dashboards")


def checked_thumbnails(address: str | None) -> str | None:
    """Return an address of thumbnails, or None.

    Raises:
        ConfigError: if it is neither an http(s) address nor a path on Kibana's own server.
    """
    if address is None or re.match(r"(https?://[^\s/]|/)[^\s{}]*$", address):
        return address
    raise ConfigError(f"thumbnail address {address!r}: expected one such as http://files.lab:8600")


def _check_space(kibana: Kibana, space: str) -> None:
    answer = kibana.get(f"/api/spaces/space/{space}")
    if answer.status == 404 and isinstance(answer.body, dict) and answer.body.get("error") == "Not Found":
        raise ConfigError(f"Kibana at {kibana.url} has no space {space!r}: make it there, or correct the identifier")


def _check(answer: Answer, kibana: Kibana, *, sent: Sequence[dict[str, Any]]) -> None:
    """Raise where not every object was accepted: Kibana answers 200 to failures, too."""
    body = answer.body
    if answer.status != 200 or not isinstance(body, dict) or "success" not in body:
        message = body.get("message") if isinstance(body, dict) else None
        raise ConfigError(
            f"{kibana.url} refuses the import ({answer.status}: {message or body}): expected a Kibana of version "
            f"{OLDEST} or later at its own address, with its base path where it has one"
        )
    errors = body.get("errors") or []
    accepted = int(body.get("successCount", 0))
    if body["success"] is True and not errors and accepted == len(sent):
        return
    told = "; ".join(_problem(error) for error in errors[:_SHOWN]) or "it doesn't say why"
    more = f"; and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
    raise ConfigError(
        f"Kibana at {kibana.url} took {accepted} of {len(sent)} saved objects: {told}{more}. Those that it took are "
        f"there; Kibana {OLDEST} or later takes all of them. Mend the cause, then run the same command again"
    )


def _problem(error: dict[str, Any]) -> str:
    cause = error.get("error") or {}
    missing = ", ".join(f"{ref.get('type')} {ref.get('id')}" for ref in cause.get("references") or [])
    reason = cause.get("message") or cause.get("type") or "unknown reason"
    return f"{error.get('type')} {error.get('id')}: {reason}{f' ({missing})' if missing else ''}"

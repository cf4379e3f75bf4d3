"""Refill a run on the server from its Parquet, whatever ledgers and receipts say."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from elasticsearch import NotFoundError

from tierflow.catalogue.elastic.bulk import Action, send
from tierflow.catalogue.elastic.compare import Records, differences, documents_of_run
from tierflow.catalogue.elastic.index import target_uuid
from tierflow.catalogue.elastic.publish import publish
from tierflow.catalogue.elastic.shard import Places
from tierflow.io.atomic import write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from elasticsearch import Elasticsearch as Client

    from tierflow.catalogue.elastic.outputs import Output
    from tierflow.config import Elasticsearch

STATE = Path(".tierflow/rebuild.json")
LASTS_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did.

    Attributes:
        shards: Shards that were sent.
        skipped: Shards that an earlier call, killed since, had sent already.
        deleted: Documents of the run that Parquet doesn't have, now deleted.
    """

    shards: int
    skipped: int
    deleted: int


def rebuild(
    client: Client,
    settings: Elasticsearch,
    output: Output,
    *,
    config: Path,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Rebuilt:
    """Send every record of an output again, and delete the documents of its run that Parquet doesn't have.

    The index is made where it is missing; dead letters are tried again. Killed in the middle, the next call goes on
    with the shards that are left.

    Args:
        client: Client of the server; its errors pass through unchanged.
        settings: Names the alias.
        output: The output; hold its lock.
        config: Configuration file with these settings.
        on_progress: Called with the number of records of a shard when it is done.

    Raises:
        TryAgainError: if the server is away or overloaded.
        ConfigError: if address, credentials or the index are wrong.
    """
    done = _State.read(output.folder / STATE)
    sent = skipped = 0
    for name, table in zip(output.files, output.tables(), strict=True):
        path = Path(name)
        if done.has(path, target=_target(client, settings.alias)):
            skipped += 1
        else:
            _send_again(output.folder, path, config=config)
            done.add(path, target=_target(client, settings.alias))
            sent += 1
        on_progress(table.num_rows)
    deleted = delete_extra(client, settings, output)
    (output.folder / STATE).unlink(missing_ok=True)
    return Rebuilt(sent, skipped, deleted)


def delete_extra(client: Client, settings: Elasticsearch, output: Output) -> int:
    """Delete the documents of an output's run that its Parquet doesn't have.

    Returns:
        Number of documents that were deleted.
    """
    client.indices.refresh(index=settings.alias)
    records = Records(output)
    try:
        extra: Iterator[Action] = (
            Action(one.found.id, one.found.version, None)
            for one in differences(records, documents_of_run(client, settings.alias, output.run))
            if one.kind == "extra" and one.found is not None
        )
        outcomes = send(client, extra, settings=settings, index=settings.alias)
        return sum(outcome.kind == "accepted" for outcome in outcomes)
    finally:
        records.close()


def _send_again(output: Path, catalogue: Path, *, config: Path) -> None:
    """Publish a shard as if it never had been."""
    places = Places(output, catalogue.stem)
    places.ledger.unlink(missing_ok=True)
    places.dead_letters.unlink(missing_ok=True)
    publish(catalogue, config=config, receipt=places.receipt)


def _target(client: Client, alias: str) -> str:
    try:
        return target_uuid(client, alias)
    except NotFoundError:
        return ""


class _State:
    """Which shards are done, so that a rebuild that was killed goes on where it stopped. After a day it starts anew."""

    def __init__(self, path: Path, target: str, shards: dict[str, int]) -> None:
        self._path, self._target, self._shards = path, target, shards

    @classmethod
    def read(cls, path: Path) -> _State:
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            if time.time() - path.stat().st_mtime > LASTS_S:
                return cls(path, "", {})
            found = json.loads(path.read_text(encoding="utf-8"))
            return cls(path, str(found["target"]), {str(name): int(at) for name, at in found["shards"].items()})
        return cls(path, "", {})

    def has(self, catalogue: Path, *, target: str) -> bool:
        known = self._shards.get(catalogue.name)
        return bool(target) and target == self._target and known == catalogue.stat().st_mtime_ns

    def add(self, catalogue: Path, *, target: str) -> None:
        if target != self._target:
            self._target, self._shards = target, {}
        self._shards[catalogue.name] = catalogue.stat().st_mtime_ns
        write_text(self._path, json.dumps({"target": self._target, "shards": self._shards}))

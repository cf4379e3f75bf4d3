"""Bring the server's documents of one shard up to date: what it has already isn't sent again, what is gone is deleted.

The catalogue table on disk is the truth. Every document carries an external version that grows with time, so that an
older publication can't undo a newer one, whatever is late, repeated or killed.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tierflow import config_io
from tierflow.catalogue.elastic import index, ledger
from tierflow.catalogue.elastic.bulk import Counters
from tierflow.catalogue.elastic.connection import address_of, connect, mapped
from tierflow.catalogue.elastic.patience import Patience
from tierflow.catalogue.elastic.problems import translated
from tierflow.catalogue.elastic.runs import publish_run, run_document
from tierflow.catalogue.elastic.shard import Places, Shard, delete
from tierflow.catalogue.elastic.source import Source
from tierflow.catalogue.schema import feature_units
from tierflow.clock import utc_now
from tierflow.errors import TierflowError, TryAgainError
from tierflow.io.atomic import write_text

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from elasticsearch import Elasticsearch as Client

    from tierflow.config import Elasticsearch

NOTES = ".tierflow/errors"
RECENT_S = 900


def now_ms() -> int:
    """Return the milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def publish(catalogue: Path, *, config: Path, receipt: Path) -> None:
    """Make the server hold exactly the records of one shard, and write a receipt when it does.

    Records that the server refuses become dead letters. When this is cut short, what the server has acknowledged is
    remembered.

    Args:
        catalogue: Records of the shard, `catalogue/NNNNN.parquet` of the output.
        config: Configuration file.
        receipt: JSON to write. `records` = `accepted` + `unchanged` + `dead_letters`, where `accepted` are those that
            were sent now, and `sent` = `accepted` + `rejected`; `deleted`, `retries`, `conflicts`, `bytes`, `seconds`,
            `waited_s`, `alias`, `index_uuid`, `catalogue_digest` (SHA-256 of the table), `started_at`, `ended_at`.

    Raises:
        InputMissingError: if the table isn't there.
        TryAgainError: if the server is away, overloaded or full, doesn't take writes for now, or the table was replaced
            meanwhile.
        ConfigError: if address, credentials, certificate or the index are wrong.
    """
    started_at, started = utc_now(), time.monotonic()
    output = catalogue.absolute().parent.parent
    settings = _settings(config, output)
    # In this order: whoever writes a newer ledger has read a newer table, and our version is below theirs.
    places, moment = Places(output, catalogue.stem), now_ms()
    known = ledger.read(places.ledger)
    source = Source(catalogue)
    version = max(moment, *(entry.version + 1 for entry in known.entries.values())) if known.entries else moment
    counters = Counters()
    with connect(settings) as client, mapped(settings):
        target = _prepare(client, settings, source.table, output=output, counters=counters)
        shard = Shard(
            client,
            settings,
            source=source,
            places=places,
            known=known,
            target=target,
            version=version,
            counters=counters,
        )
        shard.send()
        _forget_former_shards(client, settings, places, target=target)
    found = shard.counts() | {
        "retries": counters.retries,
        "bytes": counters.bytes,
        "seconds": round(time.monotonic() - started, 3),
        "waited_s": round(counters.waited_s, 3),
        "alias": settings.alias,
        "index_uuid": target.rpartition("/")[2],
        "catalogue_digest": source.digest,
        "started_at": started_at,
        "ended_at": utc_now(),
    }
    _check(found, catalogue)
    write_text(receipt, json.dumps(found) + "\n")


def _settings(config: Path, output: Path) -> Elasticsearch:
    settings = config_io.load(config).catalogue.elasticsearch
    changes: dict[str, Any] = {"url": address_of(settings)}
    if _failed_before(output):
        # A thousand shards must not wait two minutes each for a server that is away.
        changes["patience_s"] = 0
    return settings.model_copy(update=changes)


def _failed_before(output: Path) -> bool:
    """Tell whether another shard of this run has just waited for the server in vain."""
    for note in (output / NOTES).glob("publish-*.json"):
        with suppress(OSError, ValueError):
            young = time.time() - note.stat().st_mtime < RECENT_S
            if young and json.loads(note.read_text(encoding="utf-8"))["exit_code"] == TryAgainError.exit_code:
                return True
    return False


def _prepare(client: Client, settings: Elasticsearch, table: pa.Table, *, output: Path, counters: Counters) -> str:
    """Make ready what the shard's documents need, and return the identity of the index."""
    patience = Patience(settings.patience_s)

    def once() -> str:
        index.ensure(client, settings, features=feature_units(table.schema))
        index.put_metadata(client, settings, table.schema)
        if table.num_rows:
            publish_run(client, settings, run_document(table, output=output))
        return index.target_uuid(client, settings.alias)

    try:
        return patience.call(once, explain=lambda error: translated(error, settings))
    finally:
        counters.retries += patience.retries
        counters.waited_s += patience.waited_s


def _forget_former_shards(client: Client, settings: Elasticsearch, places: Places, *, target: str) -> None:
    """Delete the documents of shards that a newer scan no longer has, unless another shard has them now."""
    try:
        summary = json.loads(places.summary.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    names = {shard["name"] for shard in summary["shards"]}
    if places.name not in names:
        return
    for path in sorted(places.ledger.parent.glob("*.parquet")):
        if path.stem in names or path.name.startswith("."):
            continue
        former = ledger.read(path)
        if former.target == target:
            delete(client, settings, former.entries, counters=Counters())
        gone = Places(places.output, path.stem)
        for leftover in (gone.dead_letters, gone.receipt, gone.ledger):
            leftover.unlink(missing_ok=True)


def _check(found: dict[str, Any], catalogue: Path) -> None:
    accounted = found["accepted"] + found["unchanged"] + found["dead_letters"]
    if found["sent"] != found["accepted"] + found["rejected"] or found["records"] != accounted:
        raise TierflowError(
            f"publishing {catalogue} doesn't add up ({json.dumps(found)}): this is a fault of tierflow; please report "
            "this line. Nothing is lost: the catalogue is in Parquet"
        )

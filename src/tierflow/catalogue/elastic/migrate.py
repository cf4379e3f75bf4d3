"""Move an alias to a new index: made, filled and checked while searches go on, then swapped in one act."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from elastic_transport import TransportError
from elasticsearch import ApiError

from tierflow.catalogue.elastic import generations as gens
from tierflow.catalogue.elastic import ledger
from tierflow.catalogue.elastic.bulk import Action, send
from tierflow.catalogue.elastic.documents import lines
from tierflow.catalogue.elastic.index import put_templates
from tierflow.catalogue.elastic.pages import count_by, pages
from tierflow.catalogue.elastic.patience import Patience
from tierflow.catalogue.elastic.problems import is_passing_status
from tierflow.catalogue.elastic.shard import Places
from tierflow.catalogue.elastic.template import metadata_properties
from tierflow.catalogue.schema import CATALOGUE_VERSION, feature_units
from tierflow.clock import utc_now
from tierflow.errors import ConfigError, TierflowError, TryAgainError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from elasticsearch import Elasticsearch as Client

    from tierflow.catalogue.elastic.generations import Generation
    from tierflow.catalogue.elastic.outputs import Output
    from tierflow.config import Elasticsearch

HEARTBEAT_S = 20.0
GRACE_S = 60.0


@dataclass(frozen=True, slots=True)
class Part:
    """What happens to one run.

    Attributes:
        run: Its name; None for documents that name no run.
        on_server: Its documents in the old index.
        output: Output whose Parquet refills it; None when its documents are copied.
        records: Records in Parquet; 0 without an output.
    """

    run: str | None
    on_server: int
    output: Path | None = None
    records: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a migration is going to do.

    Attributes:
        old: Index behind the alias.
        new: Name of the index to come.
        parts: What happens to each run, by name.
        shards: Primary shards of the new index.
        replicas: Copies of each.
        metadata: Mapping of the fields under `metadata`.
        features: Unit by name of the features that the documents have.
    """

    old: Generation
    new: str
    parts: tuple[Part, ...]
    shards: int
    replicas: int
    metadata: dict[str, Any]
    features: dict[str, str]


@dataclass(slots=True)
class Outcome:
    """What a migration did.

    Attributes:
        old: Index that the alias pointed to.
        new: Index that it points to now.
        documents: Documents in the new one, by run.
        refused: Records that the server refused, by run.
        first_reason: Why it refused the first one.
        resumed: An earlier migration had swapped the alias and was killed right after; only that was noted.
    """

    old: str
    new: str
    documents: dict[str | None, int] = field(default_factory=dict)
    refused: dict[str | None, int] = field(default_factory=dict)
    first_reason: str = ""
    resumed: bool = False


def make_plan(
    client: Client,
    settings: Elasticsearch,
    outputs: Sequence[Output],
    *,
    shards: int | None = None,
    replicas: int | None = None,
) -> Plan:
    """Look at the server and the outputs, and say what a migration would do; no document or setting is changed.

    Args:
        client: Client of the server.
        settings: Names the alias.
        outputs: Outputs whose Parquet refills their runs.
        shards: Primary shards of the new index; None for as many as the old one has.
        replicas: Copies of each; None for as many as the old one has.

    Raises:
        ConfigError: if there is no index to migrate, it is of a newer version, somebody else blocks it, or a field of
            the data sets has two types.
    """
    found = gens.generations(client, settings.alias)
    old = gens.current(found, settings.alias)
    if old.version.isdecimal() and int(old.version) > int(CATALOGUE_VERSION):
        raise ConfigError(
            f"{old.name} is of catalogue version {old.version}, this tierflow knows {CATALOGUE_VERSION}: install a "
            "newer tierflow"
        )
    if old.blocked and old.mark is None:
        raise ConfigError(
            f"{old.name} is blocked for writing, but not by tierflow: whoever set `index.blocks.write` must take it "
            "off first"
        )
    client.indices.refresh(index=old.name)
    on_server = count_by(client, old.name, "run")
    given = {output.run: output for output in outputs}
    runs = sorted({*on_server, *given}, key=lambda run: run or "")
    parts = tuple(
        Part(run, on_server.get(run, 0), given[run].folder, given[run].records)
        if run in given and run is not None
        else Part(run, on_server.get(run, 0))
        for run in runs
    )
    # An unfinished index of a killed migration is deleted first, which frees its number.
    kept = [one for one in found if one.behind or one.mark is None or one.mark.state == "source"]
    return Plan(
        old=old,
        new=gens.next_name(kept, settings.alias),
        parts=parts,
        shards=shards or old.shards,
        replicas=old.replicas if replicas is None else replicas,
        metadata=_metadata(old, outputs),
        features=_features(old, outputs),
    )


def migrate(
    client: Client,
    settings: Elasticsearch,
    outputs: Sequence[Output],
    *,
    shards: int | None = None,
    replicas: int | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Fill a new index and swap the alias to it. The old index stays, for a rollback.

    Searches see the old index until the swap. Whoever publishes meanwhile is told to try again. Whatever goes wrong,
    the alias points to a whole index, and the old one takes documents again; after a kill, the next call sees to that.

    Args:
        client: Client of the server; its errors pass through unchanged.
        settings: Names the alias; sizes of requests and patience.
        outputs: Outputs whose Parquet refills their runs. All other runs are copied from the old index.
        shards: As in `make_plan`.
        replicas: As in `make_plan`.
        on_progress: Called with the number of documents written.

    Raises:
        ConfigError: as `make_plan`; or if the new index refuses a document of a run whose output wasn't given.
        TryAgainError: if another migration is going on, or the server is away.
        TierflowError: if the counts don't agree; the alias is as it was.
    """
    completed = gens.tidy(client, settings.alias)
    if completed is not None:
        return Outcome(old=completed.mark.other if completed.mark else "", new=completed.name, resumed=True)
    plan = make_plan(client, settings, outputs, shards=shards, replicas=replicas)
    with _unwound_on_signals():
        return _Migration(client, settings, plan, on_progress).run(outputs)


class _Migration:
    def __init__(self, client: Client, settings: Elasticsearch, plan: Plan, on_progress: Callable[[int], None]) -> None:
        self._client, self._settings, self._plan, self._advance = client, settings, plan, on_progress
        self._lease_s = settings.patience_s + settings.timeout_s + GRACE_S
        self._outcome = Outcome(old=plan.old.name, new=plan.new)
        self._new: Generation | None = None
        self._beaten_at = time.monotonic()

    def run(self, outputs: Sequence[Output]) -> Outcome:
        old = self._plan.old
        try:
            self._create()
            gens.put_mark(self._client, old, gens.new_mark("source", other=self._plan.new, lease_s=self._lease_s))
            # This call, unlike a setting, returns only when writes that had begun are done.
            self._client.indices.add_block(index=old.name, block="write")
            self._fill(outputs)
            self._check()
            self._ready()
        except BaseException:
            self._undo()
            raise
        self._swap()
        gens.unblock(self._client, old)
        gens.put_mark(self._client, self._made, None, previous=old.name)
        return self._outcome

    @property
    def _made(self) -> Generation:
        if self._new is None:
            raise TierflowError(f"{self._plan.new} isn't made yet")
        return self._new

    def _create(self) -> None:
        plan, mark = self._plan, gens.new_mark("filling", other=self._plan.old.name, lease_s=self._lease_s)
        sized = self._settings.model_copy(update={"shards": plan.shards, "replicas": plan.replicas})
        put_templates(self._client, sized, features=plan.features)
        meta = {"managed_by": "tierflow", "catalogue_version": CATALOGUE_VERSION, "migration": mark.model_dump()}
        properties = {"metadata": {"properties": plan.metadata}} if plan.metadata else {}
        self._client.indices.create(index=plan.new, mappings={"_meta": meta, "properties": properties})
        found = {one.name: one for one in gens.generations(self._client, self._settings.alias)}
        self._new = found[plan.new]

    def _fill(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            self._send(_from_parquet(output), run=output.run, output=output)
        given = [output.run for output in outputs]
        others: dict[str, Any] = {"bool": {"must_not": [{"terms": {"run": given}}]}} if given else {"match_all": {}}
        self._send(_from_index(self._client, self._plan.old.name, others), run=None, output=None)
        self._client.indices.refresh(index=self._plan.new)

    def _send(self, actions: Iterator[Action], *, run: str | None, output: Output | None) -> None:
        for outcome in send(self._client, self._beating(actions), settings=self._settings, index=self._plan.new):
            self._advance(1)
            if outcome.kind == "accepted":
                continue
            if output is None or outcome.kind == "conflict":
                raise ConfigError(
                    f"the new index {self._plan.new} refuses document {outcome.id} of {self._plan.old.name} "
                    f"({outcome.reason}): nothing was changed. Give the OUTPUT of its run, or delete the run by "
                    f"`tierflow elastic forget`"
                )
            self._outcome.refused[run] = self._outcome.refused.get(run, 0) + 1
            self._outcome.first_reason = self._outcome.first_reason or outcome.reason

    def _beating(self, actions: Iterator[Action]) -> Iterator[Action]:
        for action in actions:
            if time.monotonic() - self._beaten_at > HEARTBEAT_S:
                self._beat("filling")
            yield action

    def _beat(self, state: gens.State) -> None:
        mark = gens.new_mark(state, other=self._plan.old.name, lease_s=self._lease_s)
        gens.put_mark(self._client, self._made, mark)
        self._beaten_at = time.monotonic()

    def _check(self) -> None:
        found = count_by(self._client, self._plan.new, "run")
        for part in self._plan.parts:
            refused = self._outcome.refused.get(part.run, 0)
            expected = part.on_server if part.output is None else part.records - refused
            if found.get(part.run, 0) != expected:
                raise TierflowError(
                    f"run {part.run!r} has {found.get(part.run, 0):,} documents in {self._plan.new}, expected "
                    f"{expected:,}: nothing was changed; run the same command again"
                )
        self._outcome.documents = found

    def _ready(self) -> None:
        """Note that the new index is whole, and make sure that it still is the one that was filled."""
        self._beat("swapping")
        found = {one.name: one.uuid for one in gens.generations(self._client, self._settings.alias)}
        if found.get(self._plan.new) != self._made.uuid:
            self._new = None
            raise TryAgainError(
                f"{self._plan.new} was deleted or made anew by somebody else: run the same command again"
            )

    def _swap(self) -> None:
        """Swap the alias, and know for sure whether that was done."""
        alias, old, new = self._settings.alias, self._plan.old.name, self._plan.new
        try:
            # A request whose answer was lost may have been carried out: the second one then finds no alias to remove.
            Patience(self._settings.patience_s).call(lambda: swap(self._client, alias, old=old, new=new))
        except (ApiError, TransportError) as error:
            if not isinstance(error, ApiError) or is_passing_status(error.status_code):
                # The next call looks whether the server did it, and ends the migration this way or that.
                raise TryAgainError(
                    f"the server went away while the alias {alias} was swapped: when it is back, run the same command "
                    "again"
                ) from error
            if gens.current(gens.generations(self._client, alias), alias).name != new:
                self._undo()
                raise

    def _undo(self) -> None:
        """Delete the new index and take the block off the old one, as far as the server can be reached."""
        with suppress(ApiError, TransportError):
            if self._new is not None:
                self._client.options(ignore_status=404).indices.delete(index=self._plan.new)
        with suppress(ApiError, TransportError):
            gens.unblock(self._client, self._plan.old)


def swap(client: Client, alias: str, *, old: str, new: str) -> None:
    """Move an alias from one index to another in one act; fails whole when `old` isn't behind it.

    Raises:
        elasticsearch.NotFoundError: if it isn't.
    """
    client.indices.update_aliases(
        actions=[
            {"remove": {"index": old, "alias": alias, "must_exist": True}},
            {"add": {"index": new, "alias": alias, "is_write_index": True}},
        ]
    )


def _from_parquet(output: Output) -> Iterator[Action]:
    """Yield all records of an output, with the versions that its ledgers know: later publications go by those."""
    now_ms, now = time.time_ns() // 1_000_000, utc_now()
    for name, table in zip(output.files, output.tables(), strict=True):
        known = ledger.read(Places(output.folder, Path(name).stem).ledger).entries
        for line in lines(table, indexed_at=now):
            entry = known.get(line.id)
            yield Action(line.id, entry.version if entry else now_ms, line.json)


def _from_index(client: Client, index: str, query: dict[str, Any]) -> Iterator[Action]:
    for page in pages(client, index, query=query):
        for hit in page:
            yield Action(hit["_id"], hit["_version"], orjson.dumps(hit["_source"]))


def _metadata(old: Generation, outputs: Sequence[Output]) -> dict[str, Any]:
    """Return the mapping of all fields under `metadata` that the documents to come have."""
    found = dict(old.properties.get("metadata", {}).get("properties", {}))
    for output in outputs:
        for name, body in metadata_properties(output.schema)["properties"]["metadata"]["properties"].items():
            known = found.setdefault(name, body)
            if (known.get("type"), "fields" in known) != (body.get("type"), "fields" in body):
                raise ConfigError(
                    f"metadata.{name} is {known.get('type')} on the server and {body.get('type')} in {output.folder}: "
                    "give it another name in metadata.fields, or the same type"
                )
    return found


def _features(old: Generation, outputs: Sequence[Output]) -> dict[str, str]:
    known = dict.fromkeys(old.properties.get("features", {}).get("properties", {}), "")
    for output in outputs:
        known |= feature_units(output.schema)
    return known


@contextmanager
def _unwound_on_signals() -> Iterator[None]:
    """Make a polite kill, or the end of a remote session, undo what was begun, as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of handlers
        raise KeyboardInterrupt

    try:
        former = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    except ValueError:
        # Only the main thread may: in another one nobody is there to be told.
        former = {}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)

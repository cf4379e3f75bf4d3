"""Send documents in bulk: one outcome for each, in order, whatever the server does meanwhile."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

import orjson
from elastic_transport import TransportError
from elasticsearch import ApiError
from elasticsearch.helpers import streaming_bulk

from tierflow.catalogue.elastic.patience import Patience
from tierflow.catalogue.elastic.problems import (
    AGAIN,
    SAFE,
    is_passing,
    is_passing_status,
    is_stopping,
    kind_and_reason,
    mapped,
    refused,
    translated,
)
from tierflow.errors import ConfigError, TierflowError, TryAgainError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from elasticsearch import Elasticsearch as Client

    from tierflow.config import Elasticsearch

Kind = Literal["accepted", "conflict", "rejected"]
MB = 2**20
# Less to write for the server and to read for us: ids come back in the order they were sent in.
_ANSWER = "items.*.status,items.*.error,items.*.result"
_TOO_LARGE = re.compile(r"operation_bytes=(\d+), max_\w+=(\d+)")


@dataclass(frozen=True, slots=True)
class Action:
    """One document to write or delete.

    Attributes:
        id: Its `_id`.
        version: External version; the server keeps the document unless it has one of a higher version.
        source: The document as JSON; None deletes it.
    """

    id: str
    version: int
    source: bytes | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the server did with one action.

    Attributes:
        id: The action's.
        kind: `accepted`; `conflict` when the server has a higher version; `rejected` for good.
        reason: The server's words, "" when accepted.
        error: The server's name for the error, "" when accepted.
    """

    id: str
    kind: Kind
    reason: str = ""
    error: str = ""


@dataclass(slots=True)
class Counters:
    """What was sent, for receipts; may be shared by several calls of `send`.

    Attributes:
        documents: Actions sent, each counted once.
        accepted: Those that the server accepted.
        conflicts: Those of which it has a higher version.
        rejected: Those that it refused for good.
        retries: Requests made again after a failure.
        bytes: Size of the documents, each counted once.
        waited_s: Seconds spent waiting for the server to come back or to catch up.
    """

    documents: int = 0
    accepted: int = 0
    conflicts: int = 0
    rejected: int = 0
    retries: int = 0
    bytes: int = 0
    waited_s: float = 0.0

    def add(self, action: Action, outcome: Outcome) -> None:
        """Count one action with its outcome."""
        self.documents += 1
        self.bytes += len(action.source or b"")
        self.accepted += outcome.kind == "accepted"
        self.conflicts += outcome.kind == "conflict"
        self.rejected += outcome.kind == "rejected"


def send(
    client: Client, actions: Iterable[Action], *, settings: Elasticsearch, index: str, counters: Counters | None = None
) -> Iterator[Outcome]:
    """Send actions and yield one outcome for each, in their order.

    Twice `settings.chunk_documents` actions are held at most; another thread takes the next ones from `actions`
    meanwhile. When the server is away or overloaded, those that it hasn't acknowledged are sent again until nothing has
    moved for `settings.patience_s`. Ids and versions make that harmless, also when a request whose answer was lost had
    been carried out.

    Args:
        client: The server; it must not try again by itself.
        actions: What to do.
        settings: Sizes of requests, patience; names the server in messages.
        index: Where to write: the alias, which must be one then, or the name of an index.
        counters: Counts what was done, as far as it went.

    Raises:
        TryAgainError: if the server stays away or overloaded, its disk is full, or the index takes no documents.
        ConfigError: if credentials or index are wrong.
    """
    sender = _Sender(client, settings, index=index, counters=Counters() if counters is None else counters)
    for window in _windows(actions, settings.chunk_documents):
        yield from sender.settle(window)


def _windows(actions: Iterable[Action], size: int) -> Iterator[list[Action]]:
    """Yield actions in lists; the next list is made, by one thread, while the server is busy with the last one."""
    waiting = iter(actions)

    def take() -> list[Action]:
        return list(islice(waiting, size))

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="documents") as pool:
        window = take()
        while window:
            following = pool.submit(take)
            yield window
            window = following.result()


class _Sender:
    """Sends a window of actions as often as it takes; remembers how much the server can bear at a time."""

    def __init__(self, client: Client, settings: Elasticsearch, *, index: str, counters: Counters) -> None:
        self._client, self._settings, self._index, self._counters = client, settings, index, counters
        self._documents = settings.chunk_documents
        self._patience = Patience(settings.patience_s)

    def settle(self, window: Sequence[Action]) -> Iterator[Outcome]:
        """Yield the outcome of every action; before an error, those of the actions that were acknowledged in order."""
        outcomes: list[Outcome | None] = [None] * len(window)
        problem: TierflowError | None = None
        try:
            self._settle(window, outcomes)
        except TierflowError as error:
            problem = error
        for action, outcome in zip(window, outcomes, strict=True):
            if outcome is None:
                break
            self._counters.add(action, outcome)
            yield outcome
        if problem is not None:
            raise problem

    def _settle(self, window: Sequence[Action], outcomes: list[Outcome | None]) -> None:
        left = list(range(len(window)))
        while left:
            problem, failed = self._send(window, left, outcomes)
            still = [place for place in left if outcomes[place] is None]
            if len(still) < len(left):
                self._patience.succeeded()
            left = still
            if left and problem is not None:
                self._recover(problem, window, failed, outcomes)
                left = [place for place in left if outcomes[place] is None]
        self._documents = min(self._settings.chunk_documents, self._documents * 2)

    def _send(
        self, window: Sequence[Action], left: Sequence[int], outcomes: list[Outcome | None]
    ) -> tuple[Exception | None, int]:
        """Send once what is left, and note the outcomes.

        Returns:
            What may pass by itself, if anything went wrong, and the place of the first action without an answer.
        """
        problem: Exception | None = None
        answered = 0
        answers = streaming_bulk(
            self._client,
            (window[place] for place in left),  # type: ignore[misc]
            chunk_size=self._documents,
            max_chunk_bytes=self._settings.chunk_mb * MB,
            expand_action_callback=_lines,  # type: ignore[arg-type]
            raise_on_error=False,
            max_retries=0,
            index=self._index,
            require_alias=self._index == self._settings.alias,
            filter_path=_ANSWER,
        )
        try:
            for place, (ok, answer) in zip(left, answers, strict=False):
                answered += 1
                item = next(iter(answer.values()))
                found = Outcome(window[place].id, "accepted") if ok else self._judge(window[place], item)
                if isinstance(found, Outcome):
                    outcomes[place] = found
                else:
                    problem = found
        except (TransportError, ApiError) as error:
            if not (is_passing(error) or _is_too_large(error)):
                with mapped(self._settings):
                    raise
            problem = error
        return problem, left[min(answered, len(left) - 1)]

    def _judge(self, action: Action, item: dict[str, Any]) -> Outcome | TierflowError:
        """Return the outcome of an item that isn't a plain success, or what may pass by itself; raise what won't."""
        status, error = item["status"], item.get("error", {})
        kind, reason = kind_and_reason(error)
        if status == 404 and action.source is None and not error:
            return Outcome(action.id, "accepted")
        if status == 409:
            return Outcome(action.id, "conflict", reason, kind)
        if kind == "index_not_found_exception":
            raise self._no_alias(reason)
        if reason.startswith("no write index"):
            raise ConfigError(
                f"alias {self._index!r} at {self._settings.url} has no index to write to ({reason}): an administrator "
                "must set `is_write_index` for the newest of its indices"
            )
        problem = refused(status=status, body=error, settings=self._settings)
        if status in (401, 403) or is_stopping(error):
            raise problem
        return problem if is_passing_status(status) else Outcome(action.id, "rejected", reason, kind)

    def _recover(
        self, problem: Exception, window: Sequence[Action], failed: int, outcomes: list[Outcome | None]
    ) -> None:
        """Send less at a time where the server was overwhelmed, give up one document that is too large, or wait."""
        alone = self._documents == 1
        overwhelmed = isinstance(problem, ApiError | TryAgainError)
        self._documents = max(1, self._documents // 2) if overwhelmed else self._documents
        if _is_too_large(problem):
            if alone:
                kind, reason = kind_and_reason(problem.body)
                size = len(window[failed].source or b"")
                text = f"{size} bytes are more than the server takes ({problem.status_code}: {reason})"
                outcomes[failed] = Outcome(window[failed].id, "rejected", text, kind or "too_large")
            return
        shown = problem if isinstance(problem, TierflowError) else translated(problem, self._settings)
        waited_s = self._patience.waited_s
        again = self._patience.wait(shown)
        self._counters.waited_s += self._patience.waited_s - waited_s
        self._counters.retries += again
        if not again:
            raise shown

    def _no_alias(self, reason: str) -> TierflowError:
        with mapped(self._settings):
            if self._client.indices.exists(index=self._index):
                return ConfigError(
                    f"{self._index!r} at {self._settings.url} is an index, where tierflow expects an alias ({reason}): "
                    "delete it if nothing in it is needed, or give another catalogue.elasticsearch.alias"
                )
        return TryAgainError(
            f"alias {self._index!r} is missing at {self._settings.url}: somebody deleted it ({reason}); {SAFE}. "
            f"{AGAIN.capitalize()}: that makes it anew"
        )


def _lines(action: Action) -> tuple[bytes, bytes | None]:
    """Return an action's two lines of a bulk request; the helper takes bytes as they are."""
    kind = "delete" if action.source is None else "index"
    head = {kind: {"_id": action.id, "version": action.version, "version_type": "external_gte"}}
    return orjson.dumps(head), action.source


def _is_too_large(error: Exception) -> TypeGuard[ApiError]:
    """Tell whether a request can't ever be taken at this size, however idle the server is."""
    if not isinstance(error, ApiError):
        return False
    found = _TOO_LARGE.search(kind_and_reason(error.body)[1]) if error.status_code == 429 else None
    return error.status_code == 413 or (found is not None and int(found[1]) > int(found[2]))

"""Sending in bulk against a server that is played: every fault gives one outcome per action, in order, or an error."""

from __future__ import annotations

from typing import Any, NamedTuple

import elastic_transport
import orjson
import pytest
from elastic_transport import ApiResponseMeta, BaseNode, HttpHeaders
from elasticsearch import Elasticsearch as Client

from tierflow.catalogue.elastic import patience
from tierflow.catalogue.elastic.bulk import Action, Counters, send
from tierflow.config import Elasticsearch
from tierflow.errors import ConfigError, TryAgainError

SETTINGS = Elasticsearch(url="http://localhost:9200", chunk_documents=4, patience_s=3)
BLOCK = {"type": "cluster_block_exception", "reason": "index [i] blocked by: [FORBIDDEN/8/index write (api)];"}
FLOOD = {"type": "cluster_block_exception", "reason": "[TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage]"}
BUSY = {"type": "es_rejected_execution_exception", "reason": "queue is full"}
BAD = {"type": "document_parsing_exception", "reason": "failed to parse field [bytes]"}


class Answer(NamedTuple):
    """What a node returns."""

    meta: ApiResponseMeta
    body: bytes


class Played(BaseNode):
    """A server that answers as `reply` says: of the sources in a request it returns a status and the body."""

    reply: Any = None

    def perform_request(self, method, target, body=None, headers=None, request_timeout=None):
        del request_timeout
        lines = [orjson.loads(line) for line in (body or b"").splitlines()]
        status, answer = type(self).reply(lines)
        known = HttpHeaders({"x-elastic-product": "Elasticsearch", "content-type": "application/json"})
        meta = ApiResponseMeta(node=self.config, duration=0, http_version="1.1", status=status, headers=known)
        return Answer(meta, orjson.dumps(answer))

    def close(self):
        pass


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """Every wait, in seconds; nobody really waits."""
    found: list[float] = []
    clock = [0.0]

    def sleep(seconds: float) -> None:
        found.append(seconds)
        clock[0] += seconds

    original = patience.Patience.__init__

    def made(self, patience_s, **_):
        original(self, patience_s, sleep=sleep, clock=lambda: clock[0])

    monkeypatch.setattr(patience.Patience, "__init__", made)
    return found


def ids_of(lines: list[dict]) -> list[str]:
    return [next(iter(line.values()))["_id"] for line in lines if {"index", "delete"} & line.keys()]


def fine(lines: list[dict]) -> tuple[int, dict]:
    return 200, {"items": [{"index": {"status": 200}} for _ in ids_of(lines)]}


def items(*errors: tuple[int, dict] | None) -> tuple[int, dict]:
    return 200, {
        "items": [{"index": {"status": 200} if e is None else {"status": e[0], "error": e[1]}} for e in errors]
    }


def ask(reply, *, count: int = 10, settings: Elasticsearch = SETTINGS, counters: Counters | None = None):
    played = type("Node", (Played,), {"reply": staticmethod(reply)})
    client = Client(settings.url, node_class=played, max_retries=0)
    actions = (Action(f"id{n}", 1, orjson.dumps({"n": n})) for n in range(count))
    return list(send(client, actions, settings=settings, index=settings.alias, counters=counters))


def test_one_outcome_per_action_in_order(waits):
    counters = Counters()
    outcomes = ask(fine, counters=counters)
    assert [each.id for each in outcomes] == [f"id{n}" for n in range(10)]
    assert {each.kind for each in outcomes} == {"accepted"}
    assert (counters.documents, counters.accepted, counters.retries, counters.bytes) == (10, 10, 0, 70)
    assert waits == []


def test_bad_documents_do_not_stop_others(waits):
    def reply(lines):
        return items(*((400, BAD) if key == "id5" else (409, {}) if key == "id6" else None for key in ids_of(lines)))

    outcomes = ask(reply)
    assert {each.id: each.kind for each in outcomes if each.kind != "accepted"} == {
        "id5": "rejected",
        "id6": "conflict",
    }
    assert outcomes[5].error == "document_parsing_exception"
    assert outcomes[5].reason == "failed to parse field [bytes]"


def test_busy_items_are_sent_again_alone(waits):
    seen: list[list[str]] = []

    def reply(lines):
        seen.append(ids_of(lines))
        return items(*((429, BUSY) if key == "id1" and len(seen) < 3 else None for key in ids_of(lines)))

    counters = Counters()
    outcomes = ask(reply, count=4, counters=counters)
    assert [each.id for each in outcomes] == ["id0", "id1", "id2", "id3"]
    assert seen == [["id0", "id1", "id2", "id3"], ["id1"], ["id1"]]
    assert counters.retries == 2
    assert counters.waited_s == pytest.approx(sum(waits))


def test_lost_connection_is_taken_up_at_the_first_unacknowledged(waits):
    seen: list[list[str]] = []

    def reply(lines):
        seen.append(ids_of(lines))
        if len(seen) == 2:
            raise elastic_transport.ConnectionError("gone")
        return fine(lines)

    outcomes = ask(reply)
    assert [each.id for each in outcomes] == [f"id{n}" for n in range(10)]
    assert seen[1] == seen[2] == ["id4", "id5", "id6", "id7"]
    assert len(waits) == 1


def test_server_that_stays_away_ends_it_after_the_patience(waits):
    def reply(_):
        raise elastic_transport.ConnectionTimeout("timed out")

    with pytest.raises(TryAgainError, match=r"localhost:9200 doesn't answer \(timed out\); nothing is lost"):
        ask(reply)
    assert sum(waits) == pytest.approx(SETTINGS.patience_s)
    assert 0.25 <= waits[0] <= 0.5


def test_without_patience_there_is_one_try(waits):
    seen: list[int] = []

    def reply(_):
        seen.append(1)
        raise elastic_transport.ConnectionError("gone")

    with pytest.raises(TryAgainError):
        ask(reply, settings=SETTINGS.model_copy(update={"patience_s": 0}))
    assert (len(seen), waits) == (1, [])


def test_progress_renews_the_patience(waits):
    turn: list[int] = []

    def reply(lines):
        # One document gets through now and then: far longer than the patience in all.
        turn.append(1)
        return items(*((429, BUSY) if n or len(turn) % 3 else None for n, _ in enumerate(ids_of(lines))))

    assert len(ask(reply, count=8)) == 8
    assert sum(waits) > SETTINGS.patience_s


@pytest.mark.parametrize(
    ("status", "error", "kind", "words"),
    [
        (403, BLOCK, TryAgainError, "read-only, perhaps because it is being migrated"),
        (429, FLOOD, TryAgainError, "disk .* is full"),
        (403, {"type": "security_exception", "reason": "unauthorized"}, ConfigError, "doesn't allow"),
        (400, {"type": "index_closed_exception", "reason": "closed"}, TryAgainError, "closed or read-only"),
        (400, {"type": "illegal_argument_exception", "reason": "no write index is defined"}, ConfigError, "is_write"),
    ],
)
def test_what_concerns_all_documents_stops_at_once(waits, status, error, kind, words):
    played = type("Node", (Played,), {"reply": staticmethod(lambda lines: items(None, None, (status, error), None))})
    actions = [Action(f"id{n}", 1, b"{}") for n in range(4)]
    client = Client(SETTINGS.url, node_class=played, max_retries=0)
    with pytest.raises(kind, match=words):
        list(send(client, actions, settings=SETTINGS, index=SETTINGS.alias))
    assert waits == []


def test_acknowledged_documents_are_told_before_the_error(waits):
    told = []
    played = type("Node", (Played,), {"reply": staticmethod(lambda lines: items(None, None, (403, BLOCK), None))})
    client = Client(SETTINGS.url, node_class=played, max_retries=0)
    sending = send(client, [Action(f"id{n}", 1, b"{}") for n in range(4)], settings=SETTINGS, index=SETTINGS.alias)
    with pytest.raises(TryAgainError):
        told.extend(next(sending).id for _ in range(4))
    assert told == ["id0", "id1"]


@pytest.mark.parametrize("status", [413, 429])
def test_document_that_is_too_large_alone_is_rejected(waits, status):
    reason = "rejected execution of operation [all_bytes=0, coordinating_operation_bytes=99, max_coordinating_bytes=50]"

    def reply(lines):
        if "id6" in ids_of(lines):
            return status, {"error": {"type": "too_much", "reason": reason}, "status": status}
        return fine(lines)

    outcomes = ask(reply)
    assert [each.id for each in outcomes if each.kind == "rejected"] == ["id6"]
    assert len(outcomes) == 10
    assert str(status) in outcomes[6].reason
    assert waits == []


def test_deleting_what_is_not_there_is_success(waits):
    played = type(
        "Node",
        (Played,),
        {"reply": staticmethod(lambda lines: (200, {"items": [{"delete": {"status": 404, "result": "not_found"}}]}))},
    )
    client = Client(SETTINGS.url, node_class=played, max_retries=0)
    [outcome] = send(client, [Action("gone", 1, None)], settings=SETTINGS, index=SETTINGS.alias)
    assert outcome.kind == "accepted"


def test_wrong_password_is_told_at_once(waits):
    def reply(_):
        return 401, {"error": {"type": "security_exception", "reason": "unable to authenticate user [elastic]"}}

    with pytest.raises(ConfigError, match="TIERFLOW_ES_PASSWORD"):
        ask(reply)
    assert waits == []


def test_newer_client_than_server_is_explained(waits):
    def reply(_):
        reason = "Accept version must be either version 8 or 7, but found 9"
        return 400, {"error": {"type": "media_type_header_exception", "reason": reason}, "status": 400}

    with pytest.raises(ConfigError, match=r"elasticsearch>=8\.19,<9"):
        ask(reply)

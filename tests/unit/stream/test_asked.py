"""Requests of people: none of them stops, blocks or misleads a stream."""

from __future__ import annotations

import time

import pytest

from tierflow import config_io
from tierflow.commands.status import shown
from tierflow.errors import TryAgainError
from tierflow.stream.ledger import Ledger
from tierflow.stream.requests import handle
from tierflow.stream.service import Service
from tierflow.stream.states import State
from tierflow.stream.status import read_status


class Asked:
    """Notes what it is asked; a tier is full."""

    def __init__(self):
        self.asked = []

    def __getattr__(self, name):
        return lambda: self.asked.append(name)

    def decide_again(self, object_ids):
        raise TryAgainError(28, f"No space left on device for {object_ids}")


@pytest.fixture
def ledger(tmp_path):
    """Give an empty ledger."""
    made = Ledger(tmp_path)
    yield made
    made.close()


def test_one_that_fails_is_answered_and_stops_nothing(ledger):
    number = ledger.ask("retry", by="a script", arguments={"ids": ["first.tif"]})
    ledger.ask("pause", by="anna", arguments={})
    service = Asked()
    assert handle(ledger, service) == 2
    assert service.asked == ["pause"]
    answer = ledger.answered(number)
    assert answer is not None
    assert answer["ok"] is False
    assert "first.tif" in answer["problem"]


def test_one_that_has_to_wait_keeps_no_other_one_waiting(ledger):
    number = ledger.ask("relabel", by="anna", arguments={"object_ids": ["x"]})
    ledger.ask("stop", by="anna", arguments={})
    service = Asked()
    with pytest.raises(TryAgainError, match="No space"):
        handle(ledger, service)
    assert service.asked == ["stop"]
    assert ledger.answered(number) is None
    assert [name for _, _, name, _ in ledger.requests()] == ["relabel"]


class Parts:
    """A dispatcher, a look-out and a watcher of a service that has nothing to do."""

    obstacle = error = None
    paused = False

    def __init__(self):
        self.steps, self.looked_at = 0, None

    def step(self, now):
        self.steps += 1
        return 0.0

    def flying(self):
        return 0

    def pids(self):
        return []

    def tidy(self):
        pass

    def newer_than(self):
        return 0

    def health(self):
        return {"last_full_at": self.looked_at, "message": ""}


@pytest.fixture
def service(ledger):
    """Give a service whose parts do nothing."""
    made = Service(config_io.validate({"input": "/nowhere"}), ledger.output, ledger.output)
    parts = Parts()
    made._ledger, made._dispatcher, made._ready, made._watcher = ledger, parts, parts, parts
    made._committer = Asked()
    made._committer.summary = parts
    return made


def test_a_stream_goes_on_while_a_request_waits(service, ledger):
    ledger.ask("relabel", by="anna", arguments={"object_ids": ["x"]})
    for _ in range(3):
        service._wake.set()
        service._turn()
    assert service._dispatcher.steps == 3
    assert "No space" in ledger.fact("service")["problem"]


def test_a_drain_that_was_asked_for_while_nobody_watched_waits_for_the_first_look(service, ledger):
    class Signals:
        to_stop = None

    service.drain()
    assert not service._is_over(Signals())
    service._watcher.looked_at = time.time()
    with ledger.transaction() as db:
        db.execute(
            "INSERT INTO objects (path, folder, object_id, state, size, mtime_ns, inode, seen_at, changed_at) "
            "VALUES ('a', '', 'a', 'seen', 1, 1, 1, 1, 1)"
        )
    assert not service._is_over(Signals())
    with ledger.transaction() as db:
        db.execute("UPDATE objects SET state = ?", (State.WAITING,))
    assert service._is_over(Signals())


def test_status_says_why_a_stream_waits(ledger):
    ledger.note(
        service={"state": "running", "beat_at": time.time(), "problem": "the disk is full"},
        watcher={"state": "root_lost", "message": "mount it again"},
    )
    said = [str(part) for part in shown(read_status(ledger, now=time.time())).renderables]
    assert "watching: root_lost: mount it again" in said
    assert "waits: the disk is full" in said

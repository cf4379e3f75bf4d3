"""What a stream says of itself, and what people may ask of it."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tierflow.cli import run_cli
from tierflow.stream.ledger import Ledger
from tierflow.stream.requests import handle
from tierflow.stream.states import State
from tierflow.stream.status import path_words, process_space, read_status, service_state, status_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NOW = 1_800_000_000.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Give a ledger with some objects in all walks of life."""
    made = Ledger(tmp_path)
    rows = [
        ("a.tif", State.DONE, NOW - 20, None, NOW - 19.8, "A"),
        ("b.tif", State.DONE, NOW - 20, None, NOW - 19.0, "A"),
        ("c\n<b>.tif", State.QUARANTINED, NOW - 20, None, NOW - 10.0, "quarantine"),
        ("d.tif", State.READY, NOW - 9, NOW - 7.5, None, None),
        ("e.tif", State.WAITING, NOW - 30, None, None, None),
        ("f.tif", State.RUNNING, NOW - 9, NOW - 3.0, None, None),
    ]
    with made.transaction() as db:
        for path, state, changed, ready, ended, tier in rows:
            db.execute(
                "INSERT INTO objects (path, folder, object_id, state, size, mtime_ns, inode, seen_at, changed_at, "
                "ready_at, ended_at, tier, reason) VALUES (?, '', ?, ?, 1, 2, 3, ?, ?, ?, ?, ?, ?)",
                (
                    path.encode(),
                    path,
                    state,
                    changed,
                    changed,
                    ready,
                    ended,
                    tier,
                    "cut off" if tier == "quarantine" else None,
                ),
            )
    yield made
    made.close()


class Service:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def pause(self) -> None:
        """Note it."""
        self.asked.append("pause")

    def resume(self) -> None:
        """Note it."""
        self.asked.append("resume")

    def drain(self) -> None:
        """Note it."""
        self.asked.append("drain")

    def stop(self) -> None:
        """Note it."""
        self.asked.append("stop")

    def rescan(self) -> None:
        """Note it."""
        self.asked.append("rescan")

    def decide_again(self, object_ids: Sequence[str]) -> int:
        """Note it."""
        self.asked += object_ids
        return len(object_ids)


def test_numbers_are_those_of_the_ledger(ledger: Ledger) -> None:
    """States, lag, latency, tiers and reasons."""
    found = read_status(ledger, now=NOW)
    assert found["states"] == dict.fromkeys(map(str, State), 0) | {
        "done": 2,
        "quarantined": 1,
        "ready": 1,
        "waiting": 1,
        "running": 1,
    }
    assert (found["lag_s"], found["waiting_s"]) == (7.5, 30.0)
    assert found["latency_s"] == {"median": 1.0, "p95": 10.0, "n": 3}
    assert found["rate_per_s"] == pytest.approx(3 / 19.8, abs=1e-3)
    assert found["tiers"] == {"A": 2, "quarantine": 1}
    assert found["reasons"]["quarantined"] == [{"reason": "cut off", "objects": 1, "example": "c\\n<b>.tif"}]
    assert found["service"] == {"state": "stopped"}
    assert read_status(ledger, now=NOW + 1000)["latency_s"] is None


def test_a_dead_watcher_is_told_from_a_living_one() -> None:
    """By its silence, and at once when its process is gone."""
    fact = {"pid": os.getpid(), "host": socket.gethostname(), "state": "running", "beat_at": NOW}
    assert service_state(fact, now=NOW + 1)["state"] == "running"
    assert service_state(fact, now=NOW + 60)["state"] == "dead"
    assert service_state(fact | {"pid": 2**22 + 1}, now=NOW)["state"] == "dead"
    assert service_state(fact | {"pid": 2**22 + 1, "host": "elsewhere"}, now=NOW)["state"] == "running"
    assert service_state(fact | {"state": "stopped"}, now=NOW + 60)["state"] == "stopped"
    # Containers of a pod share its name; their processes have numbers of their own.
    assert service_state(fact | {"pid": 2**22 + 1, "process_space": 1}, now=NOW)["state"] == "running"
    assert service_state(fact | {"pid": 2**22 + 1, "process_space": process_space()}, now=NOW)["state"] == "dead"


def test_names_of_files_can_not_write_on_the_terminal() -> None:
    """Escape sequences are shown, not obeyed."""
    assert path_words(b"a\x1b[31m\xff\n.tif") == "a\\x1b[31m\\xff\\n.tif"


def test_json_has_one_line_per_look(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs read `states` and `lag_s`."""
    assert run_cli(["status", str(ledger.output), "--format", "json"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["states"]["done"] == 2
    assert run_cli(["status", str(ledger.output)]) == 0
    text = capsys.readouterr().out
    assert "quarantined 1 x cut off (such as c\\n<b>.tif)" in text


def test_no_stream_is_told_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is made by looking or asking."""
    for command in ("status", "pause", "retry"):
        assert run_cli([command, str(tmp_path / "none")]) == 66
    assert "tierflow watch" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_requests_wait_until_somebody_watches(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    """They are carried out in their order, and answered."""
    for command in ("pause", "resume", "drain"):
        assert run_cli([command, str(ledger.output)]) == 0
    assert "at the next `tierflow watch`" in capsys.readouterr().err
    ledger.ask("fly", by="anna", arguments={})
    service = Service()
    assert handle(ledger, service) == 4
    assert service.asked == ["pause", "resume", "drain"]
    assert handle(ledger, service) == 0
    assert ledger.answered(4) == {
        "ok": False,
        "problem": "request is 'fly': expected one of pause, resume, drain, stop, rescan, retry, relabel",
    }


def test_retry_is_answered_by_who_watches(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    """Only what ended badly is handled again."""
    ledger.note(service={"pid": os.getpid(), "host": socket.gethostname(), "state": "running", "beat_at": time.time()})
    ended = threading.Event()

    def watch() -> None:
        own = Ledger(ledger.output)
        while not ended.is_set():
            handle(own, Service())
            time.sleep(0.02)
        own.close()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        assert run_cli(["retry", str(ledger.output)]) == 0
        assert capsys.readouterr().out == "1 objects are handled again\n"
        assert run_cli(["retry", str(ledger.output), "a.tif"]) == 0
        assert capsys.readouterr().out == "0 objects are handled again\n"
        assert run_cli(["retry", str(ledger.output), "none.tif"]) == 66
    finally:
        ended.set()
        watching.join()
    assert status_of(ledger.output)["states"]["seen"] == 1
    assert ledger.rows("state = 'seen'")[0].path == b"c\n<b>.tif"


def test_a_folder_without_a_stream_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong path, a file, the output of a run and any other folder need different advice."""
    (tmp_path / "file").touch()
    for name in ("run", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    expected = {"none": "isn't there: give", "file": "is a file: give", "run": "holds a run, but no stream"}
    for name, words in (expected | {"other": "holds no stream: begin one"}).items():
        assert run_cli(["status", str(tmp_path / name)]) == 66
        assert words in capsys.readouterr().err

"""Hooks against a real HTTP server and real commands: signed, in order, at least once, never lost."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tierflow.config import Config
from tierflow.errors import ConfigError, TryAgainError
from tierflow.stream import hooks as hooks_module
from tierflow.stream.hook_send import SIGNATURE
from tierflow.stream.hooks import Hooks, Teller, fact_of
from tierflow.stream.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Receiver:
    """An HTTP server that notes what it gets, and answers as told."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.arrived = threading.Condition()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with outer.arrived:
                    status = outer.answers.pop(0) if outer.answers else 204
                    outer.got.append((dict(self.headers), body))
                    outer.arrived.notify_all()
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/told"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def events(self) -> list[dict[str, Any]]:
        """All events of all requests."""
        return [event for _, body in self.got for event in json.loads(body)["events"]]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Give a running receiver."""
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def config(**hook: Any) -> Config:
    """Make a configuration with one hook."""
    return Config.model_validate({"dataset": "p", "stream": {"hooks": [hook]}})


def teller(ledger: Ledger, settings: Config) -> Teller:
    """Make what tells the one hook."""
    return Teller(ledger, settings.stream.hooks[0], run="p", stop=threading.Event())


def tell_news(ledger: Ledger, *numbers: int, kind: str = "done") -> None:
    """Add news of objects."""
    for number in numbers:
        ledger.tell(kind, {"path": f"plate/x{number}.tif", "tier": "A"}, object_id=number)


def test_requests_are_signed_and_can_be_told_apart(
    ledger: Ledger, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver with the secret verifies time and content; every event has an id of its own."""
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    one = teller(ledger, config(url=receiver.url, secret_env="HOOK_SECRET"))
    tell_news(ledger, 1, 2)
    assert one.tell()
    assert not one.tell()
    [(headers, body)] = receiver.got
    at, code = (part.partition("=")[2] for part in headers[SIGNATURE].split(","))
    assert hmac.compare_digest(code, hmac.new(b"s3cret", f"{at}.".encode() + body, hashlib.sha256).hexdigest())
    first, second = json.loads(body)["events"]
    assert first["id"] != second["id"]
    assert (first["kind"], first["path"], first["tier"], first["run"]) == ("done", "plate/x1.tif", "A", "p")
    assert len(headers["Idempotency-Key"]) == 32


def test_only_wanted_states_and_paths_are_told(ledger: Ledger, receiver: Receiver) -> None:
    """Other news moves on silently."""
    one = teller(ledger, config(url=receiver.url, on=["quarantined"], where="**/x2.tif"))
    tell_news(ledger, 1, 2, 3)
    tell_news(ledger, 1, 2, 3, kind="quarantined")
    while one.tell():
        pass
    assert [(e["kind"], e["path"]) for e in receiver.events()] == [("quarantined", "plate/x2.tif")]


@pytest.mark.parametrize("status", [500, 404, 302])
def test_what_was_not_taken_is_told_again_with_the_same_key(ledger: Ledger, receiver: Receiver, status: int) -> None:
    """Also after a restart; no redirect is followed."""
    settings = config(url=receiver.url)
    receiver.answers = [status]
    one = teller(ledger, settings)
    tell_news(ledger, 1)
    with pytest.raises(TryAgainError, match=f"answered {status}"):
        one.tell()
    assert teller(ledger, settings).tell()
    (before, body), (after, again) = receiver.got
    assert before["Idempotency-Key"] == after["Idempotency-Key"]
    assert body == again


def test_a_receiver_that_is_away_gets_everything_in_order_later(
    ledger: Ledger, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads go on trying; news is not trimmed before it was told."""
    monkeypatch.setattr(hooks_module, "FIRST_PAUSE_S", 0.01)
    receiver.answers = [503] * 5
    telling = Hooks(ledger, config(url=receiver.url))
    tell_news(ledger, *range(250))
    ledger.trim_news(keep=1)
    telling.start()
    with receiver.arrived:
        assert receiver.arrived.wait_for(lambda: len(receiver.events()) >= 250 + 5 * 100, timeout=30)
    telling.stop()
    taken = [e for _, body in receiver.got[5:] for e in json.loads(body)["events"]]
    assert [event["path"] for event in taken] == [f"plate/x{n}.tif" for n in range(250)]
    ledger.trim_news(keep=1)
    assert len(ledger.news(after=0)) == 1


def test_a_new_hook_is_not_told_the_past_and_an_old_one_not_kept(ledger: Ledger, receiver: Receiver) -> None:
    """Facts of hooks that aren't configured any more go."""
    tell_news(ledger, 1)
    Hooks(ledger, config(url=receiver.url))
    tell_news(ledger, 2)
    settings = config(url=receiver.url, on=["done", "failed"])
    Hooks(ledger, settings)
    tell_news(ledger, 3)
    assert [name for name in ledger.facts() if name.startswith("hook:")] == [fact_of(settings.stream.hooks[0])]
    assert teller(ledger, settings).tell()
    assert [event["path"] for event in receiver.events()] == ["plate/x3.tif"]


def test_a_command_gets_the_same_json(ledger: Ledger, tmp_path: Path) -> None:
    """On its standard input; its failure and its slowness are told in words."""
    keep = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())"
    one = teller(ledger, config(command=[sys.executable, "-c", keep, str(tmp_path / "got")]))
    tell_news(ledger, 1)
    assert one.tell()
    assert json.loads((tmp_path / "got").read_bytes())["events"][0]["path"] == "plate/x1.tif"
    bad = teller(ledger, config(command=[sys.executable, "-c", "import sys; sys.exit('no disk')"]))
    slow = teller(ledger, config(command=[sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.3))
    gone = teller(ledger, config(command=["/no/such/program"]))
    tell_news(ledger, 2)
    for wrong, words in ((bad, "ended with 1: no disk"), (slow, "after 0.3 s"), (gone, "can't be started")):
        with pytest.raises(TryAgainError, match=words):
            wrong.tell()


def test_mistakes_are_found_at_the_start(ledger: Ledger, receiver: Receiver) -> None:
    """A secret that isn't there, a hook that is neither address nor command."""
    with pytest.raises(ConfigError, match="HOOK_NOT_SET isn't set"):
        Hooks(ledger, config(url=receiver.url, secret_env="HOOK_NOT_SET"))
    for wrong in ({}, {"url": receiver.url, "command": ["x"]}, {"url": "ftp://x"}):
        with pytest.raises(ValueError, match=r"hook needs either|expected http"):
            config(**wrong)


def test_nobody_answers_is_told_in_words(ledger: Ledger) -> None:
    """The message names the address."""
    one = teller(ledger, config(url="http://127.0.0.1:9/told"))
    tell_news(ledger, 1)
    with pytest.raises(TryAgainError, match=r"hook http://127\.0\.0\.1:9/told doesn't answer"):
        one.tell()

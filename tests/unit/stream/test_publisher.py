"""The publisher: a server that is away loses nothing, and hinders nobody."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from stream_world import StreamWorld
from tierflow.config_io import load
from tierflow.errors import ConfigError, TryAgainError
from tierflow.steps import publish as publish_step
from tierflow.stream import publisher as module
from tierflow.stream.publisher import Publisher
from waiting import until

URL = {"catalogue": {"elasticsearch": {"url": "http://localhost:9"}}}


class Server:
    """Stands for the step `publish`: notes what it was sent, and may be away."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.error: Exception | None = None
        self.patience_s = 0.0
        self.changed = threading.Event()

    def run(self, *, catalogue: Path, config: Path, receipt: Path) -> None:
        self.patience_s = load(config).catalogue.elasticsearch.patience_s
        self.changed.set()
        if self.error is not None:
            raise self.error
        self.sent.append(catalogue.stem)
        receipt.parent.mkdir(exist_ok=True)
        receipt.write_text("{}")


@pytest.fixture
def server(monkeypatch) -> Server:
    """Give a server in place of the step."""
    made = Server()
    monkeypatch.setattr(publish_step, "run", made.run)
    monkeypatch.setattr(module, "PACE_S", 0.1)
    monkeypatch.setattr(module, "BACKOFF_MOST_S", 0.1)
    return made


def test_changed_shards_are_sent_and_each_at_its_pace(tmp_path: Path, server: Server) -> None:
    """Many changes make few sendings, and the last change is always sent."""
    world = StreamWorld(tmp_path, URL)
    publisher = Publisher(world.ledger, world.config, world.output)
    publisher.start()
    for _ in range(50):
        publisher.dirty("00000")
        publisher.dirty("00001")
    until(lambda: set(server.sent) == {"00000", "00001"} and not publisher.behind())
    publisher.stop()
    times = [name for name in server.sent if name == "00000"]
    assert 1 <= len(times) < 50
    assert server.patience_s == module.PATIENCE_S
    assert world.ledger.fact("publish")["state"] == "ok"


def test_a_server_that_is_away_gets_all_when_it_is_back(tmp_path: Path, server: Server) -> None:
    """Meanwhile the fact says since when and how much it lacks."""
    world = StreamWorld(tmp_path, URL)
    publisher = Publisher(world.ledger, world.config, world.output)
    server.error = TryAgainError("the server is away")
    publisher.start()
    publisher.dirty("00000")
    until(lambda: (world.ledger.fact("publish") or {}).get("state") == "away")
    publisher.dirty("00001")
    until(lambda: world.ledger.fact("publish")["behind"] == 2)
    fact = world.ledger.fact("publish")
    assert fact["problem"] == "the server is away"
    assert fact["since"] <= time.time()
    server.error = None
    until(lambda: not publisher.behind())
    until(lambda: world.ledger.fact("publish")["state"] == "ok")
    publisher.stop()
    assert set(server.sent) == {"00000", "00001"}


def test_a_server_that_refuses_ends_nothing(tmp_path: Path, server: Server) -> None:
    """Wrong credentials are shown until they are mended."""
    world = StreamWorld(tmp_path, URL)
    publisher = Publisher(world.ledger, world.config, world.output)
    server.error = ConfigError("wrong key")
    publisher.start()
    publisher.dirty("00000")
    until(lambda: (world.ledger.fact("publish") or {}).get("state") == "refused")
    publisher.stop()
    assert publisher.behind() == 1


def test_what_was_not_sent_before_a_stop_is_sent_after_the_next_start(tmp_path: Path, server: Server) -> None:
    """A receipt that is older than the table tells."""
    world = StreamWorld(tmp_path, URL)
    for number in range(2):
        world.write(f"{number}.tif")
        world.commit(f"{number}.tif", shard=number)
    (world.output / "publish").mkdir()
    (world.output / "publish" / "00000.json").write_text("{}")
    publisher = Publisher(world.ledger, world.config, world.output)
    publisher.start()
    until(lambda: not publisher.behind() and server.sent)
    publisher.stop()
    assert server.sent == ["00001"]


def test_what_is_left_is_sent_at_the_end(tmp_path: Path, server: Server, monkeypatch) -> None:
    """A change of the last moment doesn't wait for the next start."""
    monkeypatch.setattr(module, "PACE_S", 60.0)
    world = StreamWorld(tmp_path, URL)
    publisher = Publisher(world.ledger, world.config, world.output)
    publisher.start()
    publisher.dirty("00000")
    until(lambda: len(server.sent) == 1)
    publisher.dirty("00000")
    publisher.stop()
    assert len(server.sent) == 2


def test_without_a_server_nothing_is_done(tmp_path: Path, server: Server) -> None:
    """The fact says so."""
    world = StreamWorld(tmp_path)
    publisher = Publisher(world.ledger, world.config, world.output)
    publisher.start()
    publisher.dirty("00000")
    publisher.stop()
    assert world.ledger.fact("publish")["state"] == "off"
    assert not server.sent


def test_of_thousands_of_shards_only_the_latest_are_remembered(tmp_path: Path, server: Server, monkeypatch) -> None:
    """A stream fills shards for weeks: what was sent long ago isn't kept in mind."""
    passed = iter(range(10_000))
    monkeypatch.setattr(module, "PACE_S", 10)
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(passed)))
    world = StreamWorld(tmp_path, URL)
    publisher = Publisher(world.ledger, world.config, world.output)
    (world.output / module._CONFIG).parent.mkdir(parents=True, exist_ok=True)
    module.config_io.write(world.output / module._CONFIG, world.config)
    for number in range(500):
        publisher._send(f"{number:05d}")
    assert len(server.sent) == 500
    assert 1 <= len(publisher._sent_at) <= 10

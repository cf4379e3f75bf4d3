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

URL = {"catalogue": {"elasticsearch": {"url": "http://localhost:9"}}}
WAIT_S = 10.0


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


def until(condition) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


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

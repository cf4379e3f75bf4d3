"""A server of the tests' own, that may be killed, paused, filled and locked: nobody else uses it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch as Client

SHARED = Path(os.environ.get("TIERFLOW_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
SCRIPT = SHARED / "services" / "elasticsearch"
USER = "elastic"
PORTS = range(9233, 9263)

# What a machine needs to start any server; addresses and passwords aren't passed on.
_KEPT = ("VERSION", "ZIP", "JAVA_HOME", "USER", "TIMEOUT")
_MACHINE = {name: os.environ[name] for name in (f"TIERFLOW_ES_{part}" for part in _KEPT) if name in os.environ}


@dataclass(frozen=True)
class OwnServer:
    """One server that the script in `shared/services` starts and stops.

    Attributes:
        port: HTTP port; the transport port is 100 higher.
        settings: More settings of the server, as it names them.
        password: Of the user `elastic`; empty: no security.
    """

    port: int
    settings: Mapping[str, str] = field(default_factory=dict)
    password: str = ""

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def run(self, command: str) -> None:
        """Call the script: `start`, `stop`, `kill9`, `pause`, `resume` or `reset`."""
        done = self._call(command)
        assert done.returncode == 0, f"{SCRIPT} {command} on port {self.port}:\n{done.stderr}"

    def _call(self, command: str) -> subprocess.CompletedProcess[str]:
        own = {
            "TIERFLOW_ES_PORT": str(self.port),
            "TIERFLOW_ES_HEAP": "512m",
            "TIERFLOW_ES_SETTINGS": " ".join(f"{name}={value}" for name, value in self.settings.items()),
            "TIERFLOW_ES_PASSWORD": self.password,
        }
        rest = {name: value for name, value in os.environ.items() if not name.startswith("TIERFLOW_ES_")}
        return subprocess.run(
            [SCRIPT, command], env=rest | _MACHINE | own, capture_output=True, text=True, check=False, timeout=400
        )

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A client that tests look over the shoulder with."""
        known = {"basic_auth": (USER, self.password)} if self.password else {}
        with Client(self.url, request_timeout=60, max_retries=0, **known) as found:
            yield found

    @contextmanager
    def ours(self) -> Iterator[OwnServer]:
        """Begin with nothing; stop it and delete what it holds at the end, whatever state tests left it in."""
        # A run of the tests that was killed may have left one behind.
        self.run("reset")
        try:
            yield self
        finally:
            self.run("reset")

    def heal(self) -> None:
        """Make it answer: dead, asleep or well."""
        self._call("resume")
        self.run("start")


@contextmanager
def own_port() -> Iterator[int]:
    """Give a port that no other tests on this machine use meanwhile; theirs are left alone."""
    for port in PORTS:
        with Path(tempfile.gettempdir(), f"tierflow-tests-port-{port}.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield port
            return
    pytest.fail(f"all ports from {PORTS[0]} to {PORTS[-1]} are taken by other runs of these tests")


def need_script() -> None:
    """Skip where the script isn't there."""
    if not SCRIPT.exists():
        pytest.skip(f"no servers of our own: {SCRIPT} not found (set TIERFLOW_SHARED)")

"""Keep a server's documents in step with the catalogue of a stream, in a thread of its own.

The tables on disk are the truth: a server that is away for hours misses nothing, it is told when it is back.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from tierflow import config_io
from tierflow.errors import InputMissingError, TierflowError, TryAgainError
from tierflow.steps.places import arguments
from tierflow.stream.batch import FOLDER

if TYPE_CHECKING:
    from pathlib import Path

    from tierflow.config import Config
    from tierflow.stream.ledger import Ledger

_LOG = logging.getLogger(__name__)

PACE_S = 1.0
"""A shard is sent at most once in this time, however often it changes."""
PATIENCE_S = 2.0
"""How long one attempt goes on while the server is away; the pause after it is ours."""
BACKOFF_MOST_S = 30.0
LAST_TRY_S = 5.0
"""At the end: how long a last attempt may take for all that is left."""
_CONFIG = f"{FOLDER}/publish.yaml"


class Publisher:
    """Publishes the shards that changed, where a server is configured; else it does nothing.

    Args:
        ledger: Told how it stands: fact `publish` with `state` (off, ok, away, refused), `behind` (shards that the
            server hasn't got as they are), `since` (of the state, seconds since 1970) and `problem`.
        config: Configuration of the stream.
        output: Output folder.
    """

    def __init__(self, ledger: Ledger, config: Config, output: Path) -> None:
        self._ledger, self._config, self._output = ledger, config, output.absolute()
        self._on = bool(config.catalogue.elasticsearch.url)
        self._lock = threading.Lock()
        self._dirty: dict[str, float] = {}
        self._sent_at: dict[str, float] = {}
        self._failures = 0
        self._told: tuple[Any, ...] | None = None
        self._since = time.time()
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publish", daemon=True)

    def start(self) -> None:
        """Begin; what changed while nobody published is sent first."""
        if not self._on:
            self._tell("off", None)
            return
        settings = self._config.catalogue.elasticsearch.model_copy(update={"patience_s": PATIENCE_S})
        catalogue = self._config.catalogue.model_copy(update={"elasticsearch": settings})
        config_io.write(self._output / _CONFIG, self._config.model_copy(update={"catalogue": catalogue}))
        for table in sorted((self._output / "catalogue").glob("[0-9]*.parquet")):
            if self._is_behind(table.stem):
                self.dirty(table.stem)
        self._thread.start()

    def dirty(self, shard: str) -> None:
        """Say that the catalogue of a shard changed; may be called from any thread."""
        if self._on:
            with self._lock:
                self._dirty.setdefault(shard, time.monotonic())
            self._wake.set()

    def stop(self) -> None:
        """Try once more to send what is left, for some seconds, and end."""
        self._ending.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(LAST_TRY_S + PATIENCE_S)

    def behind(self) -> int:
        """Return how many shards the server hasn't got as they are."""
        with self._lock:
            return len(self._dirty)

    # ---- in the thread

    def _run(self) -> None:
        while not self._ending.is_set():
            wait_s = self._turn()
            self._wake.wait(wait_s)
            self._wake.clear()
        self._last_try()

    def _turn(self) -> float | None:
        """Send what is due; return the seconds until more is, None: nothing is."""
        for shard in self._due():
            if not self._send(shard):
                pause = min(PACE_S * 2.0 ** min(self._failures - 1, 10), BACKOFF_MOST_S)
                # What changes meanwhile doesn't shorten the pause: the server is away for all of it.
                self._ending.wait(pause)
                return 0.0
        with self._lock:
            waits = [self._sent_at.get(shard, -PACE_S) + PACE_S - time.monotonic() for shard in self._dirty]
        self._tell("ok", None)
        return max(min(waits), 0.01) if waits else None

    def _due(self) -> list[str]:
        now = time.monotonic()
        with self._lock:
            due = [name for name in self._dirty if now - self._sent_at.get(name, -PACE_S) >= PACE_S]
            return sorted(due, key=self._dirty.__getitem__)

    def _last_try(self) -> None:
        end = time.monotonic() + LAST_TRY_S
        with self._lock:
            left = list(self._dirty)
        for shard in left:
            if time.monotonic() >= end or not self._send(shard):
                break
        else:
            self._tell("ok", None)

    def _send(self, shard: str) -> bool:
        with self._lock:
            marked = self._dirty.pop(shard, None)
        now = time.monotonic()
        # Weeks bring thousands of shards; only those sent a moment ago have to wait.
        self._sent_at = {name: at for name, at in self._sent_at.items() if now - at < PACE_S} | {shard: now}
        try:
            self._publish(shard)
        except InputMissingError:
            return True
        except (TierflowError, OSError) as error:
            with self._lock:
                self._dirty.setdefault(shard, marked or time.monotonic())
            self._failures += 1
            self._tell("away" if isinstance(error, TryAgainError) else "refused", str(error))
            return False
        self._failures = 0
        return True

    def _publish(self, shard: str) -> None:
        # Imported here: most streams have no server.
        from tierflow.steps import publish

        publish.run(**arguments("publish", self._output, shard=shard) | {"config": self._output / _CONFIG})

    def _is_behind(self, shard: str) -> bool:
        paths = arguments("publish", self._output, shard=shard)
        try:
            return paths["receipt"].stat().st_mtime_ns < paths["catalogue"].stat().st_mtime_ns
        except FileNotFoundError:
            return True

    def _tell(self, state: str, problem: str | None) -> None:
        """Write down how it stands, when that changed."""
        said = (state, problem, self.behind())
        if said == self._told:
            return
        if self._told is None or self._told[0] != state:
            self._since = time.time()
            if problem:
                _LOG.warning("publishing waits: %s", problem)
            elif self._told is not None:
                _LOG.info("publishing goes on")
        self._told = said
        try:
            self._ledger.note(publish={"state": state, "behind": said[2], "since": self._since, "problem": problem})
        except TryAgainError as error:
            self._told = None
            _LOG.warning("%s", error)

"""The other side of an offer: measure batches of a stream whose watching process runs elsewhere."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from tierflow import config_io, tables
from tierflow.clock import utc_now
from tierflow.errors import ConfigError, InputMissingError, TierflowError, exit_code_of
from tierflow.render.snakemake import CONFIG_FILE
from tierflow.steps.extract import extract_shard
from tierflow.stream import offers
from tierflow.stream.getting_on import Progress
from tierflow.stream.worker_main import warm_up
from tierflow.stream.workers import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LOG = logging.getLogger(__name__)

BEAT_S = 1.0
_LOOK_S = 0.05
_WAIT_S = 1.0


def work(
    output: Path, *, size: int, idle_exit_s: float | None = None, wait: bool = False, stop: threading.Event
) -> int:
    """Measure what is offered until told to stop; batches in hand are finished.

    Args:
        output: Output folder of the stream, as this machine sees it.
        size: Processes.
        idle_exit_s: Return when nothing was offered for so long; None: never.
        wait: Wait for a stream that hasn't begun yet.
        stop: Set to end.

    Returns:
        Number of batches measured.

    Raises:
        InputMissingError: if the output holds no stream, and nobody wants to wait.
        ConfigError: if the stream's configuration can't be read, or says that the watching process measures by itself
            and nobody wants to wait until it says otherwise.
        TierflowError: if processes can't be started here.
    """
    config = output / CONFIG_FILE
    if not config.exists() and not wait:
        raise InputMissingError(
            f"{output} holds no stream: begin one with `tierflow watch INPUT --output {output}`, or wait for one with "
            "--wait-for-stream"
        )
    done = 0
    told = False
    while not stop.is_set():
        # Not whether there is a ledger: it may lie on a disk of the watching machine that isn't seen from here.
        there = config.exists()
        if not there or not _offers(config):
            if there and not wait:
                raise ConfigError(_nothing_offered(output))
            if there and not told:
                _LOG.warning("%s; waiting for that", _nothing_offered(output))
                told = True
            stop.wait(_WAIT_S)
            continue
        session = _Session(output, size=size, stop=stop)
        ended = session.run(idle_exit_s)
        done += session.done
        if ended:
            break
    return done


def _offers(config: Path) -> bool:
    return config_io.load(config).stream.batches.where == "outside"


def _nothing_offered(output: Path) -> str:
    return (
        f"{output} offers nothing to measure: by its config.yaml (stream.batches.where: here), it is that of a plain "
        "run, or of a watching process that measures by itself. To have others measure, start `tierflow watch` with "
        "--set stream.batches.where=outside"
    )


class _Session:
    """Work by one configuration.

    Attributes:
        done: Batches measured.
    """

    def __init__(self, output: Path, *, size: int, stop: threading.Event) -> None:
        self._output, self._config, self._stop = output, output / CONFIG_FILE, stop
        self._known, self._known_state = self._config.read_bytes(), _state(self._config)
        self._said = threading.Event()
        settings = config_io.load(self._config).stream
        self._pool = Pool(self._config, output, size=size, hang_s=settings.retry.hang_s, wake=self._said.set)
        self._beaten_at = 0.0
        self.done = 0

    def run(self, idle_exit_s: float | None) -> bool:
        """Work; returns False when there is a new configuration to go on with."""
        with closing(self._pool):
            self._pool.start()
            idle_since = time.monotonic()
            while True:
                self._tell()
                busy = [number for number, _, _ in self._pool.busy()]
                ends, changed = self._stop.is_set(), self._is_reconfigured()
                if (ends or changed) and not busy:
                    return ends
                if not ends and not changed:
                    self._claim()
                now = time.monotonic()
                if busy or not self._pool.idle():
                    idle_since = now
                elif idle_exit_s is not None and now - idle_since > idle_exit_s:
                    return True
                self._beat(now)
                self._said.wait(_LOOK_S)
                self._said.clear()

    def _tell(self) -> None:
        for event in self._pool.events():
            if event.batch is not None:
                self.done += event.kind == "done"
                offers.answer(self._output, event.batch, {**event.detail, "kind": event.kind})

    def _claim(self) -> None:
        while self._pool.idle():
            claimed = offers.claim(self._output)
            if claimed is None:
                return
            paths = {"shard": self._output / claimed.shard, "table": self._output / claimed.table}
            if not self._pool.send(claimed.number, **paths):
                died = {"kind": "died", "message": "the worker died before it began"}
                offers.answer(self._output, claimed.number, died)

    def _beat(self, now: float) -> None:
        if now - self._beaten_at < BEAT_S:
            return
        self._beaten_at = now
        for number, _, _ in self._pool.busy():
            offers.beat(self._output, number)

    def _is_reconfigured(self) -> bool:
        """Tell whether the configuration is another one: processes have read the former."""
        state = _state(self._config)
        if state == self._known_state:
            return False
        try:
            changed = self._config.read_bytes() != self._known
        except FileNotFoundError:
            return True
        self._known_state = None if changed else state
        return changed


def work_once(output: Path, number: int) -> bool:
    """Measure one batch that was claimed for this process, and answer; for engines that begin a process per batch.

    Failures are answered as well: what follows from them is for the watching process to decide.

    Returns:
        False if the batch was taken back: nothing is left to do.
    """
    claimed = offers.begin(output, number)
    if claimed is None:
        return False
    said: dict[str, Any] = {"kind": "done"}
    started = time.perf_counter()
    with _beating(output, number) as count:
        try:
            settings = config_io.load(output / CONFIG_FILE).extract
            # A process that has just begun is slow with its first plane: that says nothing about images.
            warm_up(settings)
            started = time.perf_counter()
            shard, table = output / claimed.shard, output / claimed.table
            measured = extract_shard(tables.read(shard), settings, shard=shard.stem, output=output, beat=count)
            tables.write_passing(table, measured, at=utc_now())
        except (TierflowError, OSError) as error:
            _LOG.warning("%s", error)
            said = {"kind": "failed", "code": exit_code_of(error), "message": str(error)}
    offers.answer(output, number, said | {"seconds": time.perf_counter() - started})
    return True


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


@contextmanager
def _beating(output: Path, number: int) -> Iterator[Callable[[], None]]:
    """Tell of progress meanwhile; gives what is to be called after each plane."""
    ended, progress = threading.Event(), Progress()

    def run() -> None:
        while not ended.wait(BEAT_S):
            if progress.moved():
                offers.beat(output, number)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield progress.count
    finally:
        ended.set()
        thread.join()

"""Hand ready objects to warm workers in micro-batches, have what is measured committed, and deal with failures."""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections import deque
from typing import TYPE_CHECKING

from tierflow import tables
from tierflow.errors import (
    EXIT_CONFIG,
    EXIT_INPUT_MISSING,
    EXIT_TRY_AGAIN,
    ConfigError,
    InputMissingError,
    TableError,
    TierflowError,
    TryAgainError,
    exit_code_of,
)
from tierflow.render.snakemake import CONFIG_FILE
from tierflow.scan import rows as scan_rows
from tierflow.steps.places import arguments
from tierflow.stream.batches import MB, Shards
from tierflow.stream.commit_thread import Committed, CommitThread
from tierflow.stream.failures import bury, give_back, give_up, is_dead, pause_s
from tierflow.stream.flight import Flight
from tierflow.stream.fold import mapped
from tierflow.stream.outside_pool import OutsidePool
from tierflow.stream.sources import look
from tierflow.stream.turns import Load, Turns
from tierflow.stream.workers import Pool, default_workers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tierflow.config import Config
    from tierflow.stream.batches import Due
    from tierflow.stream.flight import Commits, Names
    from tierflow.stream.ledger import Ledger
    from tierflow.stream.workers import Event

_LOG = logging.getLogger(__name__)

MOST_MEASURED = 3
"""Batches that may wait for being committed; when they do, no other is begun."""
_BEAT_S = 1.0
_SOON_S = 0.05
_PASSING = (EXIT_TRY_AGAIN, EXIT_INPUT_MISSING)


class Dispatcher:
    """Hands out work; `step` is called by one thread.

    Args:
        ledger: The ledger.
        config: Configuration, with an absolute input.
        output: Output folder; its `config.yaml` is written.
        committer: Commits batches, in a thread of its own.
        names: Gives the rows of the shard tables.
        wake: Called from other threads when there is something to do.
        newer_than: Gives the number of the object after which objects may be begun, 0 for all; None: nothing, because
            the input is away, and what is begun would be measured in vain.

    Attributes:
        paused: Nothing new is begun.
        obstacle: What stands in the way for now, in words; None: nothing.
    """

    def __init__(
        self,
        ledger: Ledger,
        config: Config,
        output: Path,
        committer: Commits,
        names: Names,
        *,
        wake: Callable[[], None] = lambda: None,
        newer_than: Callable[[], int | None] = lambda: 0,
    ) -> None:
        self._ledger, self._config, self._output, self._names = ledger, config, output, names
        self._settings, self._retry = config.stream.batches, config.stream.retry
        size = self._settings.workers or default_workers()
        self._pool: Pool | OutsidePool = (
            OutsidePool(output, size=size, hang_s=self._retry.hang_s)
            if self._settings.where == "outside"
            else Pool(output / CONFIG_FILE, output, size=size, hang_s=self._retry.hang_s, wake=wake)
        )
        self._commits = CommitThread(committer.commit, wake=wake)
        self._limit_size = config.scan.shard_mb * MB
        self._shards = Shards.of(
            ledger,
            output / "scan" / "shards",
            max_objects=self._settings.shard_objects,
            max_size=self._limit_size,
        )
        self._newer_than = newer_than
        self._turns = Turns(ledger, config, newer_than=newer_than)
        self._flights: dict[int, Flight] = {}
        self._happened: deque[Event | Committed] = deque()
        self._measured_at = self._committed_at = -math.inf
        self._noted_at = -math.inf
        self.paused = False
        self.obstacle: str | None = None
        self._pool.start()

    def step(self, now: float) -> float:
        """Do what can be done now, without waiting.

        Args:
            now: Seconds since 1970.

        Returns:
            Seconds until there may be something to do that nobody wakes for.

        Raises:
            ConfigError: if the configuration turned out to be wrong.
            TierflowError: if no way is left to go on; nothing is lost.
        """
        try:
            with mapped(self._output):
                gather_s = self._step(now)
        except TryAgainError as error:
            # The ledger can't be written to. What happened isn't forgotten: it is dealt with when that is over.
            self._hinder(error)
            return self._retry.backoff_s
        held = [flight.due - time.monotonic() for flight in self._flights.values() if flight.stage.startswith("held")]
        return max(min([gather_s, self._pool.next_look(), _BEAT_S, *held]), 0.0)

    def _step(self, now: float) -> float:
        """Do what can be done; returns the seconds until a batch may begin by itself."""
        self._happened += self._commits.events()
        self._happened += self._pool.events()
        while self._happened:
            self._on(self._happened[0])
            self._happened.popleft()
        for flight in list(self._flights.values()):
            if flight.stage.startswith("held") and time.monotonic() >= flight.due:
                self._go_on(flight)
        gather_s = self._begin_what_fits(now)
        self._note_beats()
        if not any(flight.tries for flight in self._flights.values()):
            self.obstacle = None
        return gather_s

    def flying(self) -> int:
        """Return the number of batches on their way."""
        return len(self._flights)

    def held(self) -> bool:
        """Tell whether all batches on their way wait for something outside."""
        return all(flight.stage.startswith("held") for flight in self._flights.values())

    def pids(self) -> list[int]:
        """Return the process numbers of the workers."""
        return self._pool.pids()

    def close(self, *, patience_s: float = 10.0) -> None:
        """End the workers and the commit thread; what isn't measured is ready again, what is will be committed."""
        self._pool.close()
        for flight in self._flights.values():
            if flight.stage.endswith("measure"):
                give_back(self._ledger, flight.batch, problem="the watcher was stopped")
        self._commits.close(patience_s=patience_s)
        self._flights.clear()

    # ---- beginning

    def _begin_what_fits(self, now: float) -> float:
        """Begin batches while workers wait; returns the seconds until the next may begin by itself."""
        while not self.paused and self._pool.idle() and self._has_room():
            due, wait_s = self._turns.next(now, self._load())
            if due is None:
                return wait_s
            if not self._begin(due):
                return self._retry.backoff_s
        return math.inf

    def _has_room(self) -> bool:
        committing = sum(flight.stage.endswith("commit") for flight in self._flights.values())
        return committing < MOST_MEASURED and len(self._flights) < self._pool.size + MOST_MEASURED

    def _load(self) -> Load:
        flights = self._flights.values()
        committing = any(flight.stage == "commit" for flight in flights)
        return Load(self._pool.size, self._pool.idle(), sum(flight.again for flight in flights), committing=committing)

    def _begin(self, due: Due) -> bool:
        """Begin a batch; returns False if something outside stands in the way."""
        rows = due.rows
        shard = due.shard
        if shard is None:
            shard = self._shards.take(objects=len(rows), size=sum(row.size for row in rows))
        try:
            batch = self._ledger.begin_batch([row.id for row in rows], shard=shard)
        except ValueError as error:
            if isinstance(error, TierflowError):
                raise
            # A file changed between the two looks at the ledger.
            return True
        flight = Flight(batch, rows, due.again)
        self._flights[batch.number] = flight
        self._go_on(flight)
        return flight.stage == "measure"

    def _lay_out(self, flight: Flight, shard: Path) -> None:
        """Write the shard table of a batch, and its configuration, where they aren't there yet."""
        if shard.exists():
            return
        shard.parent.mkdir(parents=True, exist_ok=True)
        config = flight.batch.folder / CONFIG_FILE
        try:
            os.link(self._output / CONFIG_FILE, config)
        except FileExistsError:
            pass
        except OSError:
            shutil.copyfile(self._output / CONFIG_FILE, config)
        table = scan_rows.to_table(self._names.scan_rows(flight.rows))
        # Not waited for: after a power cut, a batch that isn't measured begins anew.
        tables.write_passing(shard, table, input=str(self._config.input), dataset=self._config.dataset_name)

    def _go_on(self, flight: Flight) -> None:
        """Have a batch measured, or committed, as its stage says."""
        if flight.stage == "held_commit":
            flight.stage, flight.sent_at = "commit", time.monotonic()
            self._commits.put(flight.batch)
            return
        paths = arguments("extract", flight.batch.folder, shard=flight.batch.shard)
        try:
            self._lay_out(flight, paths["shard"])
        except OSError as error:
            self._hold(flight, error)
            return
        if self._pool.send(flight.batch.number, shard=paths["shard"], table=paths["table"]):
            flight.stage, flight.sent_at = "measure", time.monotonic()
        else:
            flight.due = time.monotonic() + _SOON_S

    # ---- what happened

    def _on(self, event: Event | Committed) -> None:
        if isinstance(event, Committed):
            self._on_commit(event)
        else:
            self._on_worker(event)

    def _on_worker(self, event: Event) -> None:
        flight = self._flights.get(event.batch) if event.batch is not None else None
        if flight is None:
            if event.kind == "died":
                _LOG.warning("an idle worker ended: %s", event.detail["message"])
            return
        if event.kind == "done":
            self._measured(flight, event.detail["seconds"])
        elif event.kind == "died":
            # Whoever reads from a share that hangs is silent: that says nothing about the objects.
            self._fail(flight, event.detail["message"], count=self._newer_than() is not None)
        else:
            self._not_measured(flight, int(event.detail["code"]), event.detail["message"])

    def _measured(self, flight: Flight, seconds: float) -> None:
        self._measured_at = time.monotonic()
        flight.measure_s = seconds
        self._turns.speed.learn(objects=len(flight.rows), size=sum(row.size for row in flight.rows), seconds=seconds)
        self._record(flight)

    def _record(self, flight: Flight) -> None:
        self._ledger.set_stage(flight.batch.number, "recording")
        flight.stage = "held_commit"
        self._go_on(flight)

    def _not_measured(self, flight: Flight, code: int, message: str) -> None:
        if code == EXIT_CONFIG:
            raise ConfigError(message)
        # When others could be measured meanwhile, it isn't the disk or the share that is away.
        if code in _PASSING and self._measured_at < flight.sent_at:
            self._hold(flight, message)
        else:
            self._fail(flight, message, count=True)

    def _on_commit(self, ended: Committed) -> None:
        flight = self._flights.get(ended.number)
        if flight is None:
            return
        if ended.error is not None:
            self._not_committed(flight, ended.error)
            return
        self._committed_at = time.monotonic()
        detail = {"objects": len(flight.rows), "measure_s": flight.measure_s, "commit_s": ended.seconds}
        self._ledger.tell("batch", detail)
        del self._flights[ended.number]

    def _not_committed(self, flight: Flight, error: Exception) -> None:
        code, message = exit_code_of(error), str(error) or repr(error)
        if code == EXIT_CONFIG:
            raise error
        if isinstance(error, InputMissingError | TableError) and not flight.dead and not flight.tries:
            # A table of the batch is missing or damaged, as after a power cut.
            shutil.rmtree(flight.batch.folder, ignore_errors=True)
            self._ledger.set_stage(flight.batch.number, "measuring")
            flight.stage, flight.tries, flight.due = "held_measure", 1, 0.0
            return
        passing = code in _PASSING
        if not passing:
            _LOG.error("batch %d can't be committed", flight.batch.number, exc_info=error)
        if flight.dead and not passing and flight.tries >= self._retry.attempts:
            raise TierflowError(
                f"nothing can be committed, not even that objects are given up: {message}. Nothing is lost: what was "
                "measured is in the output; mend it and start again"
            ) from error
        if flight.dead or (passing and (self._committed_at < flight.sent_at or self._lacks_files(flight))):
            self._hold(flight, message)
        else:
            self._fail(flight, f"could not be recorded: {message}", count=not passing)

    def _lacks_files(self, flight: Flight) -> bool:
        """Tell whether files of a batch left the input: a tier took them, so they can't be measured once more."""
        root = os.fsencode(str(self._config.input))
        return any(look(root, row.path) is None for row in flight.rows)

    def _hold(self, flight: Flight, message: object) -> None:
        """Try a batch again later; its objects aren't at fault."""
        flight.tries += 1
        flight.stage = "held_commit" if flight.stage == "commit" else "held_measure"
        flight.due = time.monotonic() + pause_s(self._retry, flight.tries)
        self._hinder(message)

    def _hinder(self, what: object) -> None:
        if self.obstacle != str(what):
            _LOG.warning("waiting: %s", what)
        self.obstacle = str(what)

    def _fail(self, flight: Flight, problem: str, *, count: bool) -> None:
        _LOG.warning("batch %d of %d objects failed: %s", flight.batch.number, len(flight.rows), problem)
        if count and is_dead(flight.rows, self._retry, again=flight.again):
            try:
                self._lay_out(flight, arguments("extract", flight.batch.folder, shard=flight.batch.shard)["shard"])
                bury(self._ledger, flight.batch, flight.rows, self._config.extract, problem=problem)
            except OSError as error:
                self._hinder(error)
            else:
                flight.dead = True
                self._record(flight)
                return
        give_up(self._ledger, flight.batch, flight.rows, self._retry, problem=problem, count=count)
        del self._flights[flight.batch.number]

    def _note_beats(self) -> None:
        if time.monotonic() - self._noted_at < _BEAT_S:
            return
        self._noted_at = time.monotonic()
        now = time.time()
        beats = [(pid, now - silent_s, number) for number, pid, silent_s in self._pool.busy()]
        if beats:
            with self._ledger.transaction() as db:
                db.executemany("UPDATE batches SET worker = ?, beat_at = ? WHERE id = ?", beats)

"""The ledger: which files were seen, and where each stands. It is the truth of a stream; events are only hints.

One process, the watching one, writes objects and batches. Others read, and leave requests. Every method is one
transaction and may be called from any thread.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from tierflow.errors import ConfigError, InputMissingError, TryAgainError
from tierflow.render.snakemake import CONFIG_FILE
from tierflow.stream.batch import LEDGER, Batch, batch_folder
from tierflow.stream.ledger_schema import SCHEMA, VERSION
from tierflow.stream.states import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

BUSY_S = 30.0
"""How long a transaction waits for another process."""

_PASSING = ("locked", "disk", "full", "i/o", "busy")


class Row(NamedTuple):
    """An object as most callers need it; see `ledger_schema` for the meaning of each."""

    id: int
    path: bytes
    object_id: str
    state: State
    version: int
    size: int
    mtime_ns: int
    inode: int
    is_link: bool
    closed: bool
    seen_at: float
    changed_at: float
    ready_at: float | None
    not_before: float
    attempts: int
    cohort: int | None
    unit: str | None
    incomplete: bool
    priority: int
    tag: str | None
    reason: str | None
    shard: int | None
    batch: int | None


_COLUMNS = ", ".join(Row._fields)


class Ledger:
    """An open ledger.

    Args:
        output: Output folder.
        read_only: For processes that only look.

    Raises:
        InputMissingError: if there is none and `read_only`.
        ConfigError: if it was made by another version.
        TryAgainError: if the disk is full or away.
    """

    def __init__(self, output: Path, *, read_only: bool = False) -> None:
        self.output = output.absolute()
        path = self.output / LEDGER
        if read_only and not path.exists():
            raise InputMissingError(_why_none(output))
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        # Read-only would be `mode=ro`, but then a reader can't make the shared memory that WAL needs after a crash.
        self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            with self.mapped():
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = NORMAL")
                self._db.execute(f"PRAGMA query_only = {int(read_only)}")
                self._prepare(read_only=read_only)
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, *, read_only: bool) -> None:
        if not read_only:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                if self._db.execute("PRAGMA user_version").fetchone()[0] == 0:
                    for statement in _statements(SCHEMA):
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA user_version = {VERSION}")
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found == 0:
            # Its watcher has made the file this moment, or was killed while it did.
            raise InputMissingError(f"{self.output} holds no stream yet: try again in a moment")
        if found != VERSION:
            raise ConfigError(
                f"{self.output / LEDGER} has version {found}, expected {VERSION}: use the tierflow that made it, "
                "or another --output"
            )

    def close(self) -> None:
        """Close it; what was written stays."""
        with self._lock:
            self._db.close()

    @contextmanager
    def mapped(self) -> Iterator[None]:
        """Turn errors of SQLite into tierflow's."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if any(word in str(error).lower() for word in _PASSING):
                raise TryAgainError(
                    f"{self.output / LEDGER}: {error}; make room on that disk, or wait for the other process"
                ) from error
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for several statements that hold together or not at all."""
        with self._lock, self.mapped():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return what a SELECT finds."""
        with self._lock, self.mapped():
            return self._db.execute(statement, values).fetchall()

    # ---- looking

    def rows(self, condition: str, values: Sequence[Any] = (), *, limit: int | None = None) -> list[Row]:
        """Return objects.

        Args:
            condition: What follows WHERE, ORDER BY included.
            values: Values of its question marks.
            limit: Most rows.
        """
        end = "" if limit is None else f" LIMIT {int(limit)}"
        found = self.query(f"SELECT {_COLUMNS} FROM objects WHERE {condition}{end}", values)  # noqa: S608 - no user text
        return [
            Row(*row)._replace(state=State(row[3]), is_link=bool(row[8]), closed=bool(row[9]), incomplete=bool(row[17]))
            for row in found
        ]

    def counts(self) -> dict[State, int]:
        """Return the number of objects in each state; every state is there."""
        found = dict(self.query("SELECT state, n FROM counts"))
        return {state: int(found.get(state, 0)) for state in State}

    # ---- facts, news, requests

    def fact(self, name: str, default: Any = None) -> Any:
        """Return what is known under a name."""
        found = self.query("SELECT value FROM facts WHERE name = ?", (name,))
        return json.loads(found[0][0]) if found else default

    def facts(self) -> dict[str, Any]:
        """Return everything that is known of the stream as a whole."""
        return {name: json.loads(value) for name, value in self.query("SELECT name, value FROM facts")}

    def note(self, **facts: Any) -> None:
        """Write down what is known of the stream as a whole, by name."""
        with self.transaction() as db:
            db.executemany(
                "INSERT INTO facts VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value, at = "
                "excluded.at",
                [(name, json.dumps(value), time.time()) for name, value in facts.items()],
            )

    def tell(self, kind: str, detail: Mapping[str, Any], *, object_id: int | None = None) -> None:
        """Add a piece of news."""
        with self.transaction() as db:
            insert_news(db, kind, [(object_id, detail)])

    def news(self, *, after: int, limit: int = 500) -> list[tuple[int, float, str, int | None, dict[str, Any]]]:
        """Return (number, time, kind, object, detail) of the news after a number, oldest first."""
        found = self.query(
            "SELECT id, at, kind, object, detail FROM news WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
        )
        return [(number, at, kind, thing, json.loads(detail)) for number, at, kind, thing, detail in found]

    def trim_news(self, *, keep: int) -> None:
        """Forget all but the latest news; those that a hook hasn't told yet stay."""
        with self.transaction() as db:
            db.execute(
                "DELETE FROM news WHERE id <= min((SELECT max(id) FROM news) - ?, (SELECT coalesce(min(CAST("
                "json_extract(value, '$.after') AS INTEGER)), 9223372036854775807) FROM facts "
                "WHERE name LIKE 'hook:%'))",
                (keep,),
            )

    def ask(self, name: str, *, by: str, arguments: Mapping[str, Any]) -> int:
        """Leave a request for the watching process; returns its number."""
        with self.transaction() as db:
            found = db.execute(
                "INSERT INTO requests (at, by, name, arguments) VALUES (?, ?, ?, ?)",
                (time.time(), by, name, json.dumps(dict(arguments))),
            )
            return int(found.lastrowid or 0)

    def requests(self) -> list[tuple[int, str, str, dict[str, Any]]]:
        """Return (number, by, name, arguments) of the requests that wait, oldest first."""
        found = self.query("SELECT id, by, name, arguments FROM requests WHERE done_at IS NULL ORDER BY id")
        return [(number, by, name, json.loads(arguments)) for number, by, name, arguments in found]

    def answer(self, number: int, answer: Mapping[str, Any]) -> None:
        """Say that a request was dealt with, and how."""
        with self.transaction() as db:
            db.execute(
                "UPDATE requests SET done_at = ?, answer = ? WHERE id = ?",
                (time.time(), json.dumps(dict(answer)), number),
            )

    def answered(self, number: int) -> dict[str, Any] | None:
        """Return the answer to a request, None while it waits."""
        found = self.query("SELECT answer FROM requests WHERE id = ? AND done_at IS NOT NULL", (number,))
        return json.loads(found[0][0]) if found else None

    # ---- batches

    def begin_batch(self, ids: Sequence[int], *, shard: int) -> Batch:
        """Put objects that are ready, or failed, into a new batch; they are then running.

        Raises:
            ValueError: if one of them is in another state.
        """
        marks = ", ".join("?" * len(ids))
        with self.transaction() as db:
            found = db.execute(
                "INSERT INTO batches (shard, stage, objects, began_at) VALUES (?, 'measuring', ?, ?)",
                (shard, len(ids), time.time()),
            )
            number = int(found.lastrowid or 0)
            changed = db.execute(
                f"UPDATE objects SET state = ?, batch = ?, shard = ? WHERE id IN ({marks}) AND state IN (?, ?)",  # noqa: S608
                (State.RUNNING, number, shard, *ids, State.READY, State.FAILED),
            ).rowcount
            if changed != len(ids):
                raise ValueError(f"{len(ids) - changed} of {len(ids)} objects aren't ready")
        return Batch(number, f"{shard:05d}", batch_folder(self.output, number), tuple(ids))

    def batches(self, *stages: str) -> list[Batch]:
        """Return the batches of some stages, oldest first."""
        marks = ", ".join("?" * len(stages))
        found = self.query(f"SELECT id, shard FROM batches WHERE stage IN ({marks}) ORDER BY id", stages)  # noqa: S608
        return [
            Batch(
                number,
                f"{shard:05d}",
                batch_folder(self.output, number),
                tuple(row[0] for row in self.query("SELECT id FROM objects WHERE batch = ? ORDER BY id", (number,))),
            )
            for number, shard in found
        ]

    def set_stage(self, number: int, stage: str, *, problem: str | None = None) -> None:
        """Say how far a batch is: `measuring`, `recording`, `done` or `given_up`."""
        now = time.time()
        with self.transaction() as db:
            db.execute("UPDATE batches SET stage = ?, problem = ? WHERE id = ?", (stage, problem, number))
            if stage == "recording":
                db.execute("UPDATE batches SET measured_at = ? WHERE id = ?", (now, number))
            if stage in ("done", "given_up"):
                db.execute("UPDATE batches SET ended_at = ? WHERE id = ?", (now, number))


def insert_news(db: sqlite3.Connection, kind: str, items: Iterable[tuple[int | None, Mapping[str, Any]]]) -> None:
    """Add news of one kind inside a transaction: (object, detail) each."""
    now = time.time()
    db.executemany(
        "INSERT INTO news (at, kind, object, detail) VALUES (?, ?, ?, ?)",
        [(now, kind, thing, json.dumps(dict(detail))) for thing, detail in items],
    )


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script one by one: `executescript` would end the transaction."""
    pending = ""
    for line in script.splitlines():
        pending += line + "\n"
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


def _why_none(output: Path) -> str:
    """Say why a folder has no ledger, and what to give or do."""
    if not output.is_dir():
        found = "is a file" if output.exists() else "isn't there"
        return f"{output} {found}: give the folder that `tierflow watch` was given as --output"
    if (output / CONFIG_FILE).exists():
        return (
            f"{output} holds a run, but no stream: it has a report. To go on with what arrives in its input, use "
            f"`tierflow watch INPUT --output {output}`"
        )
    return f"{output} holds no stream: begin one with `tierflow watch INPUT --output {output}`"

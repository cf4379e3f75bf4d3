"""The one thread that commits measured batches, so that the loop which watches the workers never waits for a disk."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from tierflow.stream.batch import Batch


class Committed(NamedTuple):
    """How a commit ended.

    Attributes:
        number: Number of the batch.
        seconds: How long it took.
        error: Why it didn't work; None: it did.
    """

    number: int
    seconds: float
    error: Exception | None


class CommitThread:
    """Commits batches one after another, in the order they were given.

    Args:
        commit: Commits a batch.
        wake: Called from the thread after each.
    """

    def __init__(self, commit: Callable[[Batch], None], *, wake: Callable[[], None]) -> None:
        self._commit, self._wake = commit, wake
        self._batches: SimpleQueue[Batch | None] = SimpleQueue()
        self._ended: SimpleQueue[Committed] = SimpleQueue()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="commit", daemon=True)
        self._thread.start()

    def put(self, batch: Batch) -> None:
        """Have a batch committed."""
        self._batches.put(batch)

    def events(self) -> list[Committed]:
        """Return what ended since the last call."""
        found = []
        while not self._ended.empty():
            found.append(self._ended.get())
        return found

    def close(self, *, patience_s: float) -> None:
        """Finish the batch in hand, leave the others, and wait so many seconds for that."""
        self._stopping = True
        self._batches.put(None)
        self._thread.join(patience_s)

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None and not self._stopping:
            started = time.perf_counter()
            error: Exception | None = None
            try:
                self._commit(batch)
            except Exception as problem:
                error = problem
            self._ended.put(Committed(batch.number, time.perf_counter() - started, error))
            self._wake()

"""How far each running job is: one small file per step and shard, written often and never trusted for results."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

PROGRESS_FOLDER = Path(".tierflow/progress")
INTERVAL_S = 0.5


class Heartbeat:
    """Tells an observer how many objects of a shard are done, at most twice a second.

    The file appears by rename, so a reader never sees half a line; it isn't synced, because losing it loses nothing.
    A folder that can't be written to is no reason to stop measuring: the display then stands still.
    """

    def __init__(self, folder: Path, step: str, shard: str, total: int) -> None:
        """Announce a job.

        Args:
            folder: Where progress files lie, `<output>/.tierflow/progress`.
            step: Name of the step.
            shard: Name of the shard.
            total: Objects in the shard.
        """
        self._path = folder / f"{step}-{shard}.json"
        self._state: dict[str, str | int] = {"step": step, "shard": shard, "done": 0, "total": total, "failed": 0}
        self._done = 0
        self._failed = 0
        self._written_at = time.monotonic()
        self._write()

    def advance(self, n: int = 1, *, failed: int = 0) -> None:
        """Note that `n` more objects are done, `failed` of them without success."""
        self._done += n
        self._failed += failed
        if time.monotonic() - self._written_at >= INTERVAL_S:
            self._write()

    def close(self) -> None:
        """Write the last state; the file stays, so that an observer who looks later sees the whole shard as done."""
        self._write()

    def __enter__(self) -> Heartbeat:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _write(self) -> None:
        self._written_at = time.monotonic()
        text = json.dumps({**self._state, "done": self._done, "failed": self._failed}) + "\n"
        # The process id keeps two copies of one job from writing into each other's temporary file.
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self._path)


def read_progress(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the last state of every job by (step, shard), with the keys step, shard, done, total, failed.

    Args:
        folder: Where progress files lie; a missing folder holds none.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for path in folder.glob("*.json"):
        # A file may be replaced, or removed by a new run, between listing and reading.
        with suppress(OSError, ValueError, KeyError, TypeError):
            state = json.loads(path.read_text(encoding="utf-8"))
            found[state["step"], state["shard"]] = state
    return found

"""Decisions of people while a stream is watched: written by whoever decides, carried out by the watching process."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tierflow.errors import InputMissingError, TryAgainError
from tierflow.lock import run_lock
from tierflow.stream.metrics_stream import is_up
from tierflow.stream.status import status_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def held(output: Path) -> Iterator[bool]:
    """Hold the output while a decision is written; yields whether a watching process holds it instead.

    That one reads decisions again when it is asked to `relabel`, so it may hold the output. A plain run that places
    files now may not: half of them would be placed without the decision.

    Raises:
        TryAgainError: if a run holds the output.
    """
    try:
        with run_lock(output):
            yield False
            return
    except TryAgainError:
        if not _is_watched(output):
            raise
    yield True


def _is_watched(output: Path) -> bool:
    try:
        return is_up(status_of(output))
    except InputMissingError:
        return False

"""What `tierflow watch` says while it runs: one line that changes on a terminal, a line now and then in a log."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from tierflow.stream.states import State

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.console import Console
    from rich.status import Status

_LOG = logging.getLogger(__name__)
_LOG_S = 10.0


class Show:
    """Shows how a stream stands.

    Args:
        console: Where to; None shows nothing.
    """

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._status: Status | None = None
        self._former = ""
        self._former_at = 0.0
        self._ended: tuple[float, int] | None = None

    def start(self, text: str) -> None:
        """Begin with a line."""
        if self._console is None or not self._console.is_terminal:
            _LOG.info("%s", text)
            return
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
        self._status = self._console.status("looking at the folder")
        self._status.start()

    def update(self, states: Mapping[State, int], *, lag_s: float, state: str, problem: str | None) -> None:
        """Show the latest figures; called about once per second.

        Args:
            states: Objects by state.
            lag_s: Age of the oldest object that is ready.
            state: State of the service.
            problem: What stands in the way; None: nothing.
        """
        text = line_of(states, rate=self._rate(states), lag_s=lag_s, state=state, problem=problem)
        if self._status is not None:
            # Brackets in a message aren't markup.
            self._status.update(text.replace("[", "\\["))
            return
        key = line_of(states, rate=0.0, lag_s=0.0, state=state, problem=problem)
        if key != self._former and time.monotonic() - self._former_at >= _LOG_S:
            self._former, self._former_at = key, time.monotonic()
            _LOG.info("%s", text)

    def stop(self, text: str) -> None:
        """End with a line."""
        if self._status is None or self._console is None:
            _LOG.info("%s", text)
            return
        self._status.stop()
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _rate(self, states: Mapping[State, int]) -> float:
        """Return the objects that came to an end per second since the last call."""
        now, ended = time.monotonic(), states[State.DONE] + states[State.QUARANTINED]
        before, self._ended = self._ended, (now, ended)
        return max(ended - before[1], 0) / (now - before[0]) if before and now > before[0] else 0.0


def line_of(states: Mapping[State, int], *, rate: float, lag_s: float, state: str, problem: str | None) -> str:
    """Return how a stream stands, in a line."""
    parts = [f"{n} {name}" for name, n in states.items() if n]
    head = "" if state == "running" else f"{state}: "
    tail = f"; waiting: {problem}" if problem else ""
    speed = f"; {rate:.1f}/s" if rate else ""
    lag = f"; oldest {lag_s:.0f} s" if lag_s >= 1 else ""
    return f"{head}{', '.join(parts) or 'no image yet'}{speed}{lag}{tail}"


def ended_line(states: Mapping[State, int], output: Path, *, left_out: str = "") -> str:
    """Return how a stream stood when it ended, in a line, and where to look for what wasn't done.

    Args:
        states: Objects by state.
        output: Output folder.
        left_out: What is no object although it lies in the folder, in words.
    """
    parts = ", ".join(f"{n} {name}" for name, n in states.items() if n)
    left = any(n for name, n in states.items() if name is not State.DONE)
    why = f"; why, says `tierflow status {output}`" if left else ""
    return f"ended: {parts or 'there was no image'}{why}" + (f"; {left_out}" if left_out else "")

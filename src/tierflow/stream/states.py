"""The states that an object of a stream goes through.

```
seen ──> waiting ──> ready ──> running ──> done
            ^          ^          │  └────> quarantined     also: dead letters, after the last attempt
            │          └── failed <┘
            └───────── a file that was written again, whatever its state: a new version of the object
lost_source: the file vanished before it was handled; it is seen again when it comes back
```
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where an object of the stream stands; each is in exactly one state."""

    SEEN = "seen"
    """The file is known; nobody has looked whether it is complete."""
    WAITING = "waiting"
    """The file, or its unit, isn't complete yet."""
    READY = "ready"
    """Complete; waits for its turn."""
    RUNNING = "running"
    """Part of a micro-batch that is being handled."""
    FAILED = "failed"
    """An attempt failed for a reason outside the object, or unknown; another one follows at `not_before`."""
    DONE = "done"
    """Measured, scored, placed and in the catalogue."""
    QUARANTINED = "quarantined"
    """In the catalogue as quarantined, with the reason: unreadable, or every attempt failed (dead letter)."""
    LOST_SOURCE = "lost_source"
    """The file vanished before it was handled."""


ENDED = frozenset({State.DONE, State.QUARANTINED, State.LOST_SOURCE})
"""States in which nothing is left to do."""

OPEN = frozenset(State) - ENDED
"""States in which something is left to do."""

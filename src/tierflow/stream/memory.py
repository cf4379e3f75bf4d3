"""How a process that runs for weeks holds its memory."""

from __future__ import annotations

import os

import pyarrow as pa

_CHOSEN = "ARROW_DEFAULT_MEMORY_POOL"


def hold_tables_in_system_memory() -> None:
    """Have Arrow take memory from the system's allocator, for the whole process.

    A stream makes and drops small tables without end. Arrow's own allocator keeps several times of what they need, more
    or less by the hour; the system's keeps little and always about the same. See design/stream.md for the figures.
    Whoever sets `ARROW_DEFAULT_MEMORY_POOL` keeps their choice.
    """
    if _CHOSEN not in os.environ:
        pa.set_memory_pool(pa.system_memory_pool())

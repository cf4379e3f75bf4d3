"""Whether a process that measures gets on: that it lives says nothing, a deadlock lives as well."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_READ_STEP = 1_000_000


class Progress:
    """Planes that were measured, and bytes that were read, since the last look. One thread counts, another looks."""

    def __init__(self) -> None:
        self._planes = 0
        self._seen_planes, self._seen_bytes = 0, 0

    def count(self) -> None:
        """Count a plane."""
        self._planes += 1

    def moved(self) -> bool:
        """Tell whether planes were measured, or a megabyte of a large file was read."""
        planes, read = self._planes, _bytes_read()
        if planes == self._seen_planes and read - self._seen_bytes < _READ_STEP:
            return False
        self._seen_planes, self._seen_bytes = planes, read
        return True


def _bytes_read() -> int:
    """Return the bytes that this process has read so far; 0 where the system doesn't say."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/io").read_text(encoding="ascii").split()[1])
    return 0

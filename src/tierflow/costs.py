"""What a step cost: a line of JSON at the end of its log, for benchmarks, sizing and bills."""

from __future__ import annotations

import os
import resource
import socket
import time
from contextlib import suppress
from pathlib import Path


def cost_of(step: str, *, step_s: float) -> dict[str, float | str]:
    """Return what this process used so far.

    Args:
        step: Name of the step.
        step_s: Wall time of the step itself, in seconds.

    Returns:
        `step`; `process`, machine and number of this process, which may leave several lines; `step_s`; `process_s`,
        wall time since the process began, the start of Python included; `ended_at`, seconds since 1970; `cpu_s`,
        processor time of this process; `peak_mb`, its largest memory, in MB.
    """
    own = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "step": step,
        "process": f"{socket.gethostname()}:{os.getpid()}",
        "step_s": round(step_s, 4),
        "process_s": round(time.time() - _process_started_at(), 4),
        "ended_at": round(time.time(), 3),
        "cpu_s": round(own.ru_utime + own.ru_stime, 4),
        "peak_mb": round(own.ru_maxrss / 1024, 1),
    }


def append(log: Path, line: str) -> None:
    """Add a line to a log; a log that can't be written is no reason to stop."""
    with suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as stream:
            stream.write(line.rstrip("\n") + "\n")


def _process_started_at() -> float:
    stat = Path("/proc/self/stat")
    if not stat.exists():
        return time.time() - time.process_time()
    ticks = float(stat.read_text().rpartition(")")[2].split()[19])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - (uptime - ticks / os.sysconf("SC_CLK_TCK"))

"""What the benchmarks of a stream share: `tierflow watch` as a process, and looks at its ledger and catalogue."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TIERFLOW = (sys.executable, "-m", "tierflow")


def tierflow(*arguments: str) -> str:
    """Run a command of tierflow and return what it printed."""
    return subprocess.run([*TIERFLOW, *arguments], check=True, capture_output=True, text=True).stdout


def status(output: Path) -> dict[str, Any]:
    """Return how the stream stands."""
    found: dict[str, Any] = json.loads(tierflow("status", str(output), "--format", "json"))
    return found


@contextmanager
def watching(
    images: Path, output: Path, *options: str, log: Path, settings: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Watch a folder in a process of its own; it is ended by SIGTERM."""
    sets = [text for setting in settings for text in ("--set", setting)]
    with log.open("ab") as stream:
        argv = [*TIERFLOW, "watch", str(images), "--output", str(output), *sets, *options]
        process = subprocess.Popen(argv, stdout=stream, stderr=stream, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(120)


def memory_mb(process: subprocess.Popen[bytes]) -> tuple[float, float]:
    """Return the memory of the watching process and of all its children, in MB (proportional set size)."""
    return _of_all(process, lambda each: float(each.memory_full_info().pss))


def own_memory_mb(process: subprocess.Popen[bytes]) -> tuple[float, float]:
    """Return the memory of the watching process and of all its children, in MB, without what libraries take.

    Libraries are shared: a process' part of them grows by 10 MB when others on the machine end.
    """
    return _of_all(process, _anonymous_bytes)


def _anonymous_bytes(process: psutil.Process) -> float:
    try:
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return float(process.memory_full_info().uss)
    return next(float(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss_Anon:"))


def _of_all(process: subprocess.Popen[bytes], measure: Callable[[psutil.Process], float]) -> tuple[float, float]:
    one = psutil.Process(process.pid)
    sizes = []
    for each in (one, *one.children(recursive=True)):
        try:
            sizes.append(measure(each) / 1e6)
        except psutil.NoSuchProcess:
            continue
    return sizes[0], sum(sizes[1:])


class Arrivals:
    """Sees when objects become searchable: as soon as a table of the catalogue that holds them stands in its place.

    Args:
        output: Output folder.
    """

    def __init__(self, output: Path) -> None:
        self._folder = output / "catalogue"
        self._seen: dict[str, int] = {}
        self.look()

    def look(self) -> Iterator[str]:
        """Yield the paths of all objects in tables that are new since the last look."""
        found = []
        for path in self._folder.glob("[0-9]*.parquet"):
            stamp = path.stat().st_mtime_ns
            if self._seen.get(path.name) != stamp:
                self._seen[path.name] = stamp
                found += pq.read_table(path, columns=["path"])["path"].to_pylist()
        return iter(found)


def until(condition: Any, *, seconds: float, every_s: float = 0.5) -> None:
    """Wait until something is true.

    Raises:
        TimeoutError: if that takes longer.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not in {seconds:g} s")
        time.sleep(every_s)

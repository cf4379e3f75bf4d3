"""The watching process of a soak, begun again when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
from watching import TIERFLOW, memory_mb


class Watcher:
    """`tierflow watch` as a service manager runs it: begun again when it ends.

    Attributes:
        ends: How often it ended by itself, by exit code.
    """

    def __init__(self, base: Path) -> None:
        self.base, self.output = base, base / "out"
        self.config = base / "soak.yaml"
        self.log = base / "watch.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.ends: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper")

    def command(self) -> list[str]:
        """Return the command line."""
        return [*TIERFLOW, "watch", str(self.base / "in"), "--output", str(self.output), "--config", str(self.config)]

    def start(self) -> None:
        """Begin, and keep it running."""
        self._begin()
        self._keeper.start()

    def _begin(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _keep(self) -> None:
        while not self._ending.wait(1):
            with self._lock:
                if self.process is not None and self.process.poll() is not None:
                    self.ends[self.process.returncode] += 1
                    self._begin()

    def workers(self) -> list[int]:
        """Return the numbers of its children."""
        with suppress(psutil.NoSuchProcess):
            if self.process is not None:
                return [child.pid for child in psutil.Process(self.process.pid).children(recursive=True)]
        return []

    def signal(self, number: int, *, watcher: bool, workers: bool) -> None:
        """Send a signal."""
        with self._lock:
            pids = self.workers() if workers else []
            if watcher and self.process is not None and self.process.poll() is None:
                pids.append(self.process.pid)
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            if watcher and number == signal.SIGKILL and self.process is not None:
                self.process.wait()
                self._begin()

    def memory(self) -> tuple[float, float]:
        """Return MB of the watcher and of its workers; 0 while it isn't there."""
        with suppress(psutil.Error):
            if self.process is not None:
                return memory_mb(self.process)
        return 0.0, 0.0

    def finish(self, *, seconds: float) -> int:
        """Have everything handled that is there; returns the exit code, -1 if that took too long."""
        self._ending.set()
        self._keeper.join()
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(120)
        with self.log.open("ab") as log:
            try:
                return subprocess.run([*self.command(), "--once"], stdout=log, stderr=log, timeout=seconds).returncode
            except subprocess.TimeoutExpired:
                return -1

    def kill(self) -> None:
        """End it at once, at the end of everything."""
        self._ending.set()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()

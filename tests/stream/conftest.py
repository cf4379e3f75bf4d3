"""A whole watcher as a process of its own, on a folder of small images, observed through its ledger."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from mounting import small_disk

from tierflow.stream.ledger import Ledger, Row
from tierflow.stream.states import ENDED, State

PATIENCE_S = 120.0
"""A machine under load is slow; what is waited for mostly comes within a second."""


def write_image(path: Path, value: int = 0, *, size: int = 64) -> Path:
    """Write a small gray TIFF as a careful writer does: under another name first, then renamed.

    Args:
        path: The file; folders are made.
        value: Makes images different from each other; also the first pixel.
        size: Edge in pixels.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 250, (size, size)).astype(np.uint8)
    pixels[0, 0] = value % 256
    temporary = path.with_name(f".{path.name}.part")
    tifffile.imwrite(temporary, pixels)
    return temporary.rename(path)


class Watching:
    """A `tierflow watch` that runs.

    Attributes:
        root: Input folder.
        output: Output folder.
        log: What it said, of all starts.
        process: The process; None while it is stopped.
    """

    def __init__(self, folder: Path, *, settings: dict[str, Any], environment: dict[str, str]) -> None:
        self.root, self.output, self.log = folder / "in", folder / "out", folder / "watch.log"
        self.root.mkdir(exist_ok=True)
        self.config = folder / "watch.yaml"
        self.config.write_text(yaml.safe_dump({"dataset": "watched", "stream": {"rescan_s": 2.0}} | settings))
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        self._numbers = count()

    # ---- the process

    def command(self, *arguments: str) -> list[str]:
        """Return the command line."""
        paths = [str(self.root), "--output", str(self.output), "--config", str(self.config)]
        return [sys.executable, "-m", "tierflow", "watch", *paths, *arguments]

    def start(self, *arguments: str) -> Watching:
        """Start it, again after a stop; returns at once."""
        assert self.process is None
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(*arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self.environment,
                start_new_session=True,
            )
        return self

    @property
    def pid(self) -> int:
        """Number of the process."""
        assert self.process is not None
        return self.process.pid

    def workers(self) -> list[int]:
        """Return the numbers of the worker processes."""
        with self.ledger() as ledger:
            return list(ledger.fact("service", {}).get("workers", []))

    def wait(self, *, patience_s: float = PATIENCE_S) -> int:
        """Wait for its end; returns the exit code."""
        assert self.process is not None
        process, self.process = self.process, None
        try:
            return process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"it didn't end:\n{self.said()}") from None

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal and wait for its end; returns the exit code."""
        os.kill(self.pid, number)
        return self.wait()

    def said(self) -> str:
        """Return what it said."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    # ---- the folder

    def write(self, *names: str, value: int | None = None, size: int = 64) -> list[Path]:
        """Write small images, each different unless a value is given."""
        return [
            write_image(self.root / name, next(self._numbers) if value is None else value, size=size) for name in names
        ]

    # ---- the ledger

    def ledger(self) -> closing[Ledger]:
        """Open the ledger to look."""
        return closing(Ledger(self.output, read_only=True))

    def counts(self) -> dict[State, int]:
        """Return the number of objects in each state."""
        with self.ledger() as ledger:
            return ledger.counts()

    def rows(self, condition: str = "1 ORDER BY id", *values: Any) -> list[Row]:
        """Return objects."""
        with self.ledger() as ledger:
            return ledger.rows(condition, values)

    def news(self, *kinds: str) -> list[dict[str, Any]]:
        """Return the details of news of some kinds."""
        with self.ledger() as ledger:
            return [detail for _, _, kind, _, detail in ledger.news(after=0, limit=100_000) if kind in kinds]

    def ask(self, name: str, **arguments: Any) -> int:
        """Leave a request; returns its number."""
        with closing(Ledger(self.output)) as ledger:
            return ledger.ask(name, by="test", arguments=arguments)

    def until(self, condition: Any, *, patience_s: float = PATIENCE_S) -> None:
        """Wait until a condition holds; shows states and log when it doesn't come, or the process ends before."""
        end = time.monotonic() + patience_s
        while True:
            with suppress(FileNotFoundError):
                if condition():
                    return
            ended = self.process is not None and self.process.poll() is not None
            if ended or time.monotonic() > end:
                raise AssertionError(f"{'it ended' if ended else 'waited in vain'}\n{self.picture()}")
            time.sleep(0.05)

    def until_done(self, objects: int, *, patience_s: float = PATIENCE_S) -> None:
        """Wait until so many objects came to an end and none is left."""

        def done() -> bool:
            counts = self.counts()
            return sum(counts.values()) == objects == sum(counts[state] for state in ENDED)

        self.until(done, patience_s=patience_s)

    def picture(self) -> str:
        """Return how it stands, for messages."""
        lines = [self.said()[-4000:]]
        with suppress(FileNotFoundError):
            lines.append(json.dumps(self.counts()))
            lines += [f"{row.path!r} {row.state} {row.attempts} {row.reason}" for row in self.rows()[:20]]
        return "\n".join(lines)

    def kill(self) -> None:
        """End what runs, for the end of a test."""
        if self.process is not None and self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@pytest.fixture
def watching(tmp_path: Path):
    """Make watchers: `watching(settings, environment)`; not started. Those that still run at the end are ended."""
    made: list[Watching] = []

    def make(
        settings: dict[str, Any] | None = None, environment: dict[str, str] | None = None, *, folder: Path | None = None
    ) -> Watching:
        made.append(Watching(folder or tmp_path, settings=settings or {}, environment=environment or {}))
        return made[-1]

    yield make
    for one in made:
        one.kill()
        # Shown by pytest when the test fails.
        sys.stderr.write(one.said())


@pytest.fixture
def may_mount(tmp_path: Path) -> None:
    """Skip where this user may not mount anything."""
    with small_disk(tmp_path / "try", mb=1):
        pass

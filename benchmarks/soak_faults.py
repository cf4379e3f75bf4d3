"""What is done to a soak: processes killed and stopped, disks filled, the share taken away."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from soak_watcher import Watcher

SMALL_DISK_MB = 400


class Disks:
    """What is mounted for the soak: the input, bound from where the instrument writes, and two small disks.

    Attributes:
        allowed: Whether this user may mount.
    """

    def __init__(self, base: Path) -> None:
        self.share, self.input = base / "share", base / "in"
        self.small = [base / "out", base / "tier"]
        for folder in (self.share, self.input, *self.small):
            folder.mkdir(parents=True, exist_ok=True)
        self.allowed = self.mount_share()
        if self.allowed:
            for folder in self.small:
                options = ("-t", "tmpfs", "-o", f"size={SMALL_DISK_MB}m", "none", str(folder))
                subprocess.run(["mount", *options], check=True)
        else:
            self.input.rmdir()
            self.input.symlink_to(self.share)

    def mount_share(self) -> bool:
        """Mount the share; returns whether that worked."""
        with suppress(FileNotFoundError):
            command = ["mount", "--bind", str(self.share), str(self.input)]
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        return False

    def unmount_share(self) -> None:
        """Take the share away, whoever uses it."""
        subprocess.run(["umount", "--lazy", str(self.input)], check=False, capture_output=True)

    def fill(self, folder: Path) -> Path:
        """Fill a disk to the last page; returns what to delete."""
        ballast = folder / "ballast.bin"
        with suppress(OSError), ballast.open("wb", buffering=0) as stream:
            for size in (1 << 20, 1 << 12):
                with suppress(OSError):
                    while stream.write(b"\0" * size):
                        pass
        return ballast

    def end(self) -> None:
        """Unmount everything."""
        if self.allowed:
            for folder in (self.input, *self.small):
                subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


class Faults:
    """Does harm at random.

    Attributes:
        done: How often what was done.
    """

    def __init__(self, watcher: Watcher, disks: Disks, *, seed: int) -> None:
        self.watcher, self.disks = watcher, disks
        self.done: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._deck: list[str] = []

    def one(self) -> None:
        """Do one thing, for as long as it lasts."""
        if not self._deck:
            # Each comes up as often as the others, in an order nobody knows.
            self._deck = ["kill workers", "kill watcher", "kill both", "stop all", "stop workers"]
            self._deck += ["tier full", "output full", "share away"] if self.disks.allowed else []
            self._random.shuffle(self._deck)
        kind = self._deck.pop()
        self.done[kind] += 1
        if kind.startswith("kill"):
            self._kill(kind)
        elif kind.startswith("stop"):
            self._stop(watcher=kind == "stop all")
        elif kind == "share away":
            self.disks.unmount_share()
            self._meanwhile(self._random.uniform(5, 30))
            self.disks.mount_share()
        else:
            ballast = self.disks.fill(self.disks.small[kind == "tier full"])
            self._meanwhile(self._random.uniform(5, 15))
            ballast.unlink(missing_ok=True)

    def _kill(self, kind: str) -> None:
        self.watcher.signal(signal.SIGKILL, watcher=kind != "kill workers", workers=kind != "kill watcher")

    def _stop(self, *, watcher: bool) -> None:
        self.watcher.signal(signal.SIGSTOP, watcher=watcher, workers=True)
        time.sleep(self._random.uniform(1, 20))
        self.watcher.signal(signal.SIGCONT, watcher=watcher, workers=True)

    def _meanwhile(self, seconds: float) -> None:
        """Wait; misfortunes seldom come singly."""
        if self._random.random() < 0.4:
            time.sleep(seconds / 2)
            kind = self._random.choice(["kill workers", "kill watcher", "kill both"])
            self.done[kind] += 1
            self._kill(kind)
            seconds /= 2
        time.sleep(seconds)

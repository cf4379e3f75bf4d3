"""Stop a program between any two of its system calls, as `kill -9` or a power cut would, without a new process."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

ACTS = (
    "link",
    "symlink",
    "unlink",
    "mkdir",
    "rmdir",
    "rename",
    "replace",
    "open",
    "write",
    "fsync",
    "ftruncate",
    "utime",
    "chmod",
    "chown",
)
MODES = ("before", "torn", "power")


class Killed(BaseException):
    """The program is dead: from now on each of its system calls raises this, whatever handlers try to tidy up."""


@dataclass
class Killer:
    """Kills at the call with number `at`.

    `before` the call (which is also after the one before it); `torn`: after half of what it should write; `power`:
    after it, and what was written to a journal since its last sync is lost.
    """

    at: int
    mode: str = "before"
    count: int = 0
    dead: bool = False
    names: list[str] = field(default_factory=list)
    synced: dict[str, int] = field(default_factory=dict)
    start: dict[str, int] = field(default_factory=dict)

    def call(self, name, real, *args, **kwargs):
        if self.dead:
            raise Killed
        self.count += 1
        self.names.append(name)
        mine = self.count == self.at
        if mine and self.mode == "before":
            self.die()
        if mine and self.mode == "torn" and name == "write":
            real(args[0], bytes(args[1])[: len(args[1]) // 2])
            self.die()
        result = real(*args, **kwargs)
        if name == "fsync":
            self._note_sync(args[0])
        if mine:
            self.die()
        return result

    def die(self):
        self.dead = True
        if self.mode == "power":
            self._lose_what_was_not_synced()
        raise Killed

    def _note_sync(self, handle: int) -> None:
        path = str(Path(f"/proc/self/fd/{handle}").readlink())
        if path.endswith(".jsonl"):
            self.synced[path] = os.fstat(handle).st_size

    def _lose_what_was_not_synced(self) -> None:
        for name in {str(Path(f"/proc/self/fd/{fd}").readlink()) for fd in _own_handles()}:
            if name.endswith(".jsonl"):
                with Path(name).open("r+b") as stream:
                    stream.truncate(self.synced.get(name, self.start.get(name, 0)))


def _own_handles():
    for name in list(Path("/proc/self/fd").iterdir()):
        if name.is_symlink():
            yield int(name.name)


@contextmanager
def armed(killer: Killer, monkeypatch, journals: Path):
    """Run the body with the killer between the program and the system."""
    killer.start = {str(path): path.stat().st_size for path in journals.glob("*.jsonl")}
    with monkeypatch.context() as patch:
        for name in ACTS:
            patch.setattr(os, name, partial(killer.call, name, getattr(os, name)))
        with suppress(Killed):
            yield


def moments(act, mode: str, monkeypatch, journals: Path) -> list[int]:
    """Run undisturbed and return the numbers of the system calls at which killing in that mode makes a difference."""
    killer = Killer(at=0)
    with armed(killer, monkeypatch, journals):
        act()
    return [at for at, name in enumerate(killer.names, start=1) if mode != "torn" or name == "write"]

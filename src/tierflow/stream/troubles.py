"""What keeps a watcher from its work, as states with a message: logged once, told as news, kept in the ledger."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tierflow.stream.ledger import Ledger
    from tierflow.stream.rescan import Look
    from tierflow.stream.roots import Health

_LOG = logging.getLogger(__name__)

WORST_FIRST = (
    "root_lost",
    "denied",
    "away",
    "hanging",
    "broken",
    "folder_unmounted",
    "folder_denied",
    "overflow",
    "clock_jump",
    "stopped",
    "limited",
)
"""States besides `ok`. `root_lost`: the root is missing, unmounted, stale, emptied or another one."""

_OF_ROOT = {"denied": "denied", "away": "away"}

_MOST_NEWS = 100


class Troubles:
    """The troubles that there are now, each with its message. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now: dict[str, str] = {}
        self._untold: deque[dict[str, str]] = deque(maxlen=_MOST_NEWS)

    def add(self, name: str, message: str) -> None:
        """There is a trouble; said again, only its message changes."""
        self._put(name, message)

    def clear(self, *names: str) -> None:
        """Troubles are over, where there were any."""
        for name in names:
            self._put(name, None)

    def put(self, name: str, message: str | None) -> None:
        """There is a trouble, or, without a message, there is none."""
        self._put(name, message or None)

    def put_root(self, health: Health) -> None:
        """Take over what a look at the root found."""
        name = None if health.ok else _OF_ROOT.get(health.state, "root_lost")
        self.clear(*({"root_lost", "denied"} - {name}))
        if name is not None:
            self.add(name, health.message)

    def put_folders(self, look: Look) -> None:
        """Take over what a look at all folders found."""
        names = ", ".join(look.denied)
        denied = (
            f"{look.denied_count} folders can't be listed, such as {names}: give the account that runs tierflow read "
            "and enter permission (chmod u+rX), or name them in scan.exclude; their files wait"
        )
        unmounted = (
            f"no file system is mounted on {', '.join(look.unmounted)} any more: mount it again; its files wait, and "
            "watching goes on by itself"
        )
        self.put("folder_denied", denied if look.denied_count else None)
        self.put("folder_unmounted", unmounted if look.unmounted else None)

    def worst(self) -> tuple[str, str]:
        """Return the state to show: (`ok`, "") without troubles."""
        with self._lock:
            return self._worst()

    def all(self) -> dict[str, str]:
        """Return all troubles with their messages."""
        with self._lock:
            return dict(self._now)

    def tell(self, ledger: Ledger) -> None:
        """Leave changes of the worst trouble in the ledger, as news `watcher`; what can't be told now stays."""
        while self._untold:
            ledger.tell("watcher", self._untold[0])
            self._untold.popleft()

    def _put(self, name: str, message: str | None) -> None:
        with self._lock:
            before = self._worst()
            was_there = name in self._now
            if message is None:
                self._now.pop(name, None)
            else:
                self._now[name] = message
            after = self._worst()
            if before[0] != after[0]:
                self._untold.append({"state": after[0], "message": after[1], "before": before[0]})
        if message is not None and not was_there:
            _LOG.warning("watcher: %s: %s", name, message)
        elif message is None and was_there:
            _LOG.info("watcher: %s is over", name)

    def _worst(self) -> tuple[str, str]:
        name = next((name for name in WORST_FIRST if name in self._now), None)
        return (name, self._now[name]) if name else ("ok", "")

"""Hooks: others are told when objects reach a state; in order, at least once, however long they are away.

How far each hook was told is a fact of the ledger, written after it took a request; news that it waits for is kept.
After a crash a request may come again: every event carries an `id` that stays the same.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import uuid
from typing import TYPE_CHECKING, Any

import urllib3

from tierflow.errors import TryAgainError
from tierflow.io.selection import Globs
from tierflow.stream.hook_send import secret_of, send

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierflow.config import Config
    from tierflow.config_stream import Hook
    from tierflow.stream.ledger import Ledger

_LOG = logging.getLogger(__name__)

EVENTS = 100
"""Events in one request, at most."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
_LOOK_S = 0.25


class Hooks:
    """Tells all hooks of a configuration, each in a thread of its own: one that is away doesn't keep others waiting.

    Args:
        ledger: The ledger.
        config: The configuration.

    Raises:
        ConfigError: if the secret of a hook isn't in the environment.
    """

    def __init__(self, ledger: Ledger, config: Config) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        run = config.catalogue.run or config.dataset_name
        _identity(ledger)
        for hook in config.stream.hooks:
            secret_of(hook)
            teller = Teller(ledger, hook, run=run, stop=self._stop)
            self._threads.append(threading.Thread(target=teller.run, name="hook", daemon=True))
        _forget_others(ledger, config.stream.hooks)

    def start(self) -> None:
        """Begin to tell."""
        for thread in self._threads:
            thread.start()

    def stop(self, *, patience_s: float = 5.0) -> None:
        """Tell what there is, then end; what can't be told in this time is told at the next start."""
        self._stop.set()
        for thread in self._threads:
            thread.join(patience_s)


class Teller:
    """Tells one hook.

    Args:
        ledger: The ledger.
        hook: Whom to tell.
        run: Name of the run, as in the records.
        stop: Set when the stream ends: then what is left is tried once.
    """

    def __init__(self, ledger: Ledger, hook: Hook, *, run: str, stop: threading.Event) -> None:
        self._ledger = ledger
        self._hook = hook
        self._run = run
        self._stop = stop
        self._fact = fact_of(hook)
        self._globs = Globs.of([hook.where]) if hook.where else None
        self._pool = urllib3.PoolManager(maxsize=1)
        if ledger.fact(self._fact) is None:
            # A hook that is new tells what comes, not the past.
            ledger.note(**{self._fact: {"after": _newest(ledger), "hook": hook.url or hook.command[0]}})

    def run(self) -> None:
        """Tell until the end."""
        failures = 0
        while True:
            last = self._stop.is_set()
            try:
                told = self.tell()
                failures = 0
            except TryAgainError as error:
                failures += 1
                self._note(problem=str(error), failures=failures)
                _LOG.warning("%s", error)
                pause_s = min(FIRST_PAUSE_S * 2 ** (failures - 1), LONGEST_PAUSE_S)
                if last or (self._stop.wait(pause_s) and failures > 1):
                    return
                continue
            if not told:
                if last:
                    return
                self._stop.wait(_LOOK_S)

    def tell(self) -> bool:
        """Tell the next events; returns whether there was any news.

        Raises:
            TryAgainError: if the hook didn't take them; they are told again later.
        """
        news = self._ledger.news(after=int(self._ledger.fact(self._fact)["after"]), limit=EVENTS)
        if not news:
            return False
        identity = _identity(self._ledger)
        events = [
            {"id": f"{identity}-{number}", "at": at, "kind": kind, "run": self._run, **detail}
            for number, at, kind, _, detail in news
            if self._is_wanted(kind, detail)
        ]
        if events:
            body = json.dumps({"events": events}, separators=(",", ":")).encode()
            # The key is of the events, not of the attempt.
            key = hashlib.sha256("\n".join(str(event["id"]) for event in events).encode()).hexdigest()[:32]
            send(self._hook, body, key=key, pool=self._pool)
        self._note(after=news[-1][0], problem=None, failures=0)
        return True

    def _is_wanted(self, kind: str, detail: dict[str, Any]) -> bool:
        if kind not in self._hook.on:
            return False
        path = detail.get("path")
        return self._globs is None or (path is not None and self._globs.match(path.rpartition("/")[2], path))

    def _note(self, **changed: Any) -> None:
        self._ledger.note(**{self._fact: {**self._ledger.fact(self._fact), **changed}})


def fact_of(hook: Hook) -> str:
    """Return the name under which the ledger keeps how far a hook was told."""
    who = json.dumps([hook.url, list(hook.command), list(hook.on), hook.where])
    return f"hook:{hashlib.sha256(who.encode()).hexdigest()[:12]}"


def _forget_others(ledger: Ledger, hooks: Sequence[Hook]) -> None:
    """Forget hooks that are no longer configured: news would be kept for them for ever."""
    known = {fact_of(hook) for hook in hooks}
    gone = [name for name in ledger.facts() if name.startswith("hook:") and name not in known]
    with ledger.transaction() as db:
        db.executemany("DELETE FROM facts WHERE name = ?", [(name,) for name in gone])


def _newest(ledger: Ledger) -> int:
    return int(ledger.query("SELECT coalesce(max(id), 0) FROM news")[0][0])


def _identity(ledger: Ledger) -> str:
    """Return what tells this ledger's events from those of all others."""
    found = ledger.fact("identity")
    if found is None:
        found = uuid.uuid4().hex
        ledger.note(identity=found)
    return str(found)

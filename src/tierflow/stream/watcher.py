"""Watch a folder: hints where they are to be had, looks at all files in any case, every trouble a visible state."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from tierflow.errors import TierflowError
from tierflow.stream.clock import Clock, pull_back, shift_times
from tierflow.stream.feed import Feed
from tierflow.stream.hints import Hints
from tierflow.stream.left_out import left_out_words
from tierflow.stream.rescan import Look, Rescan
from tierflow.stream.roots import Health, Root
from tierflow.stream.series import scope_of
from tierflow.stream.sightings import Sightings
from tierflow.stream.troubles import Troubles

if TYPE_CHECKING:
    from pathlib import Path

    from tierflow.config import Config
    from tierflow.stream.ledger import Ledger

_LOG = logging.getLogger(__name__)

GATHER_S = 0.02
"""Hints wait so long for others: times that a writer sets right after closing are then seen together with it."""

SHARE = 0.1
"""Share of the time that looks may take, at most."""

ROOT_S = 1.0
"""Seconds between looks at the root itself, and before another try after a failure."""

STOPPED_S = 5.0
"""A process that didn't run for so long was stopped; events may have been dropped meanwhile."""

HANGS_S = 60.0
"""A look from which nothing was heard for so long hangs in the file system."""

YIELD_S = 0.0002
"""Pause between chunks of a look: long enough that a waiting thread gets the interpreter."""

_SETTLE_S = 0.2
"""Events of files that a look found come this much later, at most."""


class Watcher:
    """Keeps the ledger in step with a folder, in threads of its own.

    Args:
        ledger: The ledger; this process must be the one that writes to it.
        config: The configuration.
        root: The input folder.
        output: Output folder, which is never looked into.
        wake: Set whenever there is something new in the ledger.
    """

    def __init__(self, ledger: Ledger, config: Config, root: Path, output: Path, wake: threading.Event) -> None:
        self._ledger, self._config, self._path, self._wake = ledger, config, root, wake
        self._hints = Hints()
        self._feed = Feed(root, self._hints, wanted=config.stream.hints)
        self._root = Root(root, ledger)
        by_unit = config.scan.unit == scope_of(config)
        self._sightings = Sightings(ledger, dataset=config.dataset_name, by_unit=by_unit, changed=wake.set)
        self._rescan = Rescan(
            root,
            config,
            output,
            sightings=self._sightings,
            healthy=self._is_healthy,
            watch=self._feed.watch,
            forget=self._feed.forget,
            between=self._between,
        )
        self._troubles = Troubles()
        self._health = Health("missing", "not looked at yet", readable=False)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._full_wanted = threading.Event()
        self._full_due = self._quick_due = self._root_due = 0.0
        self._dropped = False
        self._in_between = False
        self._between_s = 0.0
        self._looks = 0
        self._last_full = Look()
        self._last_full_at: float | None = None
        self._left_out_told: set[str] = set()
        self._received = 0
        self._heard = time.monotonic()
        self._seen = 0
        self._told_at = self._noted_at = 0.0

    # ---- from outside

    def start(self) -> None:
        """Begin to watch; returns at once, the first look at all files follows in the background."""
        self._stop.clear()
        self._heard, self._root_due = time.monotonic(), 0.0
        self._full_wanted.set()
        for name, body in (("looks", self._look_on), ("clock", self._mind)):
            thread = threading.Thread(target=body, name=f"tierflow-watcher-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End; returns when the look that is under way has come to its next pause, after 10 s in any case."""
        self._stop.set()
        self._hints.news.set()
        for thread in self._threads:
            thread.join(timeout=10)
        self._threads.clear()
        self._feed.end()
        self._note(force=True)

    def rescan_now(self) -> None:
        """Look at all files as soon as possible."""
        self._full_wanted.set()
        self._hints.news.set()

    def health(self) -> dict[str, Any]:
        """Return how watching goes, in the form of the ledger's fact `watcher`.

        Returns:
            `state` and `message` (what is wrong and what to do), `states` (all troubles by name), `root_ok` (whether a
            file that isn't there is really gone; nothing should be handled while not), `mode` (events or polling) and
            `why`, `file_system`, `root`, `looks` (at all files, since the start), `last_full_at` (seconds since 1970),
            `seconds`, `files` and `folders` of the last one, `left_out` (files that it left out because of their names,
            by ending) and `left_out_message` (in words, with what to do; "" for none), `overflows` (times that hints
            were dropped), `beat_at`.
        """
        state, message = self._troubles.worst()
        return {
            "state": state,
            "message": message,
            "states": self._troubles.all(),
            "root_ok": self._health.ok,
            "mode": self._feed.mode,
            "why": self._feed.why,
            "file_system": self._feed.file_system,
            "root": str(self._path),
            "looks": self._looks,
            "last_full_at": self._last_full_at,
            "seconds": round(self._last_full.seconds, 3),
            "files": self._last_full.files,
            "folders": self._rescan.folders,
            "left_out": self._last_full.left_out,
            "left_out_message": self._left_out_words(),
            "overflows": self._hints.overflows,
            "beat_at": time.time(),
        }

    def newer_than(self) -> int | None:
        """Return the number of the object after which objects may be handled now.

        Returns:
            0 for all; that of the latest one from before, when the root is another one now: only files that came since
            are surely there; None when the root is away or hangs.
        """
        health = self._health
        if "hanging" in self._troubles.all():
            return None
        if health.ok:
            return 0
        return self._root.newest_before if health.state == "other" else None

    # ---- the thread that looks

    def _look_on(self) -> None:
        begun = False
        while not self._stop.is_set():
            try:
                if not begun:
                    pull_back(self._ledger, now=time.time(), longest_wait_s=self._longest_wait_s())
                    begun = True
                self._turn()
            except _StoppedError:
                break
            except Exception as error:
                # Whatever it was: watching must not end, and the next look at all files finds what this one missed.
                _LOG.exception("the watcher failed; it goes on with a look at all files")
                what = str(error) if isinstance(error, TierflowError) else f"{type(error).__name__}: {error}"
                self._troubles.add("broken", f"{what}; a look at all files follows, nothing is lost")
                self._full_due = 0.0
                self._note(force=True)
                self._stop.wait(ROOT_S)

    def _turn(self) -> None:
        """Wait for something to do, and do it."""
        polls = self._feed.mode == "polling"
        due = [self._root_due]
        if self._health.readable:
            due += [self._full_due, *([self._quick_due] if polls or self._dropped else [])]
        if self._hints.news.wait(timeout=max(0.0, min(due) - time.monotonic())):
            self._stop.wait(GATHER_S)
        self._heard = time.monotonic()
        if self._heard >= self._root_due:
            self._look_at_root()
        if not self._health.readable:
            self._hints.take()
            return
        self._handle_hints()
        now = time.monotonic()
        if self._full_wanted.is_set() or now >= self._full_due:
            self._full()
        elif (polls or self._dropped) and now >= self._quick_due:
            self._quick()
        self._note()

    def _handle_hints(self) -> None:
        hints = self._hints.take()
        if hints.everything is not None:
            # New names first, by the folders that changed; all files when their turn comes.
            self._troubles.add("overflow", f"{hints.everything}: all folders are looked at, nothing is lost")
            self._dropped = True
            self._full_due = min(self._full_due, time.monotonic() + self._last_full.seconds / SHARE)
        elif hints:
            self._done(self._rescan.hinted(hints))

    def _full(self) -> None:
        self._full_wanted.clear()
        self._dropped = False
        begun = self._feed.begin()
        # Servers of shares number files as they like.
        self._sightings.inodes = self._feed.mode == "events"
        self._between_s = 0.0
        look = self._rescan.full()
        look.seconds = max(0.0, look.seconds - self._between_s)
        self._full_due = time.monotonic() + max(self._config.stream.rescan_s, look.seconds / SHARE)
        self._done(look)
        if look.away is not None:
            self._full_due = time.monotonic() + ROOT_S
            return
        self._doubt_events(0 if begun else look.unannounced)
        self._troubles.put("limited", self._feed.limit and f"{self._feed.limit}; folders are polled, nothing is lost")
        self._troubles.put_folders(look)
        self._troubles.clear("broken", "clock_jump", "stopped")
        if not self._dropped:
            self._troubles.clear("overflow")
        self._looks += 1
        self._last_full, self._last_full_at = look, time.time()
        if look.left_out.keys() - self._left_out_told:
            self._left_out_told.update(look.left_out)
            _LOG.warning("%s", self._left_out_words())
        self._note(force=True)

    def _left_out_words(self) -> str:
        return left_out_words(self._last_full.left_out, included=bool(self._config.scan.include))

    def _doubt_events(self, unannounced: int) -> None:
        """Poll from now on when files came, but not one event since the last look at all files."""
        former, self._received = self._received, self._hints.received
        if unannounced and self._feed.mode == "events" and self._received == former:
            self._stop.wait(_SETTLE_S)
            if self._hints.received == former:
                self._feed.give_up(f"files came to {self._path} without events: its file system has none for them")

    def _quick(self) -> None:
        self._dropped = False
        look = self._rescan.quick()
        self._quick_due = time.monotonic() + max(self._config.stream.poll_s, look.seconds / SHARE)
        self._done(look)

    def _done(self, look: Look) -> None:
        """Draw the consequences of any look."""
        self._seen += look.counted.new + look.counted.versions + look.counted.back
        self._troubles.put("away", look.away and f"{look.away}; watching goes on by itself")

    def _between(self) -> None:
        """Between chunks of a look: give others their turn, handle hints that came meanwhile."""
        self._heard = time.monotonic()
        if self._stop.is_set():
            raise _StoppedError
        time.sleep(YIELD_S)
        if self._in_between or not self._hints.news.is_set():
            return
        self._in_between = True
        try:
            self._handle_hints()
            self._tell()
        finally:
            self._in_between = False
            self._between_s += time.monotonic() - self._heard

    def _look_at_root(self) -> None:
        former, self._health = self._health, self._root.check()
        self._root_due = time.monotonic() + ROOT_S
        self._troubles.put_root(self._health)
        died = self._feed.died()
        if died:
            _LOG.warning("the thread that reads events ended; it is begun again")
        if died or self._health.changed or (self._health.readable and not former.readable):
            # The watches are on what was there before.
            self._feed.end()
            self._full_wanted.set()
        elif self._health.ok and not former.ok:
            self._full_wanted.set()
        if (self._health.ok, self._health.state) != (former.ok, former.state):
            self._note(force=True)

    def _is_healthy(self) -> bool:
        return self._health.ok and self._root.is_same()

    # ---- the thread that minds the clock, and the other thread

    def _mind(self) -> None:
        clock = Clock()
        while not self._stop.wait(0.5):
            try:
                self._mind_once(clock)
            except Exception:
                _LOG.exception("the watcher's clock failed; it goes on")

    def _mind_once(self, clock: Clock) -> None:
        tick = clock.tick()
        if tick.pause_s > STOPPED_S:
            self._heard = time.monotonic()
            text = f"the process stood still for {tick.pause_s:.0f} s: all files are looked at, nothing is lost"
            self._troubles.add("stopped", text)
            self.rescan_now()
        if tick.jump_s:
            text = f"the clock was set by {tick.jump_s:+.1f} s, or the machine slept: waits stay as long as they were"
            self._troubles.add("clock_jump", text)
            shift_times(self._ledger, jump_s=tick.jump_s, now=time.time())
            self.rescan_now()
            self._wake.set()
        silent = time.monotonic() - self._heard
        if silent > HANGS_S:
            text = f"{self._path} hasn't answered for {silent:.0f} s: check network, server and disk"
            self._troubles.add("hanging", f"{text}; watching goes on by itself")
            self._note(force=True)
        else:
            self._troubles.clear("hanging")

    # ---- telling

    def _tell(self) -> None:
        now = time.monotonic()
        if self._seen and now - self._told_at >= 1:
            seen, self._seen, self._told_at = self._seen, 0, now
            self._ledger.tell("seen", {"objects": seen})

    def _note(self, *, force: bool = False) -> None:
        """Leave in the ledger how it goes, at most once per second unless something changed."""
        now = time.monotonic()
        if not force and now - self._noted_at < 1:
            return
        self._noted_at = now
        try:
            self._troubles.tell(self._ledger)
            self._tell()
            self._ledger.note(watcher=self.health())
        except OSError as error:
            # A full disk under the ledger: what wasn't told stays to be told.
            _LOG.warning("the watcher's state can't be written down: %s", error)

    def _longest_wait_s(self) -> float:
        stream = self._config.stream
        waits = (stream.complete.quiet_s, stream.complete.min_age_s, stream.complete.give_up_s, stream.series.timeout_s)
        return max(stream.retry.backoff_most_s, *waits)


class _StoppedError(Exception):
    """The watcher was told to stop in the middle of a look."""

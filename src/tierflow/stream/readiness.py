"""Decides which files of the stream are ready: complete, and with all others of their series.

A step looks at the files that are due, some thousand at most; nothing is kept in memory between two steps. Whatever the
ledger says was seen is looked at again here: two looks, at two times, must agree.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from tierflow.io.identity import display_path
from tierflow.io.selection import Globs
from tierflow.io.walk import folder_identity
from tierflow.stream.companions import Companions
from tierflow.stream.complete import (
    Complete,
    Facts,
    Wait,
    again_at,
    check_sentinel,
    decide,
    quiet_from,
    too_young,
)
from tierflow.stream.gather import Gatherer, Whole
from tierflow.stream.inner_mounts import InnerMounts
from tierflow.stream.ledger import insert_news
from tierflow.stream.look import Lacks, Seen, look
from tierflow.stream.mounts import mode_for, read_mounts
from tierflow.stream.naming import StreamNames
from tierflow.stream.roots import FACT as ROOT
from tierflow.stream.states import State
from tierflow.stream.taken import was_taken

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tierflow.config import Config
    from tierflow.stream.gather import Ready, Release
    from tierflow.stream.ledger import Ledger, Row
    from tierflow.stream.series import Place
    from tierflow.stream.series_store import Member

LOOKS = 2000
"""Files looked at in one step, at most."""
IDLE_S = 60.0
"""Longest pause between two steps: nothing of this work needs one before, but the ledger is filled by others."""
_AWAY_S = 5.0
_SAME = "id = ? AND state IN ('seen', 'waiting') AND size = ? AND mtime_ns = ? AND closed = ?"
_WAIT = f"UPDATE objects SET state = 'waiting', not_before = ?, reason = ? WHERE {_SAME}"  # noqa: S608
_CHANGED = (
    "UPDATE objects SET state = 'waiting', size = ?, mtime_ns = ?, inode = ?, closed = 0, changed_at = ?, "  # noqa: S608
    f"not_before = ?, reason = ? WHERE {_SAME}"
)
_LOST = f"UPDATE objects SET state = 'lost_source', ended_at = ?, ready_at = NULL, reason = ? WHERE {_SAME}"  # noqa: S608
_READY = (
    "UPDATE objects SET state = 'ready', ready_at = ?, not_before = 0, unit = ?, incomplete = ?, missing = ?, "  # noqa: S608
    f"priority = ?, tag = ?, reason = ? WHERE {_SAME}"
)


class _Found(NamedTuple):
    """What the looks of a step found; each list by object."""

    waits: list[tuple[Row, Wait]]
    changed: list[tuple[Row, Seen, Wait]]
    lost: list[Row]
    taken: list[Row]


class Readiness:
    """Moves objects from `seen` and `waiting` to `ready`.

    Args:
        ledger: The ledger.
        config: The configuration.
        root: The input folder.
        names: Reads names; one for the whole process.

    Raises:
        ConfigError: if the sentinel would be an image itself, a unit would lie in several series, or the layout isn't
            installed.
    """

    def __init__(self, ledger: Ledger, config: Config, root: Path, *, names: StreamNames | None = None) -> None:
        self._ledger, self._root = ledger, root
        self._settings, self._series = config.stream.complete, config.stream.series
        check_sentinel(config.scan, self._settings.sentinel)
        self.names = names or StreamNames(ledger, config, root)
        self._companions = Companions(root, ledger)
        self._gather = Gatherer(ledger, config, self.names, self._companions)
        self._ranks = [(Globs.of([rank.match]), rank) for rank in config.stream.ranks]
        self._base = os.fsencode(root)
        self._began_with = folder_identity(self._base)
        # Elsewhere other machines write, and a close here says nothing of theirs.
        self._trusted = mode_for(os.path.realpath(root), read_mounts(), wanted="auto")[0] == "events"

    def step(self, now: float) -> float:
        """Look at the files that are due.

        Args:
            now: Seconds since 1970.

        Returns:
            Seconds until the next look is due; 0 when there is more to do.
        """
        rows = self._due(now)
        # Without a write when nothing is due: a full disk stops nobody who has nothing to say.
        members = self._look_at(rows, now) if rows else []
        self._release({place.key: place for _, _, place in members}.values(), now)
        return 0.0 if len(rows) >= LOOKS else self._pause(now)

    def _look_at(self, rows: Sequence[Row], now: float) -> list[tuple[Whole, Member, Place]]:
        """Look at some files and write down what was found; returns those that joined their series."""
        found = _Found([], [], [], [])
        whole = self._whole(self._quiet(rows, now, found), now, found)
        # Where they are now, they are complete: they had been measured.
        read = self.names.names(found.taken) if found.taken else []
        whole += [Whole(row, names, None) for row, (names, _) in zip(found.taken, read, strict=True)]
        alone, members = self._gather.sort(whole)
        with self._ledger.transaction() as db:
            self._store(db, found, now)
            self._hold(db, members, now)
            self._make_ready(db, alone, now)
            insert_news(db, "incomplete", _news(alone))
        return members

    def _due(self, now: float) -> list[Row]:
        condition = "state = ? AND not_before <= ? ORDER BY not_before"
        rows = self._ledger.rows(condition, (State.SEEN, now), limit=LOOKS)
        # In a burst that never ends, those that wait have their turn too.
        rest = max(LOOKS - len(rows), LOOKS // 4)
        return rows + self._ledger.rows(condition, (State.WAITING, now), limit=rest)

    def _pause(self, now: float) -> float:
        times = [
            self._ledger.query("SELECT min(not_before) FROM objects WHERE state = ?", (state,))[0][0]
            for state in (State.SEEN, State.WAITING)
        ]
        times.append(self._gather.next_due())
        return min(IDLE_S, max(0.0, min((time for time in times if time is not None), default=now + IDLE_S) - now))

    # ---- looks

    def _quiet(self, rows: Iterable[Row], now: float, found: _Found) -> list[tuple[Row, Seen, Facts]]:
        """Return the files that are as the ledger says, and have been for long enough; note all others."""
        quiet = []
        for row in rows:
            seen = self._look(row, now, found)
            if seen is None:
                continue
            # A change that seems to lie ahead of us was seen before the clock was set back.
            facts = Facts(row.size, min(row.changed_at, now), closed=row.closed and self._trusted)
            if (wait := too_young(facts, now, self._settings)) is not None:
                found.waits.append((row, wait))
            else:
                quiet.append((row, seen, facts))
        return quiet

    def _look(self, row: Row, now: float, found: _Found) -> Seen | None:
        """Return a file that is as the ledger says; note one that isn't."""
        try:
            seen = look(self._base + b"/" + row.path)
        except OSError as error:
            found.waits.append((row, Wait(now + _AWAY_S, f"can't be looked at ({error.strerror})")))
            return None
        if seen is None:
            if was_taken(self._ledger.output, row.object_id, row.shard):
                found.taken.append(row)
            elif not self._root_is_there():
                found.waits.append((row, Wait(now + _AWAY_S, "the input folder isn't there")))
            elif InnerMounts(self._root, self._ledger).is_missing(row.path):
                found.waits.append((row, Wait(now + _AWAY_S, "the disk or share that held it isn't mounted")))
            else:
                found.lost.append(row)
            return None
        if not seen.equals(row):
            found.changed.append((row, seen, quiet_from(now, self._settings)))
            return None
        return seen

    def _root_is_there(self) -> bool:
        """Tell whether the root is the one that the files were seen in, not the empty mount point of a lost share."""
        known = self._ledger.fact(ROOT)
        expected = (known["device"], known["inode"]) if known else self._began_with
        return expected is not None and folder_identity(self._base) == expected

    def _whole(self, quiet: Sequence[tuple[Row, Seen, Facts]], now: float, found: _Found) -> list[Whole]:
        """Return the files that lack nothing, or were given up on; note all others."""
        if not quiet:
            return []
        lacks = Lacks(self._root, self._settings, self._companions)
        whole = []
        read = self.names.names([row for row, _, _ in quiet])
        for (row, seen, facts), (names, layout) in zip(quiet, read, strict=True):
            try:
                answer = decide(facts, now, self._settings, lacks=lacks.looks(row, seen, layout))
            except FileNotFoundError:
                answer = Wait(now, "it vanished during the look")
            except OSError as error:
                answer = Wait(again_at(now, facts.changed_at), f"can't be read ({error.strerror})")
            if isinstance(answer, Complete):
                whole.append(Whole(row, names, answer.missing))
            else:
                found.waits.append((row, answer))
        return whole

    # ---- the ledger

    def _store(self, db: sqlite3.Connection, found: _Found, now: float) -> None:
        db.executemany(_WAIT, [(wait.until, wait.reason, *_key(row)) for row, wait in found.waits])
        db.executemany(
            _CHANGED,
            [
                (seen.size, seen.mtime_ns, seen.inode, now, wait.until, wait.reason, *_key(row))
                for row, seen, wait in found.changed
            ],
        )
        reason = "the file vanished before it was handled"
        for row in found.lost:
            if db.execute(_LOST, (now, reason, *_key(row))).rowcount:
                insert_news(db, "lost_source", [(row.id, _about(row) | {"reason": reason})])

    def _hold(self, db: sqlite3.Connection, members: Sequence[tuple[Whole, Member, Place]], now: float) -> None:
        """Keep complete files until their series is released."""
        self._gather.add(db, members, now)
        # Looked at by themselves after that time, should their series have been lost sight of.
        until = now + self._series.timeout_s
        db.executemany(
            _WAIT,
            [(until, f"complete; waits for the others of {place.name}", *_key(file.row)) for file, _, place in members],
        )

    def _make_ready(self, db: sqlite3.Connection, ready: Sequence[Ready], now: float) -> None:
        values = []
        for one in ready:
            priority, tag = self._rank(one.row)
            reason = one.missing or one.note
            flag = one.missing is not None
            values.append((now, one.unit, flag, one.missing, priority, tag, reason, *_key(one.row)))
        db.executemany(_READY, values)

    def _release(self, touched: Iterable[Place], now: float) -> None:
        found = _Found([], [], [], [])

        def sound(rows: Sequence[Row]) -> set[int]:
            return {row.id for row in rows if self._look(row, now, found) is not None}

        releases = self._gather.releases(touched, now, sound=sound)
        if not releases:
            return
        with self._ledger.transaction() as db:
            self._store(db, found, now)
            for release in releases:
                release.store(db)
            self._make_ready(db, [one for release in releases for one in release.ready], now)
            insert_news(db, "incomplete", [one for release in releases for one in _news_of(release)])

    def _rank(self, row: Row) -> tuple[int, str | None]:
        if not self._ranks:
            return 0, None
        path = display_path(row.path)
        name = path.rpartition("/")[2]
        return next(((rank.priority, rank.tag) for globs, rank in self._ranks if globs.match(name, path)), (0, None))


def _key(row: Row) -> tuple[int, int, int, bool]:
    """Return what must still hold for a decision on a row to be written: its watcher may have been faster."""
    return row.id, row.size, row.mtime_ns, row.closed


def _about(row: Row) -> dict[str, object]:
    return {"object_id": row.object_id, "path": display_path(row.path)}


def _news(ready: Iterable[Ready]) -> list[tuple[int, dict[str, object]]]:
    """Return news of files that were taken although something is missing."""
    return [(one.row.id, _about(one.row) | {"reason": one.missing, "objects": 1}) for one in ready if one.missing]


def _news_of(release: Release) -> list[tuple[int, dict[str, object]]]:
    """Return news of a series: one piece for all its members, unless only some files themselves lack something."""
    if release.missing is None:
        return _news(release.ready)
    said = {"unit": release.place.name, "reason": release.missing, "objects": len(release.ready)}
    first = release.ready[0].row
    return [(first.id, _about(first) | said)]

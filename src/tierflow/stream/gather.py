"""Gathers complete files into their series, and releases a series when it is complete or its time is over."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tierflow.errors import TierflowError
from tierflow.scan.units import unit_id
from tierflow.stream import series_metadata, series_store
from tierflow.stream.complete import in_words
from tierflow.stream.series import Expected, Place, Slot, lacking, missing_in_words, place_of, scope_of
from tierflow.stream.series_store import Member
from tierflow.stream.states import State

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from tierflow.config import Config
    from tierflow.io.layouts.base import Names
    from tierflow.stream.companions import Companions
    from tierflow.stream.ledger import Ledger, Row
    from tierflow.stream.naming import StreamNames

_LOG = logging.getLogger(__name__)

_METADATA_KEPT = 256
_AWAY_S = 5.0
RELEASES = 500
"""Series whose time is over that are dealt with in one step."""


class Whole(NamedTuple):
    """A complete file.

    Attributes:
        row: The file.
        names: What its name says.
        missing: What it lacked when it was given up on, in words.
    """

    row: Row
    names: Names
    missing: str | None


class Ready(NamedTuple):
    """A file whose turn may come.

    Attributes:
        row: The file.
        unit: The unit it belongs to, None for a unit of its own.
        missing: What is missing of it or of its series, in words.
        note: What people should know, where nothing is missing.
    """

    row: Row
    unit: str | None
    missing: str | None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """What happened to a series.

    Attributes:
        place: The series.
        ready: Its members, when it is released.
        missing: What is missing of it, in words.
        taught: Places that it teaches to the others of its plate.
        dropped: Members that changed or vanished meanwhile: they are looked at again.
        due_at: When it is due again, when it is not released.
        empty: It has no member any more: whoever comes next begins it anew.
    """

    place: Place
    ready: tuple[Ready, ...] = ()
    missing: str | None = None
    taught: frozenset[Slot] = frozenset()
    dropped: tuple[int, ...] = ()
    due_at: float | None = None
    empty: bool = False

    def store(self, db: sqlite3.Connection) -> None:
        """Write it into the ledger, beside the objects themselves."""
        series_store.drop(db, self.dropped)
        if self.empty:
            series_store.forget(db, self.place.key)
        elif self.due_at is None:
            series_store.learn(db, self.place.plate, self.taught)
            series_store.release(db, self.place.key)
        else:
            db.execute("UPDATE series SET due_at = ? WHERE key = ?", (self.due_at, self.place.key))


class Gatherer:
    """Knows which files go together.

    Args:
        ledger: The ledger; only reading methods write nothing.
        config: The configuration.
        names: Reads names.
        companions: Finds the acquisition's own files.

    Raises:
        ConfigError: if a unit would lie in several series.
    """

    def __init__(self, ledger: Ledger, config: Config, names: StreamNames, companions: Companions) -> None:
        self.scope = scope_of(config)
        self._ledger, self._names, self._companions = ledger, names, companions
        self._unit, self._dataset = config.scan.unit, config.dataset_name
        self._settings = config.stream.series
        self._promised = self._settings.expect != "none"
        self._wait_s = self._settings.timeout_s if self._promised else config.stream.complete.quiet_s
        # A process that was killed between adding a member and looking at its series leaves nobody to look.
        self._left = series_store.open_in(ledger) if self.scope else []
        self._expected: dict[str, Expected] = {}
        self._beside: dict[str, frozenset[Slot]] = {}
        self._metadata_read: dict[Path, Expected] = {}
        # Judged again later: what the acquisition says of them couldn't be read.
        self._unclear: dict[str, Place] = {}
        self._unclear_until = 0.0

    def sort(self, files: Sequence[Whole]) -> tuple[list[Ready], list[tuple[Whole, Member, Place]]]:
        """Separate files that stand alone, or come too late for their series, from members of a series."""
        alone: list[Ready] = []
        members: list[tuple[Whole, Member, Place]] = []
        placed = [(file, self._place(file.names)) for file in files]
        late = series_store.released(self._ledger, {place.key for _, place in placed if place})
        units = [unit_id(self._unit, dataset=self._dataset, object_id=f.row.object_id, names=f.names) for f in files]
        # Where the series is the unit, one that was released but not begun is simply gathered once more.
        again = late and self.scope == self._unit
        open_units = set(units) - series_store.begun(self._ledger, units) if again else set()
        for (file, place), unit in zip(placed, units, strict=True):
            own = None if unit == file.row.object_id else unit
            if place is None:
                alone.append(Ready(file.row, own, file.missing))
            elif place.key in late and (own is None or own not in open_units):
                alone.append(self._late(file, place, own))
            else:
                member = Member(file.row.id, place.key, Slot.of(file.names), own, file.missing, file.row.changed_at)
                members.append((file, member, place))
        return alone, members

    def add(self, db: sqlite3.Connection, members: Sequence[tuple[Whole, Member, Place]], now: float) -> None:
        """Put members into their series; of those released, but not begun, the rest of the unit comes back to it."""
        if self.scope == self._unit:
            series_store.call_back(db, {member.unit for _, member, _ in members if member.unit is not None})
        places = {place.key: place for _, _, place in members}
        series_store.add(db, [member for _, member, _ in members], places, due_at=now + self._wait_s)

    def releases(
        self, touched: Iterable[Place], now: float, *, sound: Callable[[Sequence[Row]], set[int]]
    ) -> list[Release]:
        """Return the series that are complete, or due.

        Args:
            touched: Series that got a member.
            now: Seconds since 1970.
            sound: Tells which rows are still as the ledger says; looks at the files.
        """
        if self.scope is None:
            return []
        self._expected.clear()
        self._beside.clear()
        due = series_store.due(self._ledger, now, limit=RELEASES)
        over = {place.key for place in due}
        places = {place.key: place for place in (*touched, *self._left, *due)}
        self._left = []
        if now >= self._unclear_until:
            places |= self._unclear
            self._unclear = {}
        judged = (self._judge_or_put_off(place, now, over=place.key in over, sound=sound) for place in places.values())
        found = [release for release in judged if release is not None]
        for plate in {release.place.plate for release in found if release.taught}:
            if not self._expected[plate].learned:
                # The first complete series of a plate tells that others were complete all the time.
                self._left += series_store.open_in(self._ledger, plate)
        return found

    def next_due(self) -> float | None:
        """Return when the next series is to be judged."""
        if self.scope is None:
            return None
        if self._left:
            return 0.0
        times = [series_store.next_due(self._ledger), self._unclear_until if self._unclear else None]
        return min((time for time in times if time is not None), default=None)

    def _place(self, names: Names) -> Place | None:
        return None if self.scope is None else place_of(self.scope, dataset=self._dataset, names=names)

    def _late(self, file: Whole, place: Place, unit: str | None) -> Ready:
        what = "was written again" if file.row.version > 1 else "came"
        text = f"late: it {what} after {place.name} had been handled"
        if unit is None:
            return Ready(file.row, None, file.missing, note=text)
        return Ready(file.row, unit, f"{text}; it is judged without the others" if not file.missing else file.missing)

    def _judge_or_put_off(
        self, place: Place, now: float, *, over: bool, sound: Callable[[Sequence[Row]], set[int]]
    ) -> Release | None:
        try:
            return self._judge(place, now, over=over, sound=sound)
        except OSError as error:
            if isinstance(error, TierflowError):
                raise
            # A folder that can't be listed must not end the stream, nor make a series look whole.
            _LOG.warning("%s waits: its acquisition's files can't be read (%s)", place.name, error.strerror)
            self._unclear_until = now + _AWAY_S
            if over:
                return Release(place, due_at=self._unclear_until)
            self._unclear[place.key] = place
            return None

    def _judge(
        self, place: Place, now: float, *, over: bool, sound: Callable[[Sequence[Row]], set[int]]
    ) -> Release | None:
        assert self.scope is not None  # asked by `releases`
        expected = self._expect(place)
        least = expected.least(self.scope)
        if not over and (least is None or series_store.size(self._ledger, place.key) < least):
            return None
        members = series_store.members(self._ledger, place.key)
        complete = lacking(self.scope, [one.slot for one in members], expected) == []
        if not over and not complete:
            return None
        rows = self._ledger.rows(
            # The plus keeps SQLite from reading all that waits in place of these few.
            "id IN (SELECT object FROM members WHERE series = ?) AND +state IN (?, ?)",
            (place.key, State.WAITING, State.SEEN),
        )
        changed_at = {row.id: row.changed_at for row in rows}
        good = {one.object for one in members if changed_at.get(one.object) == one.changed_at} & sound(rows)
        kept = [one for one in members if one.object in good]
        dropped = tuple(one.object for one in members if one.object not in good)
        settled = complete and not dropped
        lacks = [] if settled else self._lacks(place, [one.slot for one in kept], expected, over=over)
        if not kept:
            return Release(place, dropped=dropped, empty=True)
        if lacks and (dropped or not over):
            # A member that is written anew is news as well: the others wait for it.
            return Release(place, dropped=dropped, due_at=now + self._wait_s)
        return self._release(place, kept, rows, lacks, dropped)

    def _lacks(self, place: Place, have: Sequence[Slot], expected: Expected, *, over: bool) -> list[str]:
        assert self.scope is not None  # asked by `releases`
        lacks = lacking(self.scope, have, expected, guess=not over)
        if over and lacks is None and self._promised and self.scope != "plate":
            beside = series_store.with_learned(expected, self._all_beside(place))
            lacks = lacking(self.scope, have, beside, guess=False)
        return lacks or []

    def _release(
        self, place: Place, kept: Sequence[Member], rows: Sequence[Row], lacks: Sequence[str], dropped: tuple[int, ...]
    ) -> Release:
        assert self.scope is not None  # asked by `releases`
        missing = None
        if lacks and self._promised:
            missing = missing_in_words(place.name, lacks, in_words(self._settings.timeout_s))
        by_id = {row.id: row for row in rows}
        ready = tuple(Ready(by_id[one.object], one.unit, missing or one.missing) for one in kept)
        taught = frozenset(one.slot.within(self.scope) for one in kept) if not lacks else frozenset()
        return Release(place, ready, missing, taught if self._promised else frozenset(), dropped)

    def _all_beside(self, place: Place) -> frozenset[Slot]:
        assert self.scope is not None  # asked by `releases`
        if place.plate not in self._beside:
            self._beside[place.plate] = series_store.waiting_beside(self._ledger, place.plate, self.scope)
        return self._beside[place.plate]

    def _expect(self, place: Place) -> Expected:
        """Return what a series must hold: the configuration's word, the acquisition's, that of complete ones."""
        assert self.scope is not None  # asked by `releases`
        if place.plate not in self._expected:
            said = Expected.of(self._settings).or_else(self._metadata(place))
            learned = series_store.learned(self._ledger, place.plate) if self._promised else frozenset()
            self._expected[place.plate] = series_store.with_learned(said, learned)
        return self._expected[place.plate]

    def _metadata(self, place: Place) -> Expected:
        rows = self._ledger.rows("id = (SELECT object FROM members WHERE series = ? LIMIT 1)", (place.key,))
        if not rows or self.scope is None:
            return Expected()
        found = self._companions.of(rows[0].path, self._names.names(rows)[0][1])
        if found is None:
            return Expected()
        kind, path = found
        if path not in self._metadata_read:
            if len(self._metadata_read) >= _METADATA_KEPT:
                self._metadata_read.clear()
            self._metadata_read[path] = series_metadata.read(kind, path, self.scope)
        return self._metadata_read[path]

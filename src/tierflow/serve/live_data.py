"""What the live page shows of a stream, from its ledger and its catalogue. Nothing is written here."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tierflow.catalogue.language import parse
from tierflow.catalogue.query import And, Eq, Query, Sort
from tierflow.config import QUARANTINE
from tierflow.errors import InputMissingError, TierflowError
from tierflow.report import words
from tierflow.report.palette import QUARANTINE as QUARANTINE_COLOUR
from tierflow.report.palette import tier_colours
from tierflow.report.plates import format_of
from tierflow.report.text import printable
from tierflow.serve.kept import Kept
from tierflow.serve.live_words import service_words, watcher_words
from tierflow.stream.batch import LEDGER
from tierflow.stream.ledger import Ledger
from tierflow.stream.states import State
from tierflow.stream.status import path_words, read_status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tierflow.serve.site import Run

MOST_OBJECTS = 100
MOST_PLATES = 500
MOST_BEHIND = 2_000
"""News that a page may lag behind; of a page that slept longer, only the latest are told."""
SECONDS = 120
MINUTES = 60
_FIRST_LOOK = 50_000
_REASONS = 300
_COLUMNS = (
    "id, path, object_id, state, version, size, seen_at, changed_at, not_before, ended_at, attempts, tag, reason, "
    "tier, interestingness, incomplete"
)
_FOUND = ("object_id", "path", "tier", "interestingness", "why", "reason", "plate", "well", "channel")
_WELL = re.compile(r"([A-Z]{1,2})0*([1-9][0-9]?)", re.IGNORECASE)


class Live:
    """One stream; safe between threads.

    Args:
        run: Its run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._ledger: tuple[tuple[int, int], Ledger] | None = None
        self._arrivals = _Arrivals()
        self._slow = Kept(self._read_slow, least_s=1.0)
        self._status = Kept(self._read_fast, least_s=0.5)
        self._latest = Kept(self._read_latest, least_s=1.0)
        self._plates = Kept(self._read_plates, least_s=3.0)
        self._plate: dict[str, Kept[dict[str, Any]]] = {}

    def ledger(self) -> Ledger:
        """Return the open ledger, read-only; opened anew when another one lies in its place.

        Raises:
            InputMissingError: if there is none.
        """
        try:
            found = (self._run.output / LEDGER).stat()
        except OSError as error:
            raise InputMissingError(f"run {self._run.number} holds no stream") from error
        mark = (found.st_dev, found.st_ino)
        with self._lock:
            if self._ledger is None or self._ledger[0] != mark:
                self._ledger = (mark, Ledger(self._run.output, read_only=True))
                self._arrivals = _Arrivals()
            return self._ledger[1]

    def status(self) -> dict[str, Any]:
        """Return how the stream stands: at most half a second old; what takes long to count may be older."""
        return self._status.get()

    def _read_slow(self) -> dict[str, Any]:
        ledger = self.ledger()
        found = read_status(ledger, now=time.time())
        sizes = ledger.query(
            "SELECT coalesce(tier, ''), count(*), sum(size) FROM objects WHERE state IN (?, ?) GROUP BY tier",
            (State.DONE, State.QUARANTINED),
        )
        return {**found, "tiers": self._tiers({name or QUARANTINE: (count, size) for name, count, size in sizes})}

    def _read_fast(self) -> dict[str, Any]:
        now, ledger = time.time(), self.ledger()
        slow = self._slow.get()
        service, watcher = slow["service"], slow["watcher"] or {}
        return {
            "run": printable(self._run.output.name),
            "at": round(now, 3),
            "states": {str(state): n for state, n in ledger.counts().items()},
            **{name: slow[name] for name in ("lag_s", "waiting_s", "rate_per_s", "latency_s", "tiers")},
            "service": {**service, "words": service_words(service, now=now)},
            "watcher": {**watcher, **watcher_words(watcher, now=now)},
            "reasons": {
                state: [
                    {
                        "reason": printable(each["reason"]),
                        "objects": each["objects"],
                        "example": printable(each["example"]),
                    }
                    for each in found
                ]
                for state, found in slow["reasons"].items()
            },
            "arrivals": self._arrivals.read(ledger, now=now),
            "finished": _finished(ledger, now=now),
        }

    def _tiers(self, counts: dict[str, tuple[int, int]]) -> list[dict[str, Any]]:
        try:
            names = list(self._run.config().tiers)
        except TierflowError:
            names = []
        names = [*names, *(name for name in counts if name not in names and name != QUARANTINE)]
        light, dark = (tier_colours(len(names), dark=dark) if names else [] for dark in (False, True))
        coloured = [*zip(names, light, dark, strict=True), (QUARANTINE, *QUARANTINE_COLOUR.values())]
        return [
            {
                "name": printable(name),
                "objects": counts.get(name, (0, 0))[0],
                "bytes": counts.get(name, (0, 0))[1],
                "light": on_light,
                "dark": on_dark,
            }
            for name, on_light, on_dark in coloured
        ]

    def latest(self) -> list[dict[str, Any]]:
        """Return the objects that were finished last, the newest first, with the reason of their tier."""
        return self._latest.get()

    def _read_latest(self) -> list[dict[str, Any]]:
        ledger = self.ledger()
        rows = ledger.query(
            f"SELECT {_COLUMNS} FROM objects WHERE ended_at IS NOT NULL AND state IN (?, ?) "  # noqa: S608 - our names
            "ORDER BY ended_at DESC LIMIT 24",
            (State.DONE, State.QUARANTINED),
        )
        told = ledger.news(after=_newest(ledger) - _REASONS, limit=_REASONS)
        reasons = {thing: detail.get("reason") for _, _, kind, thing, detail in told if kind in ("done", "quarantined")}
        return [_object(row, reason=reasons.get(row[0])) for row in rows]

    def objects(self, state: State, *, limit: int, before: float | None = None) -> list[dict[str, Any]]:
        """Return objects of a state, those that ended last first (or, where none has an end, came last).

        Args:
            state: The state.
            limit: At most so many.
            before: Only those with an end, or a first sight, before this time.
        """
        order = "coalesce(ended_at, seen_at)"
        until = "" if before is None else f" AND {order} < ?"
        rows = self.ledger().query(
            f"SELECT {_COLUMNS} FROM objects WHERE state = ?{until} ORDER BY {order} DESC, id DESC LIMIT ?",  # noqa: S608
            (state, *(() if before is None else (before,)), min(limit, MOST_OBJECTS)),
        )
        return [_object(row) for row in rows]

    def news(self, after: int | None) -> tuple[int, list[dict[str, Any]]]:
        """Return the number of the latest news, and the news after a number; without a number, none."""
        ledger = self.ledger()
        newest = _newest(ledger)
        if after is None or after > newest:
            return newest, []
        after = max(after, newest - MOST_BEHIND)
        found = ledger.news(after=after)
        items = [{"id": n, "at": at, "kind": kind, "object": thing, **detail} for n, at, kind, thing, detail in found]
        for item in items:
            if isinstance(item.get("path"), str):
                item["path"] = printable(item["path"])
        return (found[-1][0] if found else after), items

    def search(self, text: str, *, limit: int, cursor: str | None) -> dict[str, Any]:
        """Return a page of what fits a query of the catalogue's language, the most interesting first.

        Raises:
            QueryError: if the query can't be understood.
            InputMissingError: if there is no catalogue yet.
        """
        catalogue = self._run.catalogue
        query = Query(
            parse(text, catalogue.fields()),
            sort=(Sort("interestingness", descending=True),),
            limit=limit,
            cursor=cursor,
            columns=_FOUND,
        )
        page = catalogue.search(query)
        rows = [{key: printable(v) if isinstance(v, str) else v for key, v in row.items()} for row in page.rows]
        return {"total": page.total, "next_cursor": page.next_cursor, "rows": rows}

    def plates(self) -> list[dict[str, Any]]:
        """Return the plates and how many objects each has; none before there is a catalogue."""
        return self._plates.get()

    def _read_plates(self) -> list[dict[str, Any]]:
        try:
            found = self._run.catalogue.facets("plate", limit=MOST_PLATES)
        except InputMissingError:
            return []
        named = [{"plate": str(name), "shown": self._shown(str(name)), "objects": count} for name, count in found]
        return sorted(named, key=lambda each: str(each["plate"]))

    def _shown(self, plate: str) -> str:
        """Return a plate's name for people: files of the top folder whose names say no plate have the data set's."""
        if plate == words.TOP_FOLDER:
            with suppress(TierflowError):
                return printable(self._run.config().dataset_name)
        return words.plate(plate)

    def plate(self, name: str) -> dict[str, Any] | None:
        """Return the wells of a plate, and rows and columns of its format, 0 without wells; None for no such plate."""
        if name not in {each["plate"] for each in self.plates()}:
            return None
        with self._lock:
            kept = self._plate.setdefault(name, Kept(lambda: self._read_plate(name), least_s=3.0))
        return kept.get()

    def _read_plate(self, name: str) -> dict[str, Any]:
        catalogue, here = self._run.catalogue, Eq("plate", name)
        counts = dict(catalogue.facets("well", filters=here, limit=10_000))
        failed = dict(catalogue.facets("well", filters=And((here, Eq("tier", QUARANTINE))), limit=10_000))
        means = {each.group: each.mean for each in catalogue.stats("interestingness", by="well", filters=here)}
        places = {well: place for well in counts if (place := place_of(str(well)))}
        wells = [
            {"well": str(well), "row": row, "column": column, "objects": counts[well]}
            | {"failed": failed.get(well, 0), "mean": _rounded(means.get(well))}
            for well, (row, column) in places.items()
        ]
        shape = format_of(*(max(each) for each in zip(*places.values(), strict=True))) if places else (0, 0)
        return {"plate": name, "shown": self._shown(name), "rows": shape[0], "columns": shape[1], "wells": wells}


class _Arrivals:
    """Counts first sights per second and minute; reads only what is new since its last look."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: int | None = None
        self._seconds: Counter[int] = Counter()
        self._minutes: Counter[int] = Counter()

    def read(self, ledger: Ledger, *, now: float) -> dict[str, Any]:
        """Return arrivals of the last seconds and minutes, the oldest first; the last ones aren't over."""
        with self._lock:
            if self._last is None:
                [(top,)] = ledger.query("SELECT coalesce(max(id), 0) FROM objects")
                self._last = max(0, top - _FIRST_LOOK)
            rows = ledger.query("SELECT id, seen_at FROM objects WHERE id > ? ORDER BY id", (self._last,))
            self._last = rows[-1][0] if rows else self._last
            self._seconds.update(int(at) for _, at in rows)
            self._minutes.update(int(at // 60) for _, at in rows)
            self._seconds = Counter({at: n for at, n in self._seconds.items() if at > now - SECONDS - 5})
            self._minutes = Counter({at: n for at, n in self._minutes.items() if at > now / 60 - MINUTES - 2})
            return _series(self._seconds, self._minutes, now=now)


def _finished(ledger: Ledger, *, now: float) -> dict[str, Any]:
    seconds = ledger.query(
        "SELECT CAST(ended_at AS INTEGER), count(*) FROM objects WHERE ended_at > ? GROUP BY 1", (now - SECONDS - 1,)
    )
    return {"second": _series(Counter(dict(seconds)), Counter(), now=now)["second"]}


def _series(seconds: Counter[int], minutes: Counter[int], *, now: float) -> dict[str, Any]:
    # The second that goes on now is left out: it would always look like a drop.
    last, last_minute = int(now) - 1, int(now // 60)
    return {
        "second": [seconds.get(at, 0) for at in range(last - SECONDS + 1, last + 1)],
        "minute": [minutes.get(at, 0) for at in range(last_minute - MINUTES + 1, last_minute + 1)],
    }


def _newest(ledger: Ledger) -> int:
    [(found,)] = ledger.query("SELECT coalesce(max(id), 0) FROM news")
    return int(found)


def _object(row: tuple[Any, ...], *, reason: str | None = None) -> dict[str, Any]:
    found = dict(zip(_COLUMNS.split(", "), row, strict=True))
    ended, changed = found["ended_at"], found.pop("changed_at")
    return {
        **found,
        "path": path_words(found["path"]),
        "reason": printable(reason or found["reason"] or ""),
        "tag": printable(found["tag"]) if found["tag"] else None,
        "interestingness": _rounded(found["interestingness"]),
        "incomplete": bool(found["incomplete"]),
        "latency_s": None if ended is None else round(max(0.0, ended - changed), 3),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def place_of(well: str) -> tuple[int, int] | None:
    """Return row and column of a well, from 1; None where its name isn't of letters and a number.

    >>> place_of("B03"), place_of("AA1"), place_of("17")
    ((2, 3), (27, 1), None)
    """
    found = _WELL.fullmatch(well)
    if not found:
        return None
    row = 0
    for letter in found[1].upper():
        row = row * 26 + ord(letter) - 64
    return row, int(found[2])


def readiness(lives: Iterable[tuple[Run, Live]]) -> list[str]:
    """Return what stands against the streams being in order, in words; nothing when all is well.

    A stream that was ended in good order is no problem.
    """
    problems = []
    for run, status in _states(lives):
        if isinstance(status, str):
            problems.append(status)
        elif status["service"]["state"] == "dead":
            problems.append(f"run {run.number}: {status['service']['words']}")
        elif status["service"]["state"] != "stopped" and not status["watcher"]["usable"]:
            problems.append(f"run {run.number}: {status['watcher']['words']}")
    return problems


def silences(lives: Iterable[tuple[Run, Live]]) -> list[str]:
    """Return which watching processes give no signs of life, in words: those that starting again may help."""
    return [
        f"run {run.number}: {status['service']['words']}"
        for run, status in _states(lives)
        if not isinstance(status, str) and status["service"]["state"] == "dead"
    ]


def _states(lives: Iterable[tuple[Run, Live]]) -> Iterator[tuple[Run, dict[str, Any] | str]]:
    """Yield how each stream stands; in words where its ledger can't be read."""
    for run, live in lives:
        try:
            yield run, live.status()
        except (TierflowError, sqlite3.Error) as error:
            yield run, f"run {run.number}: the ledger can't be read ({printable(str(error))})"

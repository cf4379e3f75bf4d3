"""Series in the ledger: who is a member of what, what is due, what complete ones taught."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tierflow.stream.series import Expected, Place, Slot, from_text, to_text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from tierflow.stream.ledger import Ledger
    from tierflow.stream.series import Scope

_LEARNED_MOST = 100_000
_AT_ONCE = 500


class Member(NamedTuple):
    """A complete file that waits for the others of its series.

    Attributes:
        object: Its number in the ledger.
        series: Key of its series.
        slot: Its place there.
        unit: The unit it belongs to, None for a unit of its own.
        missing: What the file itself lacked when it was given up on, in words.
        changed_at: Last change of the file that was known when it became a member.
    """

    object: int
    series: str
    slot: Slot
    unit: str | None
    missing: str | None
    changed_at: float


def released(ledger: Ledger, keys: Iterable[str]) -> set[str]:
    """Return which of some series were released already."""
    found: set[str] = set()
    for key in keys:
        found.update(row[0] for row in ledger.query("SELECT key FROM series WHERE key = ? AND due_at IS NULL", (key,)))
    return found


def begun(ledger: Ledger, units: Sequence[str]) -> set[str]:
    """Return which of some units have objects that are being handled, or were."""
    found: set[str] = set()
    names = sorted(set(units))
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        rows = ledger.query(
            f"SELECT DISTINCT unit FROM objects WHERE unit IN ({marks}) "  # noqa: S608
            "AND (handled_size IS NOT NULL OR state IN ('running', 'done', 'quarantined'))",
            some,
        )
        found.update(row[0] for row in rows)
    return found


def call_back(db: sqlite3.Connection, units: Iterable[str]) -> None:
    """Have the objects of units that were released, but not begun, gathered once more: one of theirs came, or changed.

    A unit is decided as a whole; without this, one part of it would be handled before the other.
    """
    db.executemany(
        "UPDATE objects SET state = 'waiting', ready_at = NULL, not_before = 0, reason = ? "
        "WHERE unit = ? AND state IN ('ready', 'failed')",
        [("another file of its unit came, or changed", unit) for unit in units],
    )


def add(db: sqlite3.Connection, members: Sequence[Member], places: Mapping[str, Place], *, due_at: float) -> None:
    """Put complete files into their series, which then wait until `due_at` for the next one.

    A file that is a member already, and the same, is no news to its series.

    Args:
        db: Connection, inside a transaction.
        members: The files.
        places: Their series, by key.
        due_at: When a series with a new member is due.
    """
    same = "SELECT 1 FROM members WHERE object = ? AND series = ? AND changed_at = ?"
    fresh = {
        member.series
        for member in members
        if db.execute(same, (member.object, member.series, member.changed_at)).fetchone() is None
    }
    db.executemany(
        "INSERT INTO series VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET due_at = excluded.due_at",
        [(*places[key], due_at) for key in sorted(fresh)],
    )
    db.executemany(
        "INSERT INTO members VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (object) DO UPDATE SET series = excluded.series, "
        "slot = excluded.slot, unit = excluded.unit, missing = excluded.missing, changed_at = excluded.changed_at",
        [member._replace(slot=to_text(member.slot)) for member in members],  # type: ignore[arg-type]
    )


def due(ledger: Ledger, now: float, *, limit: int) -> list[Place]:
    """Return series whose time is over, the longest first."""
    found = ledger.query("SELECT key, plate, name FROM series WHERE due_at <= ? ORDER BY due_at LIMIT ?", (now, limit))
    return [Place(*row) for row in found]


def open_in(ledger: Ledger, plate: str | None = None) -> list[Place]:
    """Return the series that wait, of one plate or all."""
    found = ledger.query(
        "SELECT key, plate, name FROM series WHERE due_at IS NOT NULL AND plate = coalesce(?, plate)", (plate,)
    )
    return [Place(*row) for row in found]


def next_due(ledger: Ledger) -> float | None:
    """Return when the next series is due."""
    found: float | None = ledger.query("SELECT min(due_at) FROM series WHERE due_at IS NOT NULL")[0][0]
    return found


def size(ledger: Ledger, key: str) -> int:
    """Return how many members a series has."""
    return int(ledger.query("SELECT count(*) FROM members WHERE series = ?", (key,))[0][0])


def members(ledger: Ledger, key: str) -> list[Member]:
    """Return the members of a series."""
    found = ledger.query(f"SELECT {', '.join(Member._fields)} FROM members WHERE series = ?", (key,))  # noqa: S608
    return [Member(*row)._replace(slot=from_text(row[2])) for row in found]


def learned(ledger: Ledger, plate: str) -> frozenset[Slot]:
    """Return the places, within a series, that complete series of a plate had."""
    return frozenset(from_text(row[0]) for row in ledger.query("SELECT slot FROM learned WHERE plate = ?", (plate,)))


def waiting_beside(ledger: Ledger, plate: str, scope: Scope) -> frozenset[Slot]:
    """Return the places, within a series, of all members of the plate's open series."""
    found = ledger.query(
        "SELECT m.slot FROM series s JOIN members m ON m.series = s.key WHERE s.plate = ? AND s.due_at IS NOT NULL",
        (plate,),
    )
    return frozenset(from_text(row[0]).within(scope) for row in found)


def learn(db: sqlite3.Connection, plate: str, slots: Iterable[Slot]) -> None:
    """Remember what a complete series of a plate had."""
    (count,) = db.execute("SELECT count(*) FROM learned WHERE plate = ?", (plate,)).fetchone()
    if count < _LEARNED_MOST:
        db.executemany("INSERT OR IGNORE INTO learned VALUES (?, ?)", [(plate, to_text(slot)) for slot in slots])


def release(db: sqlite3.Connection, key: str) -> None:
    """Note that a series was released: its members are forgotten, that it existed isn't."""
    db.execute("UPDATE series SET due_at = NULL WHERE key = ?", (key,))
    db.execute("DELETE FROM members WHERE series = ?", (key,))


def forget(db: sqlite3.Connection, key: str) -> None:
    """Remove a series that has no member."""
    db.execute("DELETE FROM series WHERE key = ?", (key,))


def drop(db: sqlite3.Connection, objects: Iterable[int]) -> None:
    """Take objects out of their series: they changed, or are gone. Those that are there are looked at anew."""
    numbers = [(number,) for number in objects]
    db.executemany("DELETE FROM members WHERE object = ?", numbers)
    db.executemany("UPDATE objects SET not_before = 0 WHERE id = ? AND state = 'waiting'", numbers)


def with_learned(expected: Expected, slots: frozenset[Slot]) -> Expected:
    """Return what is expected, with what complete series taught."""
    return expected.or_else(Expected(learned=slots))

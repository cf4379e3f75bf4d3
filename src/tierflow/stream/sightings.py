"""What the ledger makes of a file that was seen, changed, or is gone.

A file is the same as long as size and time of change (ns) are; a time that was set back is a change as well. Another
inode alone is none: backups, share servers and renames of a copy give one to the same content. Only where the file
system writes whole seconds, and inodes can be relied on, is it a new version, since a replacement within the same
second would be missed otherwise: raw images all have the same size.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tierflow.io.identity import display_path, object_id
from tierflow.stream.ledger import insert_news
from tierflow.stream.series_store import call_back
from tierflow.stream.states import State
from tierflow.stream.taken import was_taken

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tierflow.io.walk import Found
    from tierflow.stream.ledger import Ledger

CHUNK = 500
"""Objects in one transaction: other threads get their turn in between."""

_SECOND_NS = 1_000_000_000
_HANDLED = frozenset({State.DONE, State.QUARANTINED})
_LOSABLE = frozenset({State.SEEN, State.WAITING, State.READY, State.FAILED})


class Known(NamedTuple):
    """What the ledger says of a file; names as in `ledger_schema`."""

    id: int
    path: bytes
    state: str
    size: int
    mtime_ns: int
    inode: int
    is_link: int
    closed: int
    handled_size: int | None
    handled_mtime_ns: int | None
    object_id: str
    shard: int | None = None


COLUMNS = ", ".join(Known._fields)


@dataclass(slots=True)
class Counted:
    """What sightings changed in the ledger."""

    new: int = 0
    changed: int = 0
    versions: int = 0
    back: int = 0
    lost: int = 0

    def __bool__(self) -> bool:
        """Tell whether anything did."""
        return bool(self.new or self.changed or self.versions or self.back or self.lost)

    def add(self, other: Counted) -> None:
        """Add what another look changed."""
        self.new += other.new
        self.changed += other.changed
        self.versions += other.versions
        self.back += other.back
        self.lost += other.lost


def differs(known: Known, found: Found, *, inodes: bool) -> bool:
    """Tell whether a file has another content than the one that the ledger speaks of.

    Args:
        known: The ledger's row.
        found: The file as it is now.
        inodes: Inodes can be relied on: a local file system.
    """
    size, mtime_ns = known.size, known.mtime_ns
    if known.state in _HANDLED and known.handled_size is not None and known.handled_mtime_ns is not None:
        size, mtime_ns = known.handled_size, known.handled_mtime_ns
    if (size, mtime_ns) != (found.size, found.mtime_ns):
        return True
    return inodes and known.inode != found.inode and found.mtime_ns % _SECOND_NS == 0


def to_write(known: Known, found: Found, *, closed: bool, inodes: bool) -> bool:
    """Tell whether the ledger's row has to change at all."""
    return (
        known.state == State.LOST_SOURCE
        or (known.size, known.mtime_ns, known.inode, bool(known.is_link))
        != (found.size, found.mtime_ns, found.inode, found.is_link)
        or (closed and not known.closed and known.state not in _HANDLED)
        or differs(known, found, inodes=inodes)
    )


class Sightings:
    """Writes sightings into the ledger.

    Args:
        ledger: The ledger.
        dataset: Name of the data set, part of each object's id.
        inodes: Inodes can be relied on.
        by_unit: Files are released by units, so that one that was written again takes the others of its unit with it.
        clock: Gives seconds since 1970.
        changed: Called after each transaction that changed something, also amid a long look.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        dataset: str,
        inodes: bool = True,
        by_unit: bool = False,
        clock: Callable[[], float] = time.time,
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self.ledger = ledger
        self._dataset = dataset
        self._clock = clock
        self._changed = changed
        self._by_unit = by_unit
        self.inodes = inodes

    def known(self, paths: Sequence[bytes]) -> dict[bytes, Known]:
        """Return what the ledger says of some paths."""
        found: dict[bytes, Known] = {}
        for start in range(0, len(paths), CHUNK):
            part = paths[start : start + CHUNK]
            marks = ", ".join("?" * len(part))
            rows = self.ledger.query(f"SELECT {COLUMNS} FROM objects WHERE path IN ({marks})", part)  # noqa: S608
            found.update((row[1], Known(*row)) for row in rows)
        return found

    def page(self, folder: bytes, *, after: int, last: int) -> list[Known]:
        """Return the next objects of a folder, by number.

        Args:
            folder: The folder.
            after: Number of the last one that was had.
            last: None with a greater number.
        """
        rows = self.ledger.query(
            f"SELECT {COLUMNS} FROM objects WHERE folder = ? AND id > ? AND id <= ? ORDER BY id LIMIT {CHUNK}",  # noqa: S608
            (folder, after, last),
        )
        return [Known(*row) for row in rows]

    def folders_below(self, folder: bytes) -> Iterator[bytes]:
        """Yield the folders below one that objects lie in; the ledger may change meanwhile."""
        inside = folder + b"/" if folder else b""
        found = inside
        while True:
            # Jumps from folder to folder in the index, whatever the number of objects.
            found = self.ledger.query("SELECT min(folder) FROM objects WHERE folder > ?", (found,))[0][0]
            if found is None or not found.startswith(inside):
                return
            yield found

    def last_id(self) -> int:
        """Return the number of the latest object."""
        return int(self.ledger.query("SELECT coalesce(max(id), 0) FROM objects")[0][0])

    def see(self, files: Sequence[tuple[Found, bool]]) -> Counted:
        """Write down files as they are now, new ones included; at most `CHUNK` of them.

        Args:
            files: Each with whether it was closed by its writer, or renamed into place.
        """
        counted = Counted()
        if not files:
            return counted
        now = self._clock()
        marks = ", ".join("?" * len(files))
        with self.ledger.transaction() as db:
            paths = [found.path for found, _ in files]
            # Read inside the transaction: the state may have moved on since the look began.
            rows = db.execute(f"SELECT {COLUMNS} FROM objects WHERE path IN ({marks})", paths)  # noqa: S608
            known = {row[1]: Known(*row) for row in rows}
            self._insert(db, [item for item in files if item[0].path not in known], now, counted)
            for found, closed in files:
                row = known.get(found.path)
                if row is not None and to_write(row, found, closed=closed, inodes=self.inodes):
                    self._update(db, row, found, closed=closed, now=now, counted=counted)
        if counted:
            self._changed()
        return counted

    def lose(self, rows: Iterable[Known], *, still: Callable[[], bool]) -> Counted:
        """Mark objects whose files are gone, unless they were handled or are just being handled, or a tier has them.

        Args:
            rows: The objects.
            still: Asked last of all whether the root is healthy; if not, nothing is marked.
        """
        output = self.ledger.output
        gone = (row for row in rows if row.state in _LOSABLE)
        ids = [row.id for row in gone if not was_taken(output, row.object_id, row.shard)]
        counted = Counted()
        if not ids or not still():
            return counted
        reason = "the file vanished before it was handled"
        now = self._clock()
        for start in range(0, len(ids), CHUNK):
            part = ids[start : start + CHUNK]
            marks = ", ".join("?" * len(part))
            with self.ledger.transaction() as db:
                found = db.execute(
                    f"SELECT id, object_id, path FROM objects WHERE id IN ({marks}) AND state IN (?, ?, ?, ?)",  # noqa: S608
                    (*part, *sorted(_LOSABLE)),
                ).fetchall()
                db.executemany(
                    "UPDATE objects SET state = ?, ended_at = ?, ready_at = NULL, reason = ? WHERE id = ?",
                    [(State.LOST_SOURCE, now, reason, number) for number, _, _ in found],
                )
                news = [
                    (number, {"object_id": key, "path": display_path(path), "reason": reason})
                    for number, key, path in found
                ]
                insert_news(db, "lost_source", news)
                counted.lost += len(found)
        if counted:
            self._changed()
        return counted

    def _insert(
        self, db: sqlite3.Connection, files: Iterable[tuple[Found, bool]], now: float, counted: Counted
    ) -> None:
        values = [
            (
                found.path,
                found.path.rpartition(b"/")[0],
                object_id(self._dataset, found.path),
                State.SEEN,
                found.size,
                found.mtime_ns,
                found.inode,
                found.is_link,
                closed,
                now,
                now,
            )
            for found, closed in files
        ]
        db.executemany(
            "INSERT INTO objects (path, folder, object_id, state, size, mtime_ns, inode, is_link, closed, seen_at, "
            "changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (path) DO NOTHING",
            values,
        )
        counted.new += len(values)

    def _update(
        self, db: sqlite3.Connection, row: Known, found: Found, *, closed: bool, now: float, counted: Counted
    ) -> None:
        changed = differs(row, found, inodes=self.inodes)
        # A sign that it was closed holds only for the size and time that it was closed with.
        sure = closed or (bool(row.closed) and not changed)
        seen = (found.size, found.mtime_ns, found.inode, found.is_link, sure)
        put = "UPDATE objects SET size = ?, mtime_ns = ?, inode = ?, is_link = ?, closed = ?"
        if row.state == State.LOST_SOURCE:
            db.execute(
                f"{put}, state = ?, seen_at = ?, changed_at = ?, ended_at = NULL, ready_at = NULL, not_before = 0, "
                "attempts = 0, cohort = NULL, incomplete = 0, reason = NULL WHERE id = ?",
                (*seen, State.SEEN, now, now, row.id),
            )
            counted.back += 1
        elif not changed:
            # Closed now, or another inode: an open one is looked at again at once, all others stay as they are.
            db.execute(f"{put} WHERE id = ?", (*seen, row.id))
            if sure and not row.closed:
                db.execute("UPDATE objects SET not_before = 0 WHERE id = ? AND state = ?", (row.id, State.WAITING))
                counted.changed += 1
        elif row.state in _HANDLED:
            db.execute(
                f"{put}, state = ?, version = version + 1, seen_at = ?, changed_at = ?, ended_at = NULL, "
                "ready_at = NULL, not_before = 0, attempts = 0, cohort = NULL, incomplete = 0, reason = NULL "
                "WHERE id = ?",
                (*seen, State.SEEN, now, now, row.id),
            )
            counted.versions += 1
        else:
            db.execute(f"{put}, changed_at = ? WHERE id = ?", (*seen, now, row.id))
            self._again(db, row)
            counted.changed += 1

    def _again(self, db: sqlite3.Connection, row: Known) -> None:
        """Have an open object that was written again looked at anew; a running one when its batch has ended.

        What its batch records is compared with the file; if its batch is given back, nobody has judged the new bytes.
        """
        if row.state in (State.READY, State.FAILED, State.WAITING):
            db.execute(
                "UPDATE objects SET state = ?, ready_at = NULL, not_before = 0, attempts = 0, cohort = NULL, "
                "incomplete = 0, reason = ? WHERE id = ?",
                (State.WAITING, "it was written again", row.id),
            )
            if self._by_unit and row.state != State.WAITING:
                call_back(db, [unit for (unit,) in db.execute("SELECT unit FROM objects WHERE id = ?", (row.id,))])
        elif row.state == State.RUNNING:
            db.execute("UPDATE objects SET ready_at = NULL WHERE id = ?", (row.id,))

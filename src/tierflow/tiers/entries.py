"""Lines of the journal: what one act on one object was meant to do, did, or failed to do."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from tierflow.tiers.base import Stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tierflow.tiers.base import How

Act = Literal["place", "restore"]
State = Literal["intent", "done", "cleared", "undone", "failed", "withdrawn"]

# A line is 8 hex digits of CRC-32, a space, and JSON that begins with the object's id.
_CRC_DIGITS = 8
_ID_START = _CRC_DIGITS + len(' {"id":"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the journal about one object. `design/placement.md` says how the states follow each other.

    Paths are text as `os.fsdecode` gives (undecodable bytes as surrogates), relative to the output folder when inside.
    Lines of the states `cleared`, `undone`, `failed` and `withdrawn` may hold only the first fields; they close the
    line before.

    Attributes:
        id: The object.
        n: Number of the line among all lines of the object in all journals of the output, from 1.
        act: `place`, or `restore`: back to the source.
        state: `intent` before the act, `done` when the new name stands durably, `cleared` or `undone` when the old
            names are gone as well, `failed` when nothing came of the intent, `withdrawn` when a placement that was
            done is given up because its origin could not be removed.
        run: Id of the process that wrote it.
        time: When, ISO 8601 in UTC.
        tier: Name of the tier.
        driver: Name of the driver.
        consumes: Whether the driver removes the origin.
        source: The object's own place in the input.
        origin: Where the bytes were taken from.
        wanted: Destination without regard to collisions.
        destination: Destination.
        how: Kind of the new name.
        sha256: Hash of the bytes; in an intent, of those that were measured.
        size: Size in bytes of the origin.
        mtime_ns: Time of last change of the content, ns since 1970.
        mode: Permission bits.
        link_text: What the source pointed to, where it is a symbolic link.
        origin_stamp: The origin when its bytes were taken.
        stamp: The destination when it was made.
        folders: Folders that had to be made for it.
        problem: Why it failed, in words.
    """

    id: str
    n: int
    act: Act
    state: State
    run: str = ""
    time: str = ""
    tier: str = ""
    driver: str = ""
    consumes: bool = False
    source: str = ""
    origin: str = ""
    wanted: str = ""
    destination: str = ""
    how: How | None = None
    sha256: str | None = None
    size: int | None = None
    mtime_ns: int | None = None
    mode: int | None = None
    link_text: str | None = None
    origin_stamp: Stamp | None = None
    stamp: Stamp | None = None
    folders: tuple[str, ...] = ()
    problem: str | None = None


_NAMES = tuple(f.name for f in fields(Entry))
_JSON = json.JSONEncoder(separators=(",", ":"))


def encode(tree: dict[str, Any]) -> bytes:
    """Return a line of the journal, newline included. Surrogates are escaped, so the line is plain ASCII."""
    data = _JSON.encode(tree).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(data), data)


def encode_entry(entry: Entry) -> bytes:
    """Return the line of an entry; fields that say nothing are left out."""
    values = ((name, getattr(entry, name)) for name in _NAMES)
    # A mode, a size or a time of 0 says something, so that plain truth won't do.
    return encode({name: value for name, value in values if value or (value == 0 and value is not False)})


def decode(line: bytes) -> dict[str, Any] | None:
    """Return what a line says, or None when it is torn or damaged.

    Args:
        line: Without its newline.
    """
    data = line[_CRC_DIGITS + 1 :]
    if line[: _CRC_DIGITS + 1] != b"%08x " % zlib.crc32(data):
        return None
    try:
        tree: dict[str, Any] = json.loads(data)
    except ValueError:
        return None
    return tree


def entry_of(tree: dict[str, Any]) -> Entry:
    """Build an entry from what its line says; keys of later versions are passed over."""
    known = {name: tree[name] for name in _NAMES if name in tree}
    for name in ("origin_stamp", "stamp"):
        if name in known:
            known[name] = Stamp(*known[name])
    if "folders" in known:
        known["folders"] = tuple(known["folders"])
    return Entry(**known)


def id_in(line: bytes) -> bytes:
    """Return the object's id in a line without judging the line."""
    return line[_ID_START : line.find(b'"', _ID_START)]


@dataclass(slots=True)
class Record:
    """Where one object stands, from all its lines.

    Attributes:
        id: The object.
        n: Number of its last line.
        placed: The placement that holds, if any.
        pending: The act that was begun and not closed, if any.
        previous: The placement that `placed` replaces, as long as its destination may still be there.
        withdrawn: The placement that was given up last; without file locks, a twin may have finished it.
        journal: Name of the journal that holds its last line.
    """

    id: str
    n: int = 0
    placed: Entry | None = None
    pending: Entry | None = None
    previous: Entry | None = None
    withdrawn: Entry | None = None
    journal: str = ""

    def take(self, entry: Entry) -> None:
        """Take in the next line."""
        self.n = max(self.n, entry.n)
        if entry.state in ("intent", "done"):
            self.withdrawn = None
        if entry.state == "intent":
            self.pending = entry
        elif entry.act == "restore":
            self._take_restore(entry)
        elif entry.state == "done":
            replaced = self.placed
            self.previous = replaced if replaced and replaced.destination != entry.destination else None
            self.placed = entry
            self.pending = entry if entry.consumes or self.previous else None
        elif entry.state == "cleared" and not entry.destination and self.pending and self.pending.state == "intent":
            pass  # The line between was damaged: what the intent made is to be found by looking.
        elif entry.state == "cleared":
            # Whoever cleared has removed the origin, so what a twin gave up at the same time is where the file is.
            self.placed = entry if entry.destination else (self.withdrawn or self.placed)
            self.pending = self.previous = self.withdrawn = None
        elif entry.state == "withdrawn" and self.pending is not None:
            self.withdrawn = self.placed
            self.placed, self.pending, self.previous = self.previous, None, None
        elif entry.state == "failed" and (self.pending is None or self.pending.state == "intent"):
            # Behind a `done` it is a twin's line, where the file system has no locks: what is done stays done.
            self.pending = self.previous = None

    def _take_restore(self, entry: Entry) -> None:
        if entry.state == "done":
            self.pending = entry
        elif entry.state == "undone":
            self.placed = self.pending = self.previous = None
        elif entry.state == "failed":
            self.pending = None


def fold(entries: Iterable[tuple[Entry, str]]) -> dict[str, Record]:
    """Return the record of every object.

    Args:
        entries: Lines with the name of their journal, in any order between journals.
    """
    records: dict[str, Record] = {}
    for entry, journal in sorted(entries, key=lambda pair: pair[0].n):
        record = records.setdefault(entry.id, Record(entry.id))
        record.take(entry)
        record.journal = journal
    return records


def lines_of(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield each whole line without its newline, and the offset behind it; a tail without newline isn't a line."""
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        yield data[start:end], end + 1
        start = end + 1

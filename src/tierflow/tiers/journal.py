"""The journal of a shard: an append-only file of checked lines that says where every file came from and went to.

It lies at `journal/<shard>.jsonl` in the output. Intents are synced before the acts, results before a file is removed.
"""

from __future__ import annotations

import fcntl
import os
import socket
import uuid
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tierflow.errors import TryAgainError, is_passing
from tierflow.io.atomic import fsync_dir
from tierflow.lock import NO_LOCKS
from tierflow.objectstore.connect import is_url, place_at
from tierflow.tiers.entries import Entry, Record, decode, encode, encode_entry, entry_of, fold, id_in, lines_of
from tierflow.tiers.files import look, write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from tierflow.objectstore.connect import Place

FOLDER = "journal"
AFTER_SYNC: dict[Path, Callable[[str], None]] = {}
"""Called with a shard when lines of its journal were synced, before any act on their word; by output folder.

An output that lies on an object store is worked on in a folder of a pod, whose disk doesn't outlive it."""
# Lines of this key say which cut of the data set into shards the journal serves.
_CUT = "cut"


class Journal:
    """The open journal of one shard, held by this process alone where the file system has locks.

    Attributes:
        output: Output folder, absolute.
        shard: Name of the shard.
        records: Where each object stands, by object_id.
        locked: Whether a lock keeps other processes away; not every file system has locks.
    """

    def __init__(
        self, output: Path, shard: str, handle: int, *, records: dict[str, Record], locked: bool = False
    ) -> None:
        self.output = output
        self.shard = shard
        self.records = records
        self.locked = locked
        self._handle = handle
        self._run = uuid.uuid4().hex[:12]

    def record(self, object_id: str) -> Record:
        """Return where an object stands; one that was never placed has an empty record."""
        return self.records.setdefault(object_id, Record(object_id))

    def write(self, entries: Iterable[Entry], *, sync: bool) -> None:
        """Append lines and take them into the records. Each gets its number, the run's id and the time.

        Args:
            entries: What to append.
            sync: Return only when the lines (and all before them) are on the disk.

        Raises:
            TryAgainError: when the disk is full or away.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        lines = []
        for entry in entries:
            record = self.record(entry.id)
            stamped = replace(entry, n=record.n + 1, run=self._run, time=now)
            record.take(stamped)
            record.journal = self.shard
            lines.append(encode_entry(stamped))
        self.append(b"".join(lines), sync=sync)

    def append(self, data: bytes, *, sync: bool) -> None:
        """Append whole lines.

        Raises:
            TryAgainError: when the disk is full or away.
        """
        try:
            write_all(self._handle, data)
            if sync:
                os.fsync(self._handle)
                AFTER_SYNC.get(self.output, _nothing)(self.shard)
        except OSError as error:
            if not is_passing(error):
                raise
            path = journal_path(self.output, self.shard)
            raise TryAgainError(f"can't write {path} ({error.strerror}): make room, then run again") from error

    def text_of(self, path: Place) -> str:
        """Return a path as the journal holds it: relative to the output folder when inside it; keys as URLs."""
        return str(path).removeprefix(f"{self.output}{os.sep}")

    def path_of(self, text: str) -> Place:
        """Return the path that the journal holds as `text`."""
        return _path_of(self.output, text)


def _nothing(_shard: str) -> None:
    """Do nothing: most outputs lie where their journal is synced."""


def journal_path(output: Path, shard: str) -> Path:
    """Return where a shard's journal lies."""
    return output / FOLDER / f"{shard}.jsonl"


def shards(output: Path) -> list[str]:
    """Return the names of the shards that have a journal."""
    return sorted(path.stem for path in (output / FOLDER).glob("*.jsonl"))


@contextmanager
def open_journal(output: Path, shard: str, *, cut: str | None = None, ids: Collection[str] = ()) -> Iterator[Journal]:
    """Lock, mend and read the journal of a shard, and what other journals say of its objects.

    A torn last line, left by a killed process, is cut off: nothing was done on its word.

    Args:
        output: Output folder.
        shard: Name of the shard.
        cut: What tells one cut of the data set into shards from another; objects may have been in other shards before.
        ids: Objects of the shard.

    Raises:
        TryAgainError: when another process holds the journal, naming it.
    """
    output = output.absolute()
    path = journal_path(output, shard)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_suffix(".lock")) as locked:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            data = path.read_bytes()
            if not data:
                fsync_dir(path.parent)
            trees, good = _parse(data)
            if good < len(data):
                os.ftruncate(handle, good)
            records = _records(output, shard, trees, cut=cut, ids=ids)
            journal = Journal(output, shard, handle, records=records, locked=locked)
            if cut is not None and [tree[_CUT] for tree in trees if _CUT in tree][-1:] != [cut]:
                journal.append(encode({_CUT: cut}), sync=False)
            yield journal
        finally:
            os.close(handle)


def peek_journal(output: Path, shard: str, *, cut: str | None, ids: Collection[str]) -> Journal:
    """Return the journal of a shard to look at, without lock; writing to it fails. Arguments as of `open_journal`."""
    output = output.absolute()
    trees, _ = _parse(_read(journal_path(output, shard)))
    return Journal(output, shard, -1, records=_records(output, shard, trees, cut=cut, ids=ids))


def _records(
    output: Path, shard: str, trees: Iterable[dict[str, Any]], *, cut: str | None, ids: Collection[str]
) -> dict[str, Record]:
    entries = [(entry_of(tree), shard) for tree in trees if "id" in tree]
    if cut is not None:
        entries += _from_others(output, shard, cut=cut, ids=ids)
    return fold(entries)


def read_records(output: Path, *, ids: Collection[str] | None = None) -> dict[str, Record]:
    """Return where objects stand, from all journals of an output; works while others write.

    Args:
        output: Output folder.
        ids: Only these objects; None for all.
    """
    output = output.absolute()
    wanted = None if ids is None else {object_id.encode() for object_id in ids}
    pairs: list[tuple[Entry, str]] = []
    for shard in shards(output):
        pairs += [(entry, shard) for entry in _entries(_read(journal_path(output, shard)), wanted)]
    return fold(pairs)


def shared_records(output: Path) -> dict[str, Record]:
    """Return the records of those objects that more than one journal tells about."""
    seen: set[bytes] = set()
    shared: set[bytes] = set()
    for shard in shards(output):
        own = {id_in(line) for line, _ in lines_of(_read(journal_path(output, shard)))}
        shared |= seen & own
        seen |= own
    ids = {raw.decode(errors="replace") for raw in shared}
    return read_records(output, ids=ids) if ids else {}


def own_records(journal: Journal, shared: Mapping[str, Record]) -> list[Record]:
    """Return the records of a journal that holds their last line, completed by what other journals say.

    Args:
        journal: Open or peeked journal, whose records are completed in place.
        shared: From `shared_records`.
    """
    for object_id in journal.records.keys() & shared.keys():
        if shared[object_id].n >= journal.records[object_id].n:
            journal.records[object_id] = shared[object_id]
    return [record for record in journal.records.values() if record.journal == journal.shard]


def each_journal(output: Path) -> Iterator[tuple[Journal, list[Record]]]:
    """Yield every journal to look at, with the records whose last line it holds; one at a time is in memory."""
    output = output.absolute()
    shared = shared_records(output)
    for shard in shards(output):
        journal = peek_journal(output, shard, cut=None, ids=())
        yield journal, own_records(journal, shared)


def made_folders(output: Path) -> set[Path]:
    """Return every folder that was ever made for a destination, according to the journals."""
    output = output.absolute()
    found: set[str] = set()
    for shard in shards(output):
        for line, _ in lines_of(_read(journal_path(output, shard))):
            if b'"folders":' in line and (tree := decode(line)) is not None:
                found.update(tree["folders"])
    return {output / text for text in found}


def damaged_lines(output: Path) -> dict[str, int]:
    """Return how many lines of each journal are damaged in its middle; shards without any are left out."""
    counts = {}
    for shard in shards(output):
        trees, good = _parse(data := _read(journal_path(output, shard)))
        bad = data.count(b"\n", 0, good) - len(trees)
        if bad:
            counts[shard] = bad
    return counts


def current_path(output: Path, shard: str, object_id: str) -> Place | None:
    """Return where an object's bytes are now if a former run moved them away from their source, else None.

    For many objects `current_paths` is faster.

    Args:
        output: Output folder.
        shard: Shard of the object.
        object_id: The object.
    """
    states = _states(output)
    for state in states:
        if state[0] == shard and object_id in (own := _cached_own(output, *state)):
            return own[object_id]
    return _cached_all(output, states).get(object_id) if states else None


def current_paths(output: Path, object_ids: Collection[str]) -> dict[str, Place]:
    """Return where the bytes of those objects are now that a former run moved away from their source.

    Args:
        output: Output folder.
        object_ids: Objects to look up; those that stayed are not in the result.
    """
    records = read_records(output, ids=object_ids).values() if (output / FOLDER).is_dir() else ()
    return {record.id: path for record in records if (path := _moved_to(output.absolute(), record))}


def relocated(output: Path) -> dict[str, Place]:
    """Return the current path of every object whose source was removed by `move` or `trash`.

    A file that now lies at the source is another one: callers that find one there should prefer it.
    """
    moved: dict[str, Place] = {}
    for journal, records in each_journal(output):
        moved |= {record.id: path for record in records if (path := _moved_to(journal.output, record))}
    return moved


def _moved_to(output: Path, record: Record) -> Place | None:
    """Only an act that was begun and not closed needs a look at the disk."""
    if record.pending is None:
        return _path_of(output, record.placed.destination) if record.placed and record.placed.consumes else None
    if look(_path_of(output, record.pending.source)) is not None:
        return None
    for entry in (record.placed, record.pending):
        if entry is not None and look(path := _path_of(output, entry.destination)) is not None:
            return path
    return None


def _path_of(output: Path, text: str) -> Place:
    return place_at(text) if is_url(text) else output / text


def _states(output: Path) -> tuple[tuple[str, int, int], ...]:
    states = []
    for shard in shards(output):
        with suppress(FileNotFoundError):
            info = journal_path(output, shard).stat()
            states.append((shard, info.st_mtime_ns, info.st_size))
    return tuple(states)


@lru_cache(maxsize=4)
def _cached_own(output: Path, shard: str, _mtime_ns: int, _size: int) -> dict[str, Place | None]:
    """Look into one journal only; it can't answer when the data set was cut anew since it was begun."""
    data = _read(journal_path(output, shard))
    if data.count(b'{"cut":') > 1:
        return {}
    records = fold((entry, shard) for entry in _entries(data, None))
    return {record.id: _moved_to(output.absolute(), record) for record in records.values()}


@lru_cache(maxsize=1)
def _cached_all(output: Path, _states: tuple[tuple[str, int, int], ...]) -> dict[str, Place]:
    return relocated(output)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _parse(data: bytes) -> tuple[list[dict[str, Any]], int]:
    """Return what the sound lines say, and the offset behind the last of them."""
    trees, good = [], 0
    for line, end in lines_of(data):
        tree = decode(line)
        if tree is not None:
            trees.append(tree)
            good = end
    return trees, good


def _entries(data: bytes, ids: Collection[bytes] | None) -> Iterator[Entry]:
    for line, _ in lines_of(data):
        if ids is None or id_in(line) in ids:
            tree = decode(line)
            if tree is not None and "id" in tree:
                yield entry_of(tree)


def _from_others(output: Path, shard: str, *, cut: str, ids: Collection[str]) -> list[tuple[Entry, str]]:
    """Find lines on the shard's objects in journals that served another cut; those of this cut can't hold any."""
    wanted = {object_id.encode() for object_id in ids}
    found = []
    only = encode({_CUT: cut})
    for other in shards(output):
        if other == shard:
            continue
        data = _read(journal_path(output, other))
        if not (data.startswith(only) and data.count(b'{"cut":') == 1):
            found += [(entry, other) for entry in _entries(data, wanted)]
    return found


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield _lock(handle, path)
    finally:
        os.close(handle)


def _lock(handle: int, path: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Some cluster file systems have no locks. All acts are safe beside a twin, the lock only spares the work.
        if error.errno in NO_LOCKS:
            return False
        holder = os.pread(handle, 200, 0).decode(errors="replace").strip() or "unknown"
        raise TryAgainError(
            f"shard {path.stem} is in use by another process ({holder}): wait for it to end, then run again"
        ) from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
    return True

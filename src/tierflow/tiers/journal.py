"""The journal of a shard: an append-only file of checked lines that says where every file came from and went to.

It lies at `journal/<shard>.jsonl` in the output. Intents are synced before the acts, results before a file is removed.
"""

from __future__ import annotations

import fcntl
import os
import socket
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tierflow.errors import TryAgainError, is_passing
from tierflow.io.atomic import fsync_dir
from tierflow.lock import NO_LOCKS
from tierflow.objectstore.connect import is_url, place_at
from tierflow.tiers.entries import Entry, Record, decode, encode, encode_entry, entry_of, fold, id_in, lines_of
from tierflow.tiers.files import write_all

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
        return path_in(self.output, text)


def _nothing(_shard: str) -> None:
    """Do nothing: most outputs lie where their journal is synced."""


def journal_path(output: Path, shard: str) -> Path:
    """Return where a shard's journal lies."""
    return output / FOLDER / f"{shard}.jsonl"


def shards(output: Path) -> list[str]:
    """Return the names of the shards that have a journal."""
    return sorted(path.stem for path in (output / FOLDER).glob("*.jsonl"))


@dataclass(slots=True)
class Memory:
    """What a journal said when this process closed it: who opens it again every second needn't read it again.

    It counts only as long as the file is exactly as it was left.

    Attributes:
        state: Inode, size and time of last change of the file; None: nothing is remembered.
        records: Where each object stood.
    """

    state: tuple[int, int, int] | None = None
    records: dict[str, Record] = field(default_factory=dict)


@contextmanager
def open_journal(
    output: Path, shard: str, *, cut: str | None = None, ids: Collection[str] = (), memory: Memory | None = None
) -> Iterator[Journal]:
    """Lock, mend and read the journal of a shard, and what other journals say of its objects.

    A torn last line, left by a killed process, is cut off: nothing was done on its word.

    Args:
        output: Output folder.
        shard: Name of the shard.
        cut: What tells one cut of the data set into shards from another; objects may have been in other shards before.
        ids: Objects of the shard.
        memory: Of this shard, kept between calls; only together with `cut` None.

    Raises:
        TryAgainError: when another process holds the journal, naming it.
    """
    output = output.absolute()
    path = journal_path(output, shard)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_suffix(".lock")) as locked:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            if memory is not None and cut is None:
                yield from _remembered(output, shard, handle, memory, locked=locked)
                return
            records, trees = _mended(output, shard, handle, cut=cut, ids=ids)
            journal = Journal(output, shard, handle, records=records, locked=locked)
            if cut is not None and [tree[_CUT] for tree in trees if _CUT in tree][-1:] != [cut]:
                journal.append(encode({_CUT: cut}), sync=False)
            yield journal
        finally:
            os.close(handle)


def _mended(
    output: Path, shard: str, handle: int, *, cut: str | None, ids: Collection[str]
) -> tuple[dict[str, Record], list[dict[str, Any]]]:
    """Cut off a torn end; return the records, and what the lines say."""
    path = journal_path(output, shard)
    data = path.read_bytes()
    if not data:
        fsync_dir(path.parent)
    trees, good = _parse(data)
    if good < len(data):
        os.ftruncate(handle, good)
    return _records(output, shard, trees, cut=cut, ids=ids), trees


def _remembered(output: Path, shard: str, handle: int, memory: Memory, *, locked: bool) -> Iterator[Journal]:
    if memory.state is None or memory.state != _state(handle):
        memory.records, _ = _mended(output, shard, handle, cut=None, ids=())
    # Whatever ends the body by an error, the next one reads the file.
    memory.state = None
    yield Journal(output, shard, handle, records=memory.records, locked=locked)
    memory.state = _state(handle)


def _state(handle: int) -> tuple[int, int, int]:
    info = os.fstat(handle)
    return info.st_ino, info.st_size, info.st_mtime_ns


def peek_journal(output: Path, shard: str, *, cut: str | None, ids: Collection[str]) -> Journal:
    """Return the journal of a shard to look at, without lock; writing to it fails. Arguments as of `open_journal`."""
    output = output.absolute()
    trees, _ = _parse(read_lines(journal_path(output, shard)))
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
        pairs += [(entry, shard) for entry in entries_in(read_lines(journal_path(output, shard)), wanted)]
    return fold(pairs)


def shared_records(output: Path) -> dict[str, Record]:
    """Return the records of those objects that more than one journal tells about."""
    seen: set[bytes] = set()
    shared: set[bytes] = set()
    for shard in shards(output):
        own = {id_in(line) for line, _ in lines_of(read_lines(journal_path(output, shard)))}
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
        for line, _ in lines_of(read_lines(journal_path(output, shard))):
            if b'"folders":' in line and (tree := decode(line)) is not None:
                found.update(tree["folders"])
    return {output / text for text in found}


def damaged_lines(output: Path) -> dict[str, int]:
    """Return how many lines of each journal are damaged in its middle; shards without any are left out."""
    counts = {}
    for shard in shards(output):
        trees, good = _parse(data := read_lines(journal_path(output, shard)))
        bad = data.count(b"\n", 0, good) - len(trees)
        if bad:
            counts[shard] = bad
    return counts


def path_in(output: Path, text: str) -> Place:
    """Return the path that a journal holds as `text`."""
    return place_at(text) if is_url(text) else output / text


def read_lines(path: Path) -> bytes:
    """Return a journal's bytes, none where there is no such file."""
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


def entries_in(data: bytes, ids: Collection[bytes] | None) -> Iterator[Entry]:
    """Yield the sound entries of a journal's bytes, of these objects only; None for all."""
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
        data = read_lines(journal_path(output, other))
        if not (data.startswith(only) and data.count(b'{"cut":') == 1):
            found += [(entry, other) for entry in entries_in(data, wanted)]
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

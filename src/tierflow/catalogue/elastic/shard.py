"""One shard's way to the server: what to send, what came of it, and what has to be remembered."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierflow.catalogue.elastic import dead_letters, index, ledger
from tierflow.catalogue.elastic.bulk import Action, Counters, send
from tierflow.catalogue.elastic.dead_letters import DeadLetter
from tierflow.catalogue.elastic.documents import ids_of, lines
from tierflow.catalogue.elastic.ledger import Entry, Ledger
from tierflow.catalogue.elastic.patience import Patience
from tierflow.catalogue.elastic.problems import translated
from tierflow.clock import utc_now
from tierflow.errors import TryAgainError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from elasticsearch import Elasticsearch as Client

    from tierflow.catalogue.elastic.bulk import Outcome
    from tierflow.catalogue.elastic.documents import Line
    from tierflow.catalogue.elastic.source import Source
    from tierflow.config import Elasticsearch

ROUNDS = 5
ASK_AT_ONCE = 1000
DOUBTFUL = ""
"""In place of a digest: the server may or may not have accepted the document."""
LOOK_EVERY = 200
_THEIR_VERSION = re.compile(r"current version \[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Conflict:
    """A document of which the server has a higher version.

    Attributes:
        row: Row of the record, from 0.
        version: The server's version as far as it says; 0 if it doesn't.
    """

    row: int
    version: int


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are kept that belong to a shard.

    Attributes:
        output: Output folder of the run.
        name: Number of the shard.
    """

    output: Path
    name: str

    @property
    def ledger(self) -> Path:
        """What the server has; no declared output of a job, because engines delete those of jobs that failed."""
        return self.output / ".tierflow" / "published" / f"{self.name}.parquet"

    @property
    def dead_letters(self) -> Path:
        """What the server refused."""
        return self.output / dead_letters.FOLDER / f"{self.name}.parquet"

    @property
    def receipt(self) -> Path:
        """What the step says when it is done."""
        return self.output / "publish" / f"{self.name}.json"

    @property
    def summary(self) -> Path:
        """Which shards there are."""
        return self.output / "scan" / "summary.json"


class Shard:
    """The publication of one shard.

    Args:
        client: The server.
        settings: Alias, sizes and patience.
        source: The records.
        places: Where ledger and dead letters are.
        known: The ledger, read before the records.
        target: Identity of the index; see `index.target_uuid`.
        version: External version of what is sent.
        counters: Counts requests and bytes.
    """

    def __init__(
        self,
        client: Client,
        settings: Elasticsearch,
        *,
        source: Source,
        places: Places,
        known: Ledger,
        target: str,
        version: int,
        counters: Counters,
    ) -> None:
        self._client, self._settings, self._source, self._places = client, settings, source, places
        self._target, self._version, self._counters = target, version, counters
        # Another index has nothing yet, or not what this ledger says.
        self._known = known.entries if known.target == target else {}
        # A migration copies what the former index had: what is gone must be deleted in this one, too.
        self._former = {} if known.target == target else known.entries
        copied = {key: entry._replace(digest=DOUBTFUL) for key, entry in self._former.items()}
        self._ledger = Ledger(target, copied | self._known, known.whole if known.target == target else "")
        self._letters = dead_letters.read(places.dead_letters, target=target)
        self._ids = ids_of(source.table)
        self._sent = self._accepted = self._unchanged = self._rejected = self._deleted = self._conflicts = 0

    def send(self) -> None:
        """Send what the server lacks, delete what is gone, and remember what came of it, also of a part.

        Raises:
            TryAgainError: see `bulk.send`; also if the table was replaced meanwhile, or somebody else keeps writing the
                same documents.
            ConfigError: see `bulk.send`.
        """
        if self._is_done():
            self._unchanged = len(self._ledger.entries)
            return
        self._ledger.whole = ""
        self._source.require_current()
        self._announce()
        try:
            conflicts = self._send(range(self._source.table.num_rows), self._source.table, self._version, again=False)
            for _ in range(ROUNDS):
                conflicts = self._outbid(conflicts)
                if not conflicts:
                    break
            else:
                raise TryAgainError(
                    f"somebody else keeps writing the same {len(conflicts)} documents of run "
                    f"{self._source.table['run'][0]} to {self._settings.alias!r} at {self._settings.url}: do two "
                    "outputs have the same catalogue.run? Give one of them another name, then run the same command "
                    "again"
                )
            self._delete_gone()
            self._source.require_current()
            self._ledger.whole = self._source.digest
        finally:
            self._remember()

    def counts(self) -> dict[str, int]:
        """Return what became of the records; see `publish.publish`."""
        return {
            "records": self._source.table.num_rows,
            "sent": self._sent,
            "accepted": self._accepted,
            "unchanged": self._unchanged,
            "rejected": self._rejected,
            "deleted": self._deleted,
            "dead_letters": len(self._letters),
            "conflicts": self._conflicts,
        }

    def _is_done(self) -> bool:
        records = len(self._ledger.entries) + len(self._letters)
        return self._ledger.whole == self._source.digest and records == self._source.table.num_rows

    def _announce(self) -> None:
        """Write, before anything is sent, that the server may have any of these documents, in whatever form.

        Killed after this, or asleep while a newer job of the same shard runs, we could have sent what no ledger knows:
        the next job then takes nothing for unchanged, and its higher versions bar ours.
        """
        known = self._former | self._known
        doubtful = {key: entry._replace(digest=DOUBTFUL) for key, entry in known.items()}
        doubtful |= {key: Entry(DOUBTFUL, self._version) for key in self._ids}
        ledger.write(self._places.ledger, Ledger(self._target, doubtful))

    def _send(self, rows: Sequence[int], table: pa.Table, version: int, *, again: bool) -> dict[str, Conflict]:
        """Send records, note what came of each, and return those of which the server has a higher version.

        Args:
            rows: Row of each record in the shard.
            table: The records.
            version: Their version.
            again: Whether they were sent, and counted, before.
        """
        conflicts: dict[str, Conflict] = {}
        pending: deque[tuple[int, Line]] = deque()

        def actions() -> Iterator[Action]:
            for row, line in zip(rows, self._lines(rows, table), strict=True):
                if row % LOOK_EVERY == 0:
                    self._source.require_current()
                if not self._is_known(line):
                    pending.append((row, line))
                    self._ledger.entries[line.id] = Entry(DOUBTFUL, version)
                    yield Action(line.id, version, line.json)

        for outcome in send(
            self._client, actions(), settings=self._settings, index=self._settings.alias, counters=self._counters
        ):
            row, line = pending.popleft()
            self._sent += not again
            if outcome.kind == "conflict":
                self._source.require_current()
                self._conflicts += 1
                conflicts[line.id] = Conflict(row, _their_version(outcome))
            elif outcome.kind == "accepted":
                self._accept(line.id, Entry(line.digest, version))
            else:
                self._reject(line, outcome)
        return conflicts

    def _lines(self, rows: Iterable[int], table: pa.Table) -> Iterator[Line]:
        return lines(table, ids=(self._ids[row] for row in rows), indexed_at=utc_now())

    def _is_known(self, line: Line) -> bool:
        entry, letter = self._known.get(line.id), self._letters.get(line.id)
        if letter is not None and letter.digest == line.digest:
            return True
        if entry is None or entry.digest != line.digest:
            return False
        self._unchanged += 1
        self._letters.pop(line.id, None)
        return True

    def _accept(self, key: str, entry: Entry) -> None:
        self._accepted += 1
        self._ledger.entries[key] = entry
        self._letters.pop(key, None)

    def _reject(self, line: Line, outcome: Outcome) -> None:
        self._rejected += 1
        self._letters[line.id] = _letter(line, outcome)
        # The server still has what it had.
        former = self._known.get(line.id)
        if former is None:
            self._ledger.entries.pop(line.id, None)
        else:
            self._ledger.entries[line.id] = former

    def _outbid(self, conflicts: Mapping[str, Conflict]) -> dict[str, Conflict]:
        """Send again, with a version above the server's, what it has in another form; return what it still refuses.

        We speak for the table on disk, so a higher version on the server is that of a clock that was wrong, of a ledger
        that was lost, or of a twin of this job.
        """
        if not conflicts:
            return {}
        self._source.require_current()
        theirs = self._theirs(list(conflicts))
        rows = sorted(conflict.row for conflict in conflicts.values())
        table = self._source.table.take(rows)
        other: list[int] = []
        for place, line in enumerate(self._lines(rows, table)):
            found = theirs.get(line.id)
            if found is not None and found.digest == line.digest:
                self._accept(line.id, found)
            else:
                other.append(place)
        if not other:
            return {}
        versions = [entry.version for entry in theirs.values()] + [each.version for each in conflicts.values()]
        above = max(self._version, *versions) + 1
        return self._send([rows[place] for place in other], table.take(other), above, again=True)

    def _theirs(self, ids: Sequence[str]) -> dict[str, Entry]:
        """Return digest and version of the documents that the server has."""
        found: dict[str, Entry] = {}
        patience = Patience(self._settings.patience_s)
        for start in range(0, len(ids), ASK_AT_ONCE):
            some = ids[start : start + ASK_AT_ONCE]
            answer = patience.call(
                lambda some=some: self._client.mget(  # type: ignore[misc]
                    index=index.write_index(self._client, self._settings.alias), ids=some, source_includes=["digest"]
                ),
                explain=lambda error: translated(error, self._settings),
            )
            for document in answer["docs"]:
                if document.get("found"):
                    found[document["_id"]] = Entry(document["_source"].get("digest", ""), document["_version"])
        return found

    def _delete_gone(self) -> None:
        present = set(self._ids)
        gone = {key: entry for key, entry in (self._former | self._known).items() if key not in present}
        self._deleted = delete(self._client, self._settings, gone, counters=self._counters)
        for key in gone:
            self._ledger.entries.pop(key, None)
        self._letters = {key: letter for key, letter in self._letters.items() if key in present}

    def _remember(self) -> None:
        """Write what the server has acknowledged, unless a newer job speaks for the shard by now."""
        if self._source.is_current():
            ledger.write(self._places.ledger, self._ledger)
            dead_letters.write(self._places.dead_letters, self._letters.values(), target=self._target)


def delete(client: Client, settings: Elasticsearch, entries: Mapping[str, Entry], *, counters: Counters) -> int:
    """Delete documents that nobody has written since we did; return how many.

    Each is deleted with the version that we know. The server has a higher one where another shard has taken the object
    over, and keeps it then.
    """
    actions = [Action(key, entry.version, None) for key, entry in entries.items()]
    outcomes = send(client, actions, settings=settings, index=settings.alias, counters=counters)
    return sum(outcome.kind == "accepted" for outcome in outcomes)


def _letter(line: Line, outcome: Outcome) -> DeadLetter:
    return DeadLetter(
        object_id=line.object_id,
        path=line.path,
        error=outcome.error,
        reason=outcome.reason,
        document=line.json.decode(),
        at=utc_now(),
        id=line.id,
        digest=line.digest,
    )


def _their_version(outcome: Outcome) -> int:
    # A document that was just deleted can't be asked for, but still has its version.
    found = _THEIR_VERSION.search(outcome.reason)
    return int(found[1]) if found else 0

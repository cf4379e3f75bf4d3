"""How the objects of a micro-batch ended, said in the ledger at one stroke."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tierflow.config import QUARANTINE
from tierflow.io.identity import display_path
from tierflow.stream.ledger import insert_news
from tierflow.stream.states import State

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

    from tierflow.stream.batch import Batch
    from tierflow.stream.ledger import Ledger
    from tierflow.stream.look import Seen
    from tierflow.stream.pixels import Claim

_MEMBER_COLUMNS = ("id", "object_id", "path", "seen_at", "version", "tag", "incomplete", "coalesce(missing, reason)")


@dataclass(frozen=True, slots=True)
class Member:
    """An object of a batch, as the ledger knows it; see `ledger_schema` for the meaning of each."""

    id: int
    object_id: str
    path: bytes
    seen_at: float
    version: int
    tag: str | None
    incomplete: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class Recorded:
    """An object that is in the catalogue now.

    Attributes:
        object_id: The object.
        tier: Where it belongs.
        interestingness: Of its unit, in [0, 1]; None when it failed.
        reason: Why it got its score, or failed, in words.
        problem: Why it couldn't be placed; None when all is well.
        size: Bytes of the version that was measured.
        mtime_ns: Its time of last change.
    """

    object_id: str
    tier: str
    interestingness: float | None
    reason: str | None
    problem: str | None
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Returned:
    """An object that is taken out of its batch.

    Attributes:
        object_id: The object.
        state: `waiting`, or `lost_source`.
        reason: Why, in words.
        seen: Its file as it is now, where it was written anew.
    """

    object_id: str
    state: Literal[State.WAITING, State.LOST_SOURCE]
    reason: str
    seen: Seen | None = None


def members_of(ledger: Ledger, batch: Batch) -> dict[str, Member]:
    """Return the objects that a batch still has to bring to an end, by object_id."""
    found = ledger.query(
        f"SELECT {', '.join(_MEMBER_COLUMNS)} FROM objects WHERE batch = ? AND state = ?",  # noqa: S608
        (batch.number, State.RUNNING),
    )
    members = [Member(*row) for row in found]
    return {member.object_id: member for member in members}


def recorded_rows(scan: pa.Table, score: pa.Table, place: pa.Table) -> list[Recorded]:
    """Return how objects ended, from tables of the same objects in the same order."""
    columns: list[list[Any]] = [
        place["object_id"].to_pylist(),
        place["tier"].to_pylist(),
        score["interestingness"].to_pylist(),
        score["reason"].to_pylist(),
        place["problem"].to_pylist(),
        scan["bytes"].to_pylist(),
        scan["mtime_ns"].to_pylist(),
    ]
    return [Recorded(*row) for row in zip(*columns, strict=True)]


def end_batch(
    ledger: Ledger,
    batch: Batch,
    members: Mapping[str, Member],
    *,
    recorded: Sequence[Recorded],
    returned: Iterable[Returned] = (),
    claims: Iterable[Claim] = (),
    given_up: Iterable[Claim] = (),
) -> None:
    """Say how the objects of a batch ended, and that the batch is done: all of it or nothing.

    Args:
        ledger: The ledger.
        batch: The batch.
        members: From `members_of`; objects that are no longer in it are passed over.
        recorded: Objects that are in the catalogue.
        returned: Objects that were taken out.
        claims: Pixels that were shown first by these objects.
        given_up: Pixels that they no longer show.
    """
    now = time.time()
    with ledger.transaction() as db:
        db.executemany("DELETE FROM pixels WHERE hash = ? AND object = ?", list(given_up))
        db.executemany("INSERT OR IGNORE INTO pixels VALUES (?, ?)", list(claims))
        for one in recorded:
            if one.object_id in members:
                _record(db, members[one.object_id], one, now=now)
        for other in returned:
            if other.object_id in members:
                _return(db, members[other.object_id], other, now=now)
        db.execute("UPDATE batches SET stage = 'done', ended_at = ?, problem = NULL WHERE id = ?", (now, batch.number))


def _record(db: sqlite3.Connection, member: Member, one: Recorded, *, now: float) -> None:
    state = State.QUARANTINED if one.tier == QUARANTINE else State.DONE
    db.execute(
        "UPDATE objects SET state = ?, tier = ?, interestingness = ?, ended_at = ?, handled_size = ?, "
        "handled_mtime_ns = ?, reason = ? WHERE id = ? AND state = ?",
        (
            state,
            one.tier,
            one.interestingness,
            now,
            one.size,
            one.mtime_ns,
            one.problem or (one.reason if state is State.QUARANTINED or member.incomplete else None),
            member.id,
            State.RUNNING,
        ),
    )
    detail = {
        "object_id": one.object_id,
        "path": display_path(member.path),
        "version": member.version,
        "tag": member.tag,
        "tier": one.tier,
        "interestingness": one.interestingness,
        "reason": one.reason,
        "problem": one.problem,
        "incomplete": bool(member.incomplete),
        "latency_s": round(now - member.seen_at, 4),
    }
    insert_news(db, str(state), [(member.id, detail)])


def _return(db: sqlite3.Connection, member: Member, one: Returned, *, now: float) -> None:
    ended_at = now if one.state is State.LOST_SOURCE else None
    db.execute(
        "UPDATE objects SET state = ?, reason = ?, not_before = ?, ended_at = ? WHERE id = ? AND state = ?",
        (one.state, one.reason, now, ended_at, member.id, State.RUNNING),
    )
    if one.seen is not None:
        db.execute(
            "UPDATE objects SET size = ?, mtime_ns = ?, inode = ?, closed = 0, changed_at = ? WHERE id = ?",
            (one.seen.size, one.seen.mtime_ns, one.seen.inode, now, member.id),
        )
    if one.state is State.LOST_SOURCE:
        detail = {"object_id": one.object_id, "path": display_path(member.path), "reason": one.reason}
        insert_news(db, "lost_source", [(member.id, detail)])

"""Bring objects that are handled to another tier: better ones came, or a person decided."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tierflow import tables
from tierflow.config import QUARANTINE
from tierflow.policies.base import Cut
from tierflow.policies.choose import Resolved
from tierflow.scoring.columns import compute as pc
from tierflow.stream.fold import in_order, upsert
from tierflow.stream.ledger import insert_news
from tierflow.stream.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tierflow.stream.fold import Shards
    from tierflow.stream.ledger import Ledger
    from tierflow.stream.placing import Placing

_AT_ONCE = 500


def numbers_of(ledger: Ledger, object_ids: Sequence[str]) -> list[int]:
    """Return the ledger's numbers of objects."""
    found: list[int] = []
    for start in range(0, len(object_ids), _AT_ONCE):
        some = object_ids[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        found += [row[0] for row in ledger.query(f"SELECT id FROM objects WHERE object_id IN ({marks})", list(some))]  # noqa: S608
    return found


def tier_of(ledger: Ledger, object_id: str) -> str | None:
    """Return where an object is, as the ledger knows it."""
    found = ledger.query("SELECT tier FROM objects WHERE object_id = ?", (object_id,))
    return found[0][0] if found else None


def homes_of(ledger: Ledger, ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """Return the ledger's numbers of objects that are done, by shard and object_id."""
    homes: dict[int, dict[str, int]] = {}
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        for number, object_id, shard in ledger.query(
            "SELECT id, object_id, shard FROM objects WHERE shard IS NOT NULL AND handled_size IS NOT NULL "  # noqa: S608
            f"AND id IN ({marks})",
            list(some),
        ):
            homes.setdefault(int(shard), {})[object_id] = number
    return homes


def retier_shard(
    shards: Shards,
    placing: Placing,
    shard: str,
    ids: Sequence[str],
    *,
    tier: str,
    why: str,
    on_problem: Callable[[], None],
) -> pa.Table:
    """Place objects of a shard anew and bring its place table and catalogue up to date. May be repeated.

    What people decided about them goes on to hold, and what couldn't be measured stays in quarantine.

    Args:
        shards: Tables of the run.
        placing: Its journals and tiers.
        shard: Name of the shard.
        ids: Objects.
        tier: Where they belong now.
        why: Why, in words.
        on_problem: Called where an object has a problem, before that is recorded; what it raises ends the call.

    Returns:
        Their rows of the place table.

    Raises:
        TryAgainError: if a tier is full or away.
        ConfigError: if a driver refuses.
    """
    mine = pa.array(list(ids), pa.string())
    whole = {name: shards.read(shard, name) for name in ("scan", "score", "place", "catalogue")}
    own = {
        name: tables.stamped(table.filter(pc.is_in(table["object_id"], value_set=mine)), **tables.stamps_of(table))
        for name, table in whole.items()
        if table is not None
    }
    if own.keys() != whole.keys() or not own["scan"].num_rows:
        return tables.PLACE.empty_table()
    policy = Resolved("online", {}, (Cut(tier, 0.0),), {}, {}, 0)
    wanted = placing.wanted(own["scan"], own["score"], policy)
    said = [
        text if decision is not None or chosen != tier else why
        for text, decision, chosen in zip(wanted.why, wanted.decisions, wanted.policy_tiers, strict=True)
    ]
    placed = placing.place(shard, replace(wanted, why=said))
    if placed["problem"].null_count < placed.num_rows:
        on_problem()
    records = own["catalogue"]
    for column in tables.PLACE.names:
        position = records.schema.get_field_index(column)
        rows = pc.index_in(records["object_id"], value_set=placed["object_id"].combine_chunks())
        records = records.set_column(position, records.schema.field(position), placed[column].take(rows))
    order: Any = whole["scan"]["object_id"] if whole["scan"] is not None else mine
    shards.replace(
        shard,
        {
            "catalogue": in_order(upsert(whole["catalogue"], records), order),
            "place": in_order(upsert(whole["place"], placed), order),
        },
    )
    return placed


def chosen_by_policy(shards: Shards, shard: str, ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the objects of a shard by the tier that the policy alone has chosen for them."""
    found: dict[str, list[str]] = {}
    place = shards.read(shard, "place")
    if place is not None:
        wanted = set(ids)
        rows: list[tuple[Any, Any]] = list(
            zip(place["object_id"].to_pylist(), place["policy_tier"].to_pylist(), strict=True)
        )
        for object_id, tier in rows:
            if object_id in wanted:
                found.setdefault(tier, []).append(object_id)
    return found


def note_tiers(ledger: Ledger, numbers: dict[str, int], placed: pa.Table) -> None:
    """Tell the ledger and who listens where objects are now."""
    names = ("object_id", "tier", "why", "problem")
    with ledger.transaction() as db:
        for object_id, tier, why, problem in zip(*(placed[name].to_pylist() for name in names), strict=True):
            state = State.QUARANTINED if tier == QUARANTINE else State.DONE
            db.execute(
                "UPDATE objects SET tier = ?, state = ? WHERE id = ? AND state IN (?, ?)",
                (tier, state, numbers[object_id], State.DONE, State.QUARANTINED),
            )
            detail = {"object_id": object_id, "tier": tier, "why": why, "problem": problem}
            insert_news(db, "retiered", [(numbers[object_id], detail)])

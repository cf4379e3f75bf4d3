"""What people decided about units, against the policy: an append-only file of the output, a line per decision.

A decision names its units and all objects that they had. The latest decision that names a unit, or any object of it,
decides about the whole unit, until one withdraws it. So decisions survive another score, policy, scan and kind of unit.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tierflow.errors import ConfigError, TableError, TryAgainError, is_passing
from tierflow.io.atomic import fsync_dir
from tierflow.policies.choose import failed_rows
from tierflow.tiers.files import write_all

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    import pyarrow as pa

FILE = "corrections.jsonl"
_WITHOUT_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


@dataclass(frozen=True, slots=True)
class Decision:
    """One human decision.

    Attributes:
        tier: Where the units belong; None withdraws earlier decisions about them.
        by: Who decided.
        at: When, as `clock.utc_now` gives it.
        reason: Why, in the person's words.
        query: The query that found the objects.
        units: Units that it is about.
        objects: Objects that the person asked for. Of objects that couldn't be measured, only these leave quarantine.
        others: The other objects of the units.
    """

    tier: str | None
    by: str
    at: str
    reason: str
    query: str
    units: tuple[str, ...]
    objects: tuple[str, ...]
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """The objects that a decision would be about.

    Attributes:
        units: Their units, in the order of the catalogue.
        objects: Those that were asked for.
        others: The other objects of the units.
        tiers: Objects by the tier they are in now, those that stay in quarantine left out.
        staying: Failed objects among `others`, which stay in quarantine.
    """

    units: tuple[str, ...]
    objects: tuple[str, ...]
    others: tuple[str, ...]
    tiers: Counter[str]
    staying: int


def path_of(output: Path) -> Path:
    """Return where the decisions of an output lie."""
    return output / FILE


def digest(output: Path) -> str:
    """Return a digest of all decisions, "" without any: when it changes, files have to be placed anew."""
    data = _read(path_of(output))
    return hashlib.sha256(data).hexdigest() if data else ""


def read(output: Path) -> list[Decision]:
    """Return all decisions, the oldest first; a torn last line, left by a killed process, counts as never written.

    Raises:
        TableError: if any other line is damaged; nothing may pass over what a person decided.
    """
    path = path_of(output)
    *whole, last = _read(path).split(b"\n")
    decisions = []
    for number, line in enumerate(whole, start=1):
        decision = _decode(line)
        if decision is not None:
            decisions.append(decision)
        elif line.strip():
            raise TableError(
                f"{path}, line {number} can't be read as a decision: mend it, or remove it if the decision is void"
            )
    unended = _decode(last)
    return decisions if unended is None else [*decisions, unended]


def append(output: Path, decision: Decision) -> None:
    """Add a decision; it is on the disk when this returns. Processes that do so at once wait for each other.

    Raises:
        TryAgainError: if the disk is full or away; the file is then as before.
    """
    path = path_of(output)
    line = json.dumps(asdict(decision)).encode() + b"\n"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        _lock(handle)
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if _decode(data[whole:]) is not None:
            # Somebody's editor has left out the last line's end.
            line = b"\n" + line
            whole = len(data)
        elif whole < len(data):
            os.ftruncate(handle, whole)
        _write(handle, line, path=path, before=whole)
        fsync_dir(path.parent)
    finally:
        os.close(handle)


def deciding(decisions: Sequence[Decision], score: pa.Table) -> list[Decision | None]:
    """Return the decision that holds for each object, None where the policy's word stands.

    A failed object stays in quarantine unless the decision's own query found it.

    Args:
        decisions: The oldest first.
        score: Columns object_id, unit_id, status and interestingness; a unit must lie in the table whole.
    """
    if not decisions:
        return [None] * score.num_rows
    by_unit = {unit: place for place, decision in enumerate(decisions) for unit in decision.units}
    by_object = {
        name: place for place, decision in enumerate(decisions) for name in (*decision.objects, *decision.others)
    }
    units: list[Any] = score["unit_id"].to_pylist()
    objects: list[Any] = score["object_id"].to_pylist()
    latest: dict[str, int] = {}
    for unit, name in zip(units, objects, strict=True):
        latest[unit] = max(latest.get(unit, -1), by_unit.get(unit, -1), by_object.get(name, -1))
    asked_for = {place: frozenset(decisions[place].objects) for place in set(latest.values()) if place >= 0}
    found: list[Decision | None] = []
    for unit, name, failed in zip(units, objects, failed_rows(score).tolist(), strict=True):
        place = latest[unit]
        holds = place >= 0 and decisions[place].tier is not None and (not failed or name in asked_for[place])
        found.append(decisions[place] if holds else None)
    return found


def require_known(found: Iterable[Decision | None], tiers: Collection[str]) -> None:
    """See that every decision names a tier that there is.

    Raises:
        ConfigError: naming the decision and what to do.
    """
    for decision in found:
        if decision is not None and decision.tier not in tiers:
            raise ConfigError(
                f"{decision.by} decided on {decision.at[:10]} that {len(decision.units)} units belong to tier "
                f"{decision.tier!r}, which `tiers` doesn't have ({', '.join(tiers)}): add the tier, decide anew by "
                "`tierflow relabel`, or withdraw the decision by `tierflow relabel --undo`"
            )


def words(decision: Decision, *, policy_tier: str) -> str:
    """Say who decided, when, why, and what the policy says."""
    return (
        f"{decision.by} decided on {decision.at[:10]}: {decision.reason.rstrip('.')} "
        f"(the policy alone says {policy_tier})"
    )


def choose_units(found: Iterable[str], catalogue: pa.Table, *, failed_tier: str) -> Choice:
    """Return the whole units of the objects that a person asked for.

    Args:
        found: Their ids.
        catalogue: Columns object_id, unit_id, status and tier of all objects.
        failed_tier: Name of the quarantine.
    """
    asked_for = frozenset(found)
    columns: list[list[Any]] = [catalogue[name].to_pylist() for name in ("object_id", "unit_id", "status", "tier")]
    units = dict.fromkeys(unit for name, unit in zip(*columns[:2], strict=True) if name in asked_for)
    objects: list[str] = []
    others: list[str] = []
    staying = 0
    tiers: Counter[str] = Counter()
    for name, unit, status, tier in zip(*columns, strict=True):
        if unit not in units:
            continue
        (objects if name in asked_for else others).append(name)
        if name not in asked_for and status != "ok" and tier == failed_tier:
            staying += 1
        else:
            tiers[tier or "not placed"] += 1
    return Choice(tuple(units), tuple(objects), tuple(others), tiers, staying)


def _decode(line: bytes) -> Decision | None:
    try:
        tree = json.loads(line)
        found: dict[str, Any] = {name: tree[name] for name in Decision.__slots__}
        found |= {name: tuple(found[name]) for name in ("units", "objects", "others")}
        return Decision(**found)
    except (ValueError, KeyError, TypeError):
        return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _lock(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        # Some cluster file systems have no locks; appending a line at once is nearly always whole there as well.
        if error.errno not in _WITHOUT_LOCKS:
            raise


def _write(handle: int, line: bytes, *, path: Path, before: int) -> None:
    try:
        write_all(handle, line)
        os.fsync(handle)
    except OSError as error:
        os.ftruncate(handle, before)
        if not is_passing(error):
            raise
        raise TryAgainError(
            f"can't write {path} ({error.strerror}): nothing was decided; make room, then decide again"
        ) from error

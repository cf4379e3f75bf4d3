"""What people do to a stream from the live page: requests for the watching process, and decisions about objects.

A decision is written to the corrections of the output first, where `tierflow relabel` keeps its own; it holds whatever
happens afterwards. Then the watching process is asked to bring files up to date; without one, the next run does.
"""

from __future__ import annotations

import logging
from contextlib import closing
from typing import TYPE_CHECKING, Any

from tierflow import corrections
from tierflow.catalogue.query import In, Query
from tierflow.clock import utc_now
from tierflow.config import QUARANTINE
from tierflow.corrections import Decision
from tierflow.errors import ConfigError, InputMissingError
from tierflow.stream.decisions import held
from tierflow.stream.ledger import Ledger
from tierflow.stream.states import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tierflow.serve.site import Run

_LOG = logging.getLogger(__name__)

MOST_IDS = 1_000
MOST_REASON = 500


def ask(run: Run, name: str, *, by: str, arguments: Mapping[str, Any] | None = None) -> int:
    """Leave a request for the watching process, and note who asked; returns its number.

    Args:
        run: The run.
        name: Such as `pause`.
        by: Who asks.
        arguments: What it needs to know.

    Raises:
        InputMissingError: if the run holds no stream.
        TryAgainError: if the disk is full or away.
    """
    if not run.has_stream:
        raise InputMissingError(f"run {run.number} holds no stream")
    with closing(Ledger(run.output)) as ledger:
        number = ledger.ask(name, by=by, arguments=arguments or {})
        told = {key: value for key, value in (arguments or {}).items() if key != "object_ids"}
        ledger.tell("action", {"by": by, "name": name, "request": number, **told})
    _LOG.warning("%s asks the stream of %s: %s %s", by, run.output, name, dict(arguments or {}))
    return number


def retry(run: Run, ids: Sequence[int], *, by: str) -> int:
    """Ask that objects be handled anew; without any, all in quarantine.

    Raises:
        InputMissingError: if there is no such stream or object.
    """
    if not ids:
        return ask(run, "retry", by=by, arguments={"state": State.QUARANTINED.value})
    _known(run, ids)
    return ask(run, "retry", by=by, arguments={"ids": list(ids)})


def decide(run: Run, ids: Sequence[int], *, tier: str, reason: str, by: str) -> dict[str, Any]:
    """Record that objects belong to a tier, against the policy; their units go with them.

    Args:
        run: The run.
        ids: Their numbers in the ledger.
        tier: Name of a tier, or `quarantine`.
        reason: Why, in the person's words.
        by: Who decides.

    Returns:
        `request`: number of the request that was left for the watching process; `objects`: how many the decision is
        about; `placed`: `soon`, or `next_run` where nobody watches now.

    Raises:
        ConfigError: if there is no such tier, or no reason.
        InputMissingError: if there is no such object, or it isn't in the catalogue.
        TryAgainError: if a run holds the output.
    """
    words = reason.strip().encode("utf-8", "backslashreplace").decode()[:MOST_REASON]
    if not words:
        raise ConfigError("the reason is missing: say why, so that others can follow the decision")
    known = [*run.config().tiers, QUARANTINE]
    if tier not in known:
        raise ConfigError(f"tier {tier!r}: the run has no such tier, expected one of {', '.join(known)}")
    objects = _known(run, ids)
    choice = _choice(run, objects)
    decision = Decision(
        tier=tier,
        by=by,
        at=utc_now(),
        reason=words,
        query="live view",
        units=choice.units,
        objects=choice.objects,
        others=choice.others,
    )
    with held(run.output) as watched:
        corrections.append(run.output, decision)
    arguments = {"ids": list(ids), "object_ids": [*choice.objects, *choice.others], "tier": tier, "reason": words}
    number = ask(run, "relabel", by=by, arguments=arguments)
    count = len(choice.objects) + len(choice.others)
    return {"request": number, "objects": count, "placed": "soon" if watched else "next_run"}


def approve(run: Run, ids: Sequence[int], *, reason: str, by: str) -> dict[str, Any]:
    """Record that a person has looked at objects in quarantine and that they belong there; see `decide`."""
    return decide(run, ids, tier=QUARANTINE, reason=reason.strip() or "looked at, belongs to quarantine", by=by)


def approved(output: Path) -> dict[str, str]:
    """Return who has confirmed that an object belongs to quarantine, by object id."""
    found: dict[str, str] = {}
    for decision in corrections.read(output):
        for name in (*decision.objects, *decision.others):
            if decision.tier == QUARANTINE:
                found[name] = decision.by
            else:
                found.pop(name, None)
    return found


def _known(run: Run, ids: Sequence[int]) -> list[str]:
    """Return the object ids of numbers of the ledger."""
    if not run.has_stream:
        raise InputMissingError(f"run {run.number} holds no stream")
    marks = ", ".join("?" * len(ids))
    with closing(Ledger(run.output, read_only=True)) as ledger:
        found = dict(ledger.query(f"SELECT id, object_id FROM objects WHERE id IN ({marks})", list(ids)))  # noqa: S608
    missing = [number for number in ids if number not in found]
    if missing:
        raise InputMissingError(f"there is no object {missing[0]} in this stream")
    return [found[number] for number in ids]


def _choice(run: Run, objects: Sequence[str]) -> corrections.Choice:
    columns = ("unit_id", "status", "tier")
    catalogue = run.catalogue
    found = catalogue.batches(Query(In("object_id", tuple(objects)), limit=None, columns=columns)).read_all()
    units = tuple(dict.fromkeys(map(str, found["unit_id"].to_pylist())))
    if found.num_rows < len(set(objects)):
        raise InputMissingError("the catalogue hasn't all of these objects yet: try again in a moment")
    whole = catalogue.batches(Query(In("unit_id", units), limit=None, columns=columns)).read_all()
    return corrections.choose_units(objects, whole, failed_tier=QUARANTINE)

"""What people ask of a running stream from another process, and what the watching process does about it."""

from __future__ import annotations

import getpass
import logging
import time
from typing import TYPE_CHECKING, Any, Protocol

from tierflow.errors import ConfigError, TierflowError, TryAgainError
from tierflow.stream.states import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tierflow.stream.ledger import Ledger

_LOG = logging.getLogger(__name__)

NAMES = ("pause", "resume", "drain", "stop", "rescan", "retry", "relabel")
RETRIED = (State.QUARANTINED, State.FAILED, State.LOST_SOURCE)
"""States that a person may have tried again."""

_POLL_S = 0.1


class Asked(Protocol):
    """What the watching process can do on request."""

    def pause(self) -> None:
        """Begin no new micro-batch; go on watching."""

    def resume(self) -> None:
        """Go on."""

    def drain(self) -> None:
        """Handle everything that is there, then end."""

    def stop(self) -> None:
        """Finish what is being handled, then end."""

    def rescan(self) -> None:
        """Look at all files now."""

    def decide_again(self, object_ids: Sequence[str]) -> int:
        """Bring objects to where people's decisions say that they belong; returns how many."""


def handle(ledger: Ledger, service: Asked) -> int:
    """Carry out all requests that wait, and answer them; returns how many there were.

    A request that can't be understood, or fails, is answered with its problem: it never stops the stream. One that
    can't be carried out for now waits, and keeps no other one waiting.

    Raises:
        TryAgainError: if a tier or the disk is full or away, after all other requests were dealt with.
    """
    waiting = ledger.requests()
    put_off: TryAgainError | None = None
    for number, by, name, arguments in waiting:
        try:
            answer = {"ok": True, **_carry_out(ledger, service, name, arguments)}
        except TryAgainError as error:
            put_off = put_off or error
            continue
        except TierflowError as error:
            answer = {"ok": False, "problem": str(error)}
        except Exception as error:
            _LOG.exception("request %d (%s, from %s) failed", number, name, by)
            answer = {"ok": False, "problem": f"{type(error).__name__}: {error}"}
        ledger.answer(number, answer)
        ledger.tell("request", {"name": name, "by": by, **answer})
    if put_off is not None:
        raise put_off
    return len(waiting)


def ask(ledger: Ledger, name: str, *, patience_s: float, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Leave a request and wait for its answer.

    Args:
        ledger: The ledger, open for writing.
        name: One of `NAMES`.
        patience_s: How long to wait. A request that nobody answered stays, for the next `tierflow watch`.
        arguments: For `retry`: `state`, or `ids` (ledger numbers). For `relabel`: `object_ids`, those of the units that
            a decision in the corrections of the output is about.

    Returns:
        The answer; empty when there was none in time.
    """
    number = ledger.ask(name, by=getpass.getuser(), arguments=arguments or {})
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if (answer := ledger.answered(number)) is not None:
            return answer
        time.sleep(_POLL_S)
    return {}


def retry(ledger: Ledger, *, ids: Sequence[int] | None = None, state: str | None = None) -> int:
    """Let objects be looked at again from the beginning, attempts counted anew; returns how many.

    Args:
        ledger: The ledger.
        ids: Numbers of objects; those in other states than `RETRIED` stay as they are.
        state: All objects of this state; `quarantined`, `failed` or `lost_source`.

    Raises:
        ConfigError: if neither or both are given, or the state isn't one that can be tried again.
    """
    if (ids is None) == (state is None):
        raise ConfigError("retry: give either objects or a state")
    if state is not None and state not in RETRIED:
        raise ConfigError(f"retry: state is {state!r}, expected one of {', '.join(RETRIED)}")
    states = RETRIED if state is None else (State(state),)
    marks = ", ".join("?" * len(states))
    which = "" if ids is None else f" AND id IN ({', '.join(str(int(number)) for number in ids)})"
    with ledger.transaction() as db:
        return db.execute(
            "UPDATE objects SET state = ?, attempts = 0, not_before = 0, cohort = NULL, reason = NULL, "  # noqa: S608
            f"ended_at = NULL, changed_at = ? WHERE state IN ({marks}){which}",
            (State.SEEN, time.time(), *states),
        ).rowcount


def _carry_out(ledger: Ledger, service: Asked, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    if name == "retry":
        return {"objects": retry(ledger, ids=arguments.get("ids"), state=arguments.get("state"))}
    if name == "relabel":
        return {"objects": service.decide_again([str(one) for one in arguments.get("object_ids", ())])}
    acts = {
        "pause": service.pause,
        "resume": service.resume,
        "drain": service.drain,
        "stop": service.stop,
        "rescan": service.rescan,
    }
    if name not in acts:
        raise ConfigError(f"request is {name!r}: expected one of {', '.join(NAMES)}")
    acts[name]()
    return {}

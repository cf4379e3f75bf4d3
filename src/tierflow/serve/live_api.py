"""The addresses under `/api/v1/`: how streams stand, what they hold, and what operators ask of them, as JSON."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from tierflow.serve import actions
from tierflow.serve.access import Person, Role
from tierflow.serve.guard import needs
from tierflow.serve.live_data import MOST_OBJECTS, Live
from tierflow.serve.live_events import Events
from tierflow.stream.states import State

if TYPE_CHECKING:
    from tierflow.errors import TierflowError
    from tierflow.serve.site import Run

router = APIRouter(prefix="/api/v1", tags=["streams"])
Operator = Annotated[Person, needs(Role.OPERATOR)]
Ids = Annotated[list[Annotated[int, Field(ge=1, le=2**62)]], Field(min_length=1, max_length=actions.MOST_IDS)]


class Strict(BaseModel):
    """Content of a request; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class Retry(Strict):
    """Objects that are handled anew."""

    ids: Annotated[list[Annotated[int, Field(ge=1, le=2**62)]], Field(max_length=actions.MOST_IDS)] = Field(
        default_factory=list, description="Numbers of objects; without any, all in quarantine."
    )


class Approve(Strict):
    """Objects in quarantine that belong there."""

    ids: Ids = Field(description="Numbers of objects.")
    reason: str = Field("", max_length=actions.MOST_REASON, description="Why, in your words.")


class Relabel(Strict):
    """Objects that belong to another tier than the policy says."""

    ids: Ids = Field(description="Numbers of objects; all objects of their units go with them.")
    tier: str = Field(max_length=200, description="Tier that they belong to; `quarantine` is one.")
    reason: str = Field(min_length=1, max_length=actions.MOST_REASON, description="Why, in your words.")


class Left(BaseModel):
    """A request was left for the watching process.

    Attributes:
        request: Its number.
    """

    request: int


class Decided(Left):
    """A decision was recorded.

    Attributes:
        objects: How many objects it is about.
        placed: `soon` by the watching process, or by the `next_run`.
    """

    objects: int
    placed: Literal["soon", "next_run"]


@router.get("/runs")
def runs(request: Request) -> list[dict[str, Any]]:
    """List the runs, and whether each has a stream."""
    found: list[Run] = request.app.state.site.runs()
    return [{"run": run.number, "name": run.output.name, "stream": run.has_stream} for run in found]


@router.get("/runs/{number}/status")
def status(request: Request, number: int) -> dict[str, Any]:
    """Tell how a stream stands: states, lag, latencies, arrivals, tiers, the watching process and its watcher."""
    return _live(request, number).status()


@router.get("/runs/{number}/latest")
def latest(request: Request, number: int) -> list[dict[str, Any]]:
    """List the objects that were finished last, the newest first."""
    return _live(request, number).latest()


@router.get("/runs/{number}/objects")
def objects(
    request: Request,
    number: int,
    state: State = State.QUARANTINED,
    limit: Annotated[int, Query(ge=1, le=MOST_OBJECTS)] = 50,
    before: Annotated[float | None, Query(description="Only those that ended before; seconds since 1970.")] = None,
) -> dict[str, Any]:
    """List objects of a state, those that ended last first."""
    live = _live(request, number)
    found = live.objects(state, limit=limit, before=before)
    if state == State.QUARANTINED:
        confirmed = actions.approved(_run(request, number).output)
        found = [{**each, "approved_by": confirmed.get(each["object_id"])} for each in found]
    return {"total": live.status()["states"][state], "objects": found}


@router.get("/runs/{number}/search")
def search(
    request: Request,
    number: int,
    q: Annotated[str, Query(max_length=1_000, description="As for `tierflow search`.")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 24,
    cursor: Annotated[str | None, Query(max_length=2_000)] = None,
) -> dict[str, Any]:
    """Search the catalogue, the most interesting first."""
    return _live(request, number).search(q, limit=limit, cursor=cursor)


@router.get("/runs/{number}/plates")
def plates(request: Request, number: int) -> list[dict[str, Any]]:
    """List the plates and how many objects each has."""
    return _live(request, number).plates()


@router.get("/runs/{number}/plate")
def plate(request: Request, number: int, name: Annotated[str, Query(max_length=1_000)]) -> dict[str, Any]:
    """Tell of each well of a plate how many objects it has, how many failed, and their mean interestingness."""
    found = _live(request, number).plate(name)
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such plate")
    return found


@router.get("/runs/{number}/events", response_model=None, responses={200: {"content": {"text/event-stream": {}}}})
def events(request: Request, number: int) -> Events:
    """Send events: `status` whenever it changes, `news` after the number in `Last-Event-ID`."""
    live, readers = _live(request, number), request.app.state.readers
    if not readers.has_room():
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "too many read events: try again later")
    last = request.headers.get("last-event-id", "")
    after = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else None
    return Events(live, after=after, readers=readers, may=request.app.state.may_go_on(request))


@router.get("/me")
def me(request: Request) -> dict[str, Any]:
    """Tell who asks and what they may do."""
    person: Person = request.state.person
    can_log_in = request.app.state.access.has_tokens and not person.name
    return {
        "name": person.name,
        "role": person.role.word,
        "may_act": person.role >= Role.OPERATOR,
        "can_log_in": can_log_in,
    }


@router.post("/runs/{number}/pause", status_code=HTTPStatus.ACCEPTED)
def pause(request: Request, number: int, by: Operator) -> Left:
    """Begin no new measurement; new files are noted all the same."""
    return Left(request=actions.ask(_run(request, number), "pause", by=by.name))


@router.post("/runs/{number}/resume", status_code=HTTPStatus.ACCEPTED)
def resume(request: Request, number: int, by: Operator) -> Left:
    """Go on."""
    return Left(request=actions.ask(_run(request, number), "resume", by=by.name))


@router.post("/runs/{number}/drain", status_code=HTTPStatus.ACCEPTED)
def drain(request: Request, number: int, by: Operator) -> Left:
    """Finish what is there, then end the watching."""
    return Left(request=actions.ask(_run(request, number), "drain", by=by.name))


@router.post("/runs/{number}/retry", status_code=HTTPStatus.ACCEPTED)
def retry(request: Request, number: int, what: Retry, by: Operator) -> Left:
    """Handle objects anew."""
    return Left(request=actions.retry(_run(request, number), what.ids, by=by.name))


@router.post("/runs/{number}/relabel", status_code=HTTPStatus.ACCEPTED)
def relabel(request: Request, number: int, what: Relabel, by: Operator) -> Decided:
    """Record that objects belong to another tier than the policy says."""
    run = _run(request, number)
    return Decided(**actions.decide(run, what.ids, tier=what.tier, reason=what.reason, by=by.name))


@router.post("/runs/{number}/approve", status_code=HTTPStatus.ACCEPTED)
def approve(request: Request, number: int, what: Approve, by: Operator) -> Decided:
    """Record that objects in quarantine were looked at and belong there."""
    return Decided(**actions.approve(_run(request, number), what.ids, reason=what.reason, by=by.name))


def _run(request: Request, number: int) -> Run:
    found: Run | None = request.app.state.site.run(number)
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no run {number}")
    return found


def _live(request: Request, number: int) -> Live:
    found: Live = request.app.state.lives.of(_run(request, number))
    return found


def status_of_error(error: TierflowError) -> HTTPStatus:
    """Return the HTTP status of one of our errors."""
    return {
        66: HTTPStatus.NOT_FOUND,
        75: HTTPStatus.SERVICE_UNAVAILABLE,
        78: HTTPStatus.BAD_REQUEST,
    }.get(error.exit_code, HTTPStatus.INTERNAL_SERVER_ERROR)

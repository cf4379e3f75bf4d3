"""Routes by which other services begin runs, in the manner of action providers: run, status, cancel, release."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import Field

from tierflow.config_section import Section
from tierflow.errors import ConfigError, InputMissingError
from tierflow.serve.access import Person, Role
from tierflow.serve.guard import needs
from tierflow.serve.runs import Action, ConflictError, RunRequest, as_json

if TYPE_CHECKING:
    from tierflow.serve.runs import Runs

ActionId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class RunBody(Section):
    """What is to be run."""

    input: str = Field(min_length=1, max_length=4096, description="Full path of a folder that the server allows.")
    output: str = Field("", max_length=200, description="Name of the output folder; empty: made from the input's.")
    config: dict[str, Any] = Field(default_factory=dict, description="Keys of the configuration that differ.")
    params: str = Field("", max_length=200, description="Saved parameter set; empty: none.")


class Submission(Section):
    """A request that may be sent any number of times and begins one run."""

    request_id: str = Field(min_length=1, max_length=200, description="Chosen by the client; the same for repetitions.")
    body: RunBody


class ActionStatus(Section):
    """How a run stands."""

    action_id: str
    request_id: str
    creator: str
    status: Literal["ACTIVE", "SUCCEEDED", "FAILED"]
    display_status: str
    output: str
    asked_at: float
    completed_at: float | None
    exit_code: int | None
    details: str


def runs_router(runs: Runs) -> APIRouter:
    """Return the routes for some runs."""
    router = APIRouter(prefix="/runs", tags=["runs"])

    @router.post("", status_code=HTTPStatus.ACCEPTED, summary="Begin a run, or find the one this request began")
    def submit(submission: Submission, person: Annotated[Person, needs(Role.ADMIN)]) -> ActionStatus:
        body = submission.body
        request = RunRequest(body.input, body.output, body.config, body.params)
        try:
            return _shown(runs.submit(submission.request_id, request, creator=person.name))
        except ConflictError as error:
            raise HTTPException(HTTPStatus.CONFLICT, str(error)) from error
        except (ConfigError, InputMissingError) as error:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error

    @router.get("", summary="All runs, the latest first", dependencies=[needs(Role.VIEWER)])
    def all_runs() -> list[ActionStatus]:
        return [_shown(action) for action in runs.all()]

    @router.get("/{action_id}", summary="How a run stands", dependencies=[needs(Role.VIEWER)])
    def status(action_id: ActionId) -> ActionStatus:
        return _shown(runs.get(action_id))

    @router.post("/{action_id}/cancel", summary="Have a run end", dependencies=[needs(Role.ADMIN)])
    def cancel(action_id: ActionId) -> ActionStatus:
        return _shown(runs.cancel(action_id))

    @router.post("/{action_id}/release", summary="Forget a run that has ended", dependencies=[needs(Role.ADMIN)])
    def release(action_id: ActionId) -> ActionStatus:
        try:
            return _shown(runs.release(action_id))
        except ConflictError as error:
            raise HTTPException(HTTPStatus.CONFLICT, str(error)) from error

    return router


def _shown(action: Action | None) -> ActionStatus:
    if action is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "no such run: it was never asked for, or was released")
    return ActionStatus(**as_json(action))

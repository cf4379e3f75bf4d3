"""The server's application: pages, pictures, the API and events, behind one guard."""

from __future__ import annotations

import hashlib
import logging
import threading
import traceback
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

import anyio
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse
from starlette.responses import Response as Answer
from starlette.routing import Mount

from tierflow import __version__
from tierflow.errors import TierflowError
from tierflow.report.templating import environment_of
from tierflow.report.text import printable
from tierflow.serve import live_api
from tierflow.serve.access import SESSION_S, Access
from tierflow.serve.app import App, Response
from tierflow.serve.guard import COOKIE, INTERNAL, TOLD, Guard, check_origin, cookie_of, headers_of
from tierflow.serve.live_data import Live, readiness, silences
from tierflow.serve.live_events import Readers
from tierflow.serve.openapi_page import operations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastapi import APIRouter
    from jinja2 import Environment

    from tierflow.serve.guard import Receive, Send
    from tierflow.serve.site import Run, Site

_LOG = logging.getLogger(__name__)

COPY_BYTES = 1 << 18
THREADS = 32
"""Pages and pictures that are worked on at the same time."""
PAGE_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; script-src 'self'; "
    "style-src 'self'; img-src 'self'; connect-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'"
)
STATIC = {
    "live.js": "text/javascript; charset=utf-8",
    "live.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


class Web(NamedTuple):
    """The application, and what ends its lasting answers.

    Attributes:
        application: An ASGI application.
        end: Lets streams of events end.
    """

    application: Guard
    end: Callable[[], None]


class Lives:
    """The streams that were looked at, each opened once.

    Args:
        site: The runs.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = threading.Lock()
        self._lives: dict[int, Live] = {}

    def of(self, run: Run) -> Live:
        """Return the stream of a run."""
        with self._lock:
            return self._lives.setdefault(run.number, Live(run))

    def all(self) -> list[tuple[Run, Live]]:
        """Return all streams."""
        return [(run, self.of(run)) for run in self._site.runs() if run.has_stream]


def application(site: Site, *, access: Access, loopback_only: bool, routers: Sequence[APIRouter] = ()) -> Web:
    """Return what answers requests.

    Args:
        site: The runs.
        access: Who may do what.
        loopback_only: Whether requests must name this machine as loopback.
        routers: More routes; each must say which role it needs.
    """
    app = FastAPI(title="tierflow", version=__version__, docs_url=None, redoc_url=None)
    readers = Readers()
    app.state.site, app.state.access, app.state.readers, app.state.lives = site, access, readers, Lives(site)
    app.state.may_go_on = lambda request: _may_go_on(request, access)
    app.add_exception_handler(Exception, _failed)
    app.add_exception_handler(TierflowError, _told)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _misunderstood)
    app.include_router(live_api.router)
    for router in routers:
        app.include_router(router)
    _add_pages(app)
    app.router.routes.append(Mount("/", app=_Plain(App(site, loopback_only=loopback_only))))
    return Web(Guard(app, access=access, loopback_only=loopback_only), readers.end)


def _add_pages(app: FastAPI) -> None:
    for path, methods, answer in (
        ("/live/{number}/", ["GET"], _live_page),
        ("/login", ["GET"], _login_page),
        ("/login", ["POST"], _log_in),
        ("/logout", ["POST"], _log_out),
        ("/livez", ["GET"], _alive),
        ("/readyz", ["GET"], _ready),
        ("/docs", ["GET"], _docs),
        ("/static/{name}", ["GET"], _static),
    ):
        app.add_api_route(
            path, answer, methods=methods, include_in_schema=path in ("/livez", "/readyz"), response_model=None
        )


def _live_page(request: Request, number: int) -> Answer:
    run = request.app.state.site.run(number)
    if run is None or not run.has_stream:
        return PlainTextResponse("this run has no stream; / shows what there is\n", HTTPStatus.NOT_FOUND)
    tiers: list[str] = []
    name = run.output.name
    try:
        config = run.config()
        tiers, name = list(config.tiers), config.catalogue.run or name
    except TierflowError as error:
        _LOG.warning("%s", error)
    return _page("live.html.j2", number=number, name=printable(name), tiers=tiers, person=request.state.person)


def _login_page(request: Request) -> Answer:
    return _page("login.html.j2", problem="", person=request.state.person)


async def _log_in(request: Request) -> Answer:
    check_origin(request, form=True)
    form = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=4)
    access: Access = request.app.state.access
    person = access.of_token(form.get("token", [""])[0].strip())
    if person is None:
        problem = "This token isn't known: ask whoever keeps the file of tokens."
        return _page("login.html.j2", status=HTTPStatus.UNAUTHORIZED, problem=problem, person=request.state.person)
    _LOG.warning("%s has logged in as %s", person.name, person.role.word)
    answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
    answer.set_cookie(
        COOKIE,
        access.begin_session(person),
        max_age=int(SESSION_S),
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


async def _log_out(request: Request) -> Answer:
    check_origin(request, form=True)
    request.app.state.access.end_session(cookie_of(headers_of(request.scope)))
    answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


def _ready(request: Request) -> Answer:
    """Tell whether all streams are in order: the ledger can be read, the process lives, the input is watched."""
    problems = readiness(request.app.state.lives.all())
    status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
    return PlainTextResponse("\n".join(problems or ["ready"]) + "\n", status)


def _alive(request: Request, run: str | None = None) -> Answer:
    """Tell whether watching processes give signs of life, whatever stands in their way; `run` is a folder, for one."""
    lives = request.app.state.lives.all()
    problems = silences((found, live) for found, live in lives if run in (None, found.output.name))
    status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
    return PlainTextResponse("\n".join(problems or ["alive"]) + "\n", status)


def _docs(request: Request) -> Answer:
    schema = request.app.openapi()
    return _page("docs.html.j2", operations=operations(schema), person=request.state.person)


def _static(request: Request, name: str) -> Answer:
    if name not in STATIC:
        return PlainTextResponse("there is nothing here\n", HTTPStatus.NOT_FOUND)
    content, mark = _file(name)
    headers = {"ETag": mark, "Cache-Control": "private, no-cache", "Content-Type": STATIC[name]}
    if request.headers.get("if-none-match") == mark:
        return Answer(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Answer(content, headers=headers)


@cache
def _file(name: str) -> tuple[bytes, str]:
    content = files("tierflow.serve").joinpath("static", name).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:16]}"'


def _page(template: str, *, status: HTTPStatus = HTTPStatus.OK, **values: Any) -> Answer:
    html = _templates().get_template(template).render(version=__version__, **values)
    # Without a referrer of their own, browsers don't say where a form comes from.
    headers = {"Content-Security-Policy": PAGE_POLICY, "Referrer-Policy": "same-origin"}
    return HTMLResponse(html, status, headers=headers)


@cache
def _templates() -> Environment:
    return environment_of("tierflow.serve")


def _may_go_on(request: Request, access: Access) -> Callable[[], bool]:
    if request.state.how != "session":
        return lambda: True
    secret = cookie_of(headers_of(request.scope))
    return lambda: access.of_session(secret) is not None


def _told(_request: Request, error: Exception) -> Answer:
    if not isinstance(error, TierflowError):
        raise error
    status = live_api.status_of_error(error)
    headers = {"Retry-After": "5"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return JSONResponse({"detail": printable_lines(str(error))}, status, headers=headers)


def _failed(request: Request, error: Exception) -> Answer:
    traceback.print_exception(error)
    setattr(request.state, TOLD, True)
    return PlainTextResponse(f"{INTERNAL}\n", HTTPStatus.INTERNAL_SERVER_ERROR)


def _refused(_request: Request, error: Exception) -> Answer:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"detail": error.detail}, error.status_code, headers=error.headers)


def _misunderstood(_request: Request, error: Exception) -> Answer:
    if not isinstance(error, RequestValidationError):
        raise error
    # What was sent isn't repeated.
    told = [{"where": [str(part) for part in each["loc"]], "problem": each["msg"]} for each in error.errors()]
    return JSONResponse({"detail": "the request doesn't fit; see /docs", "problems": told}, 422)


def printable_lines(text: str) -> str:
    """Return text of which every character but line breaks is visible."""
    return "\n".join(printable(line) for line in text.split("\n"))


class _Plain:
    """Pages, pictures and figures that only GET reads: `App`, in threads.

    Args:
        app: What answers.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._limiter: anyio.CapacityLimiter | None = None

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer a request."""
        query = scope["query_string"]
        target = (scope["raw_path"] + (b"?" + query if query else b"")).decode("latin-1")
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(THREADS)
        found = await anyio.to_thread.run_sync(
            self._app.respond, scope["method"], target, headers_of(scope), limiter=self._limiter
        )
        await _sent(found, Request(scope, receive), send)


async def _sent(found: Response, request: Request, send: Send) -> None:
    headers = [(name.encode(), value.encode()) for name, value in found.headers.items()]
    length = found.length if found.file else len(found.content)
    if found.status != HTTPStatus.NOT_MODIFIED:
        headers.append((b"Content-Length", str(length).encode()))
    has_content = request.method != "HEAD" and found.status != HTTPStatus.NOT_MODIFIED
    await send({"type": "http.response.start", "status": found.status.value, "headers": headers})
    if found.file is None:
        await send({"type": "http.response.body", "body": found.content if has_content else b""})
        return
    with found.file as file:
        while has_content and not await request.is_disconnected():
            part = await anyio.to_thread.run_sync(file.read, COPY_BYTES)
            if not part:
                break
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

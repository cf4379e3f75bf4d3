"""What stands before every answer: bounds on requests, who asks, and the headers that all answers carry."""

from __future__ import annotations

import traceback
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request

from tierflow.serve.access import Access, Person, Role
from tierflow.serve.app import LOOPBACK_NAMES, SECURITY_HEADERS, name_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Any, Receive, Send], Awaitable[None]]

COOKIE = "tierflow_session"
ACTION_HEADER = "x-tierflow-action"
"""Pages of other servers can't send it without asking first, which is never allowed."""
MAX_BODY = 262_144
MAX_HEAD = 16_384
MAX_TARGET = 4_000
OPEN = frozenset({"/healthz", "/livez", "/readyz", "/login", "/static/live.css", "/static/icon.svg"})
"""What everyone may ask for: nothing in it tells of data."""
INTERNAL = "internal error: see what the server printed"
TOLD = "told"
"""Name of the mark in the state of a request whose failure was printed."""
_SAFE = frozenset({"GET", "HEAD"})


class Guard:
    """Wraps an application.

    Args:
        application: What answers.
        access: Who may do what.
        loopback_only: Whether requests must name this machine as loopback: then no page of the internet can make a
            browser here read from it by giving its own name our address.
    """

    def __init__(self, application: Application, *, access: Access, loopback_only: bool) -> None:
        self._application = application
        self._access = access
        self._loopback_only = loopback_only

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = _completed(message.get("headers", []))
            await send(message)

        try:
            refused = self._refused(scope)
            if refused is None:
                await self._application(scope, receive, sent)
            else:
                await _plain(sent, *refused)
        except Exception:
            if not scope.get("state", {}).get(TOLD):
                traceback.print_exc()
            if not begun:
                await _plain(sent, HTTPStatus.INTERNAL_SERVER_ERROR, INTERNAL)

    def _refused(self, scope: Any) -> tuple[HTTPStatus, str] | tuple[HTTPStatus, str, dict[str, str]] | None:
        headers = headers_of(scope)
        if self._loopback_only and name_of(headers.get("host", "")) not in LOOPBACK_NAMES:
            return HTTPStatus.MISDIRECTED_REQUEST, "open this server as http://127.0.0.1 or http://localhost"
        if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) + len(scope["raw_path"]) > MAX_HEAD:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the head of the request is too long"
        if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_TARGET:
            return HTTPStatus.REQUEST_URI_TOO_LONG, "the address is too long"
        if too_much := _body_problem(scope["method"], headers):
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_much
        person, how = self._person(headers)
        scope.setdefault("state", {}).update(person=person, how=how)
        if person.role >= Role.VIEWER or scope["path"] in OPEN:
            return None
        if scope["method"] in _SAFE and how != "bearer" and "text/html" in headers.get("accept", ""):
            return HTTPStatus.SEE_OTHER, "log in first", {"Location": "/login"}
        return HTTPStatus.UNAUTHORIZED, "log in at /login, or send a token as a bearer", {"WWW-Authenticate": "Bearer"}

    def _person(self, headers: dict[str, str]) -> tuple[Person, str]:
        """Return who asks, and by what we know."""
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind:
            known = self._access.of_token(token.strip()) if kind.lower() == "bearer" else None
            return known or Person("", Role.NOBODY), "bearer"
        session = self._access.of_session(cookie_of(headers))
        return (session, "session") if session else (self._access.nobody, "none")


def needs(role: Role) -> Any:
    """Return a dependency that lets only that role through, and no request that a page of another server has made."""

    def check(request: Request) -> Person:
        person: Person = request.state.person
        if person.role < role:
            status = HTTPStatus.FORBIDDEN if person.name else HTTPStatus.UNAUTHORIZED
            who = f"{person.name} is {person.role.word}" if person.name else "nobody has logged in"
            raise HTTPException(status, f"{who}: this needs the role {role.word}")
        if request.method not in _SAFE and request.state.how != "bearer":
            check_origin(request)
        return person

    return Depends(check)


def check_origin(request: Request, *, form: bool = False) -> None:
    """Refuse what a page of another server made a browser send.

    Args:
        request: The request.
        form: Whether it comes from a form of ours, which can't send a header of its own.

    Raises:
        HTTPException: 403.
    """
    origin = urlsplit(request.headers.get("origin", "")).netloc
    own = request.headers.get("host", "")
    if not origin or origin.lower() != own.lower() or not (form or request.headers.get(ACTION_HEADER)):
        raise HTTPException(HTTPStatus.FORBIDDEN, "this must come from a page of this server, or bear a token")


def headers_of(scope: Any) -> dict[str, str]:
    """Return the request headers of a scope, names in lower case."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def cookie_of(headers: dict[str, str]) -> str:
    """Return the secret of the session that a browser shows, "" without any."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _body_problem(method: str, headers: dict[str, str]) -> str:
    length = headers.get("content-length", "0")
    if headers.get("transfer-encoding"):
        return "content must come with its length"
    if method in _SAFE and length != "0":
        return "a request must have no content"
    if not length.isascii() or not length.isdigit() or int(length) > MAX_BODY:
        return f"content is {length[:20]!r} bytes long, at most {MAX_BODY} are read"
    return ""


def _completed(headers: Any) -> list[tuple[bytes, bytes]]:
    own = [(bytes(name), bytes(value)) for name, value in headers]
    known = {name.lower() for name, _ in own}
    more = {**SECURITY_HEADERS, "Connection": "close"}
    return own + [(name.encode(), value.encode()) for name, value in more.items() if name.lower().encode() not in known]


async def _plain(send: Send, status: HTTPStatus, words: str, more: dict[str, str] | None = None) -> None:
    content = f"{words}\n".encode()
    headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(content)), **(more or {})}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status.value, "headers": pairs})
    await send({"type": "http.response.body", "body": content})

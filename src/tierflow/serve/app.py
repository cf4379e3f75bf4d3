"""What is answered to requests for pages, pictures and figures: routes, caching, headers. Knows nothing of sockets."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, BinaryIO

from tierflow import metrics
from tierflow.catalogue.provenance import UNNAMED_RUN
from tierflow.errors import TierflowError
from tierflow.receipts import run_state
from tierflow.serve.placeholder import placeholder
from tierflow.serve.start import StartPage
from tierflow.serve.thumbnails import Thumbnails
from tierflow.stream.metrics_stream import stream_exposition
from tierflow.stream.status import status_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from tierflow.serve.site import Run, Site

MAX_TARGET = 200
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
RETRY_S = "5"

_THUMBNAIL = re.compile(r"/thumbnail/([0-9a-f]{32})\.png")
_REPORT = re.compile(r"/report/([1-9][0-9]{0,5})(/|/objects\.csv)?")
NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": NOTHING,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""What every answer carries."""
# The report names the only script that may run in a policy of its own; the sandbox keeps it apart from other pages.
_REPORT_POLICY = (
    f"{NOTHING}; sandbox allow-scripts allow-downloads; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'"
)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer.

    Attributes:
        status: HTTP status.
        content: What is sent, where it is in memory.
        file: What is sent, where it is an open file; the receiver closes it.
        length: Bytes of the file.
        headers: Headers but for the length.
    """

    status: HTTPStatus
    content: bytes = b""
    file: BinaryIO | None = None
    length: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


class App:
    """Answers requests; safe between threads.

    Args:
        site: The runs.
        loopback_only: Whether requests must name this machine as loopback: then no page of the internet can make a
            browser here read from it by giving its own name our address.
    """

    def __init__(self, site: Site, *, loopback_only: bool) -> None:
        self._site = site
        self._loopback_only = loopback_only
        self._thumbnails = Thumbnails(site)
        self._start = StartPage(site)

    def respond(self, method: str, target: str, headers: Mapping[str, str]) -> Response:
        """Answer a request.

        Args:
            method: Such as `GET`.
            target: Path and query as sent. It is compared with known ones and never becomes the name of a file.
            headers: Request headers; names in lower case.
        """
        if method not in ("GET", "HEAD"):
            refused = text(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD: nothing can be changed at this address")
            return replace(refused, headers={**refused.headers, "Allow": "GET, HEAD"})
        if len(target) > MAX_TARGET:
            return text(HTTPStatus.REQUEST_URI_TOO_LONG, "the address is too long")
        if headers.get("transfer-encoding") or headers.get("content-length", "0") != "0":
            return text(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a request must have no content")
        if self._loopback_only and name_of(headers.get("host", "")) not in LOOPBACK_NAMES:
            return text(HTTPStatus.MISDIRECTED_REQUEST, "open this server as http://127.0.0.1 or http://localhost")
        return self._route(target.partition("?")[0], headers)

    def _route(self, path: str, headers: Mapping[str, str]) -> Response:
        if path == "/":
            return page(self._start.html(), policy=self._start.policy)
        if path == "/healthz":
            return text(HTTPStatus.OK, "ok")
        if path == "/metrics":
            return self._metrics()
        if found := _THUMBNAIL.fullmatch(path):
            return self._thumbnail(found[1], headers)
        if found := _REPORT.fullmatch(path):
            return self._report(int(found[1]), found[2] or "", headers)
        if path.startswith("/thumbnail/"):
            return picture(HTTPStatus.NOT_FOUND, placeholder("no object id"))
        return text(HTTPStatus.NOT_FOUND, "there is nothing here; / shows what there is")

    def _thumbnail(self, object_id: str, headers: Mapping[str, str]) -> Response:
        asked = headers.get("if-none-match", "")
        found = self._thumbnails.get(object_id, known=lambda mark: _matches(asked, mark))
        if found.status != HTTPStatus.OK:
            return picture(found.status, found.content)
        # A file may be moved or replaced: browsers ask again after a while, which costs no decoding.
        caching = {"ETag": f'"{found.mark}"', "Cache-Control": "private, max-age=300"}
        status = HTTPStatus.OK if found.content else HTTPStatus.NOT_MODIFIED
        return picture(status, found.content, caching)

    def _report(self, number: int, rest: str, headers: Mapping[str, str]) -> Response:
        run = self._site.run(number)
        if run is None:
            return text(HTTPStatus.NOT_FOUND, f"there is no run {number}; / shows which there are")
        if not rest:
            return Response(HTTPStatus.PERMANENT_REDIRECT, headers=_headers({"Location": f"/report/{number}/"}))
        if rest == "/":
            kind = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": _REPORT_POLICY}
            return _file(run.output / "report.html", headers, kind)
        name = {"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": 'attachment; filename="objects.csv"'}
        return _file(run.output / "objects.csv", headers, name)

    def _metrics(self) -> Response:
        runs = self._site.runs()
        content = metrics.exposition(map(_state, runs), now=time.time())
        content += stream_exposition(_streams(runs))
        return Response(HTTPStatus.OK, content.encode(), headers=_headers({"Content-Type": metrics.CONTENT_TYPE}))


def _state(run: Run) -> metrics.RunState:
    try:
        return run_state(run.output)
    except TierflowError:
        # One run that can't be read mustn't hide the others.
        return metrics.RunState(run=run.output.name, publishes=False, unreadable=1)


def _streams(runs: Iterable[Run]) -> Iterator[tuple[str, dict[str, Any]]]:
    for run in runs:
        # A stream whose ledger can't be read now has no figures; that it is so, `/readyz` says.
        with suppress(TierflowError, sqlite3.Error):
            if run.has_stream:
                yield run.config().catalogue.run or UNNAMED_RUN, status_of(run.output)


def text(status: HTTPStatus, words: str) -> Response:
    """Answer with a line of text."""
    retry = {"Retry-After": RETRY_S} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return Response(
        status, f"{words}\n".encode(), headers=_headers({"Content-Type": "text/plain; charset=utf-8"} | retry)
    )


def page(html: str, *, policy: str) -> Response:
    """Answer with a page; `policy` names what it may load besides nothing."""
    kind = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": f"{NOTHING}; {policy}"}
    return Response(HTTPStatus.OK, html.encode("utf-8", "backslashreplace"), headers=_headers(kind))


def picture(status: HTTPStatus, content: bytes, more: Mapping[str, str] | None = None) -> Response:
    """Answer with a PNG that pages of other servers, such as Kibana, may show."""
    retry = {"Retry-After": RETRY_S} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    kind = {"Content-Type": "image/png", "Cross-Origin-Resource-Policy": "cross-origin", **retry, **(more or {})}
    return Response(status, content, headers=_headers(kind))


def _file(path: Path, asked: Mapping[str, str], kind: Mapping[str, str]) -> Response:
    try:
        handle = path.open("rb")
    except OSError:
        return text(HTTPStatus.NOT_FOUND, f"this run has no {path.name} yet, or it can't be read")
    found = os.fstat(handle.fileno())
    mark = f"{found.st_mtime_ns:x}-{found.st_size:x}"
    headers = _headers({**kind, "ETag": f'"{mark}"', "Cache-Control": "private, no-cache"})
    if _matches(asked.get("if-none-match", ""), mark):
        handle.close()
        return Response(HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(HTTPStatus.OK, file=handle, length=found.st_size, headers=headers)


def _headers(own: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of every answer, with an answer's own over them."""
    return {**SECURITY_HEADERS, **own}


def _matches(asked: str, mark: str) -> bool:
    return any(each.strip().removeprefix("W/") in (f'"{mark}"', "*") for each in asked.split(","))


def name_of(host: str) -> str:
    """Return the name in a Host header without its port, in lower case.

    >>> name_of("[::1]:8600"), name_of("LOCALHOST:8600"), name_of("example.org")
    ('[::1]', 'localhost', 'example.org')
    """
    return re.sub(r":[0-9]{1,5}$", "", host).lower()

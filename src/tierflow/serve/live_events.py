"""Server-sent events of a stream: its status whenever it changes, and its news from where the reader has left."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tierflow.errors import TierflowError
from tierflow.serve.listen import STREAMING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tierflow.serve.guard import Receive, Send
    from tierflow.serve.live_data import Live

MOST_READERS = 24
LOOK_S = 0.5
HEARTBEAT_S = 10.0
SEND_S = 20.0
"""A reader that takes nothing for so long has gone."""
LONGEST_S = 3600.0
"""After so long a reader begins anew: it says again where it has left, and who it is."""


class Readers:
    """Counts those who read events, and tells them when the server ends."""

    def __init__(self) -> None:
        self.open = 0
        self.ended = False

    def end(self) -> None:
        """Let all of them end."""
        self.ended = True

    def has_room(self) -> bool:
        """Whether another one may come."""
        return self.open < MOST_READERS and not self.ended


class Events(Response):
    """An answer that lasts.

    Args:
        live: The stream.
        after: Number of the last news that the reader has; None: from now on.
        readers: The count of readers.
        may: Whether the reader may still read: sessions end.
    """

    def __init__(self, live: Live, *, after: int | None, readers: Readers, may: Callable[[], bool]) -> None:
        self._live, self._after, self._readers, self._may = live, after, readers, may
        self._told = ""
        super().__init__(media_type="text/event-stream")

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Tell events until the reader or the server ends."""
        scope.setdefault("state", {})[STREAMING] = True
        self._readers.open += 1
        gone = asyncio.ensure_future(_gone(receive))
        try:
            headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await _send(send, "retry: 2000\n\n")
            await self._tell(gone, send)
            await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            return
        finally:
            self._readers.open -= 1
            gone.cancel()

    async def _tell(self, gone: asyncio.Future[None], send: Send) -> None:
        begin = last = time.monotonic()
        while not gone.done() and not self._readers.ended and time.monotonic() - begin < LONGEST_S and self._may():
            content = await run_in_threadpool(self._look)
            if content:
                last = time.monotonic()
            elif time.monotonic() - last > HEARTBEAT_S:
                content, last = ": beat\n\n", time.monotonic()
            await _send(send, content)
            await asyncio.wait({gone}, timeout=LOOK_S)

    def _look(self) -> str:
        try:
            status = self._live.status()
            self._after, news = self._live.news(self._after)
        except (TierflowError, sqlite3.Error) as error:
            return self._once(event("problem", {"problem": str(error)}))
        told = self._once(event("status", status))
        return told + (event("news", news, number=self._after) if news else "")

    def _once(self, content: str) -> str:
        if content == self._told:
            return ""
        self._told = content
        return content


def event(name: str, data: object, *, number: int | None = None) -> str:
    r"""Return one event; JSON has no line breaks, so nothing in it can look like another event.

    >>> event("news", ["a\n\ndata: b"], number=7)
    'id: 7\nevent: news\ndata: ["a\\n\\ndata: b"]\n\n'
    """
    mark = "" if number is None else f"id: {number}\n"
    return f"{mark}event: {name}\ndata: {json.dumps(data)}\n\n"


async def _send(send: Send, content: str) -> None:
    if content:
        async with asyncio.timeout(SEND_S):
            await send({"type": "http.response.body", "body": content.encode(), "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

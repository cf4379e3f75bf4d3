"""The sockets: uvicorn with bounds on connections, time and sizes, so that slow or rude clients can't hold it."""

from __future__ import annotations

import errno
import ipaddress
import signal
import socket
import sys
import threading
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from tierflow.errors import ConfigError
from tierflow.serve.app import Response, text
from tierflow.serve.guard import MAX_HEAD

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator
    from types import FrameType

CONNECTIONS = 96
"""Open connections, those of live pages included; others are told to come back."""
SILENCE_S = 10.0
"""How long a connection may take to send the head of its request."""
PATIENCE_S = 60.0
"""How long a request may take in all, from the connection to the last byte of the answer; only events last longer."""
FAREWELL_S = 3.0
"""How long answers under way may go on after Ctrl+C."""
STREAMING = "streaming"
"""Name of the mark in the state of a request whose answer lasts."""
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Connection(H11Protocol):
    """One connection: a request and its answer, within bounds of time and size."""

    _timers: tuple[asyncio.TimerHandle, ...] = ()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, or refuse at once when too many are open."""
        if len(self.connections) >= CONNECTIONS:
            self.transport = transport
            transport.write(_BUSY)
            transport.close()
            return
        super().connection_made(transport)
        self._timers = (
            self.loop.call_later(SILENCE_S, self._cut_if_silent),
            self.loop.call_later(PATIENCE_S, self._cut_if_slow),
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        for timer in self._timers:
            timer.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - what the library says names itself
        """Answer a request that can't be understood as every other answer, without repeating what was sent."""
        hint = getattr(sys.exception(), "error_status_hint", 400)
        status = HTTPStatus(hint if hint >= HTTPStatus.BAD_REQUEST else 400)
        answer = text(status, status.phrase.lower())
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(_raw(answer))
        self.transport.close()

    def _cut_if_silent(self) -> None:
        if self.cycle is None:
            self.transport.abort()

    def _cut_if_slow(self) -> None:
        # Before the head of a request there is no scope.
        scope: Any = self.scope
        if scope is None or not scope.get("state", {}).get(STREAMING):
            self.transport.abort()


def _raw(answer: Response) -> bytes:
    headers = {
        **answer.headers,
        "Server": "tierflow",
        "Content-Length": str(len(answer.content)),
        "Connection": "close",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n{head}\r\n".encode() + answer.content


class Server(uvicorn.Server):
    """Listens and answers until `stop`, Ctrl+C, or the end of its container.

    Args:
        application: What answers, an ASGI application.
        host: Address to listen on.
        port: Port; 0 takes a free one.
        stopping: Called when the end begins: answers that last must come to theirs.

    Raises:
        ConfigError: if that address can't be listened on.
    """

    def __init__(self, application: Any, *, host: str, port: int, stopping: Callable[[], None]) -> None:
        self._socket = _bound(host, port)
        self._stopping = stopping
        self._started: Callable[[], None] = lambda: None
        super().__init__(
            uvicorn.Config(
                application,
                loop="asyncio",
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                headers=[("Server", "tierflow")],
                proxy_headers=False,
                h11_max_incomplete_event_size=MAX_HEAD,
                timeout_keep_alive=1,
                timeout_graceful_shutdown=int(FAREWELL_S),
            )
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        """The address to open in a browser."""
        name = str(self._socket.getsockname()[0])
        return f"http://[{name}]:{self.port}/" if ":" in name else f"http://{name}:{self.port}/"

    def listen(self, *, started: Callable[[], None] = lambda: None) -> None:
        """Answer until the end.

        Args:
            started: Called once requests are answered, and Ctrl+C ends the server in good order.
        """
        self._started = started
        self.run(sockets=[self._socket])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        self._started()

    def close(self) -> None:
        """Leave the address; needed where `listen` was never called."""
        self._socket.close()

    def stop(self) -> None:
        """Begin the end; may be called from any thread."""
        self._stopping()
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let Ctrl+C and the end of a container end the server in good order: not as if it had been killed."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {name: signal.signal(name, self.handle_exit) for name in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """End; at once when asked twice."""
        self.force_exit = self.should_exit
        self.stop()


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _bound(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65_535:
        raise ConfigError(f"--port {port}: expected 0 to 65535, such as 8600")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _explained(error, host, port) from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(64)
    except OSError as error:
        bound.close()
        raise _explained(error, host, port) from error
    return bound


def _explained(error: OSError, host: str, port: int) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(f"port {port} of {host} is in use: end the other program, or give another --port")
    if error.errno in (errno.EACCES, errno.EPERM):
        return ConfigError(f"port {port} may not be used by this user: give a --port of 1024 or more, such as 8600")
    return ConfigError(
        f"can't listen on {host!r} ({error.strerror or error}): give an address of this machine to --host, "
        "such as 127.0.0.1"
    )

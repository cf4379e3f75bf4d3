"""The sockets: a server of the standard library with bounds on threads, time and sizes."""

from __future__ import annotations

import errno
import ipaddress
import shutil
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from http import HTTPStatus
from http.client import LineTooLong
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any, BinaryIO

from tierflow.errors import ConfigError
from tierflow.serve.app import App, Response, text

if TYPE_CHECKING:
    from tierflow.serve.site import Site

THREADS = 32
SILENCE_S = 10.0
"""How long a connection may say nothing."""
PATIENCE_S = 60.0
"""How long a request may take in all, from the connection to the last byte of the answer."""
MAX_HEAD = 16_384
COPY_BYTES = 1 << 18
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")


class Server(ThreadingHTTPServer):
    """Listens, and answers each connection in a thread of its own; there are never more than `THREADS` of them.

    Args:
        site: The runs.
        host: Address to listen on.
        port: Port; 0 takes a free one.

    Raises:
        ConfigError: if that address can't be listened on.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, site: Site, *, host: str, port: int) -> None:
        family, address = _address(host, port)
        self.address_family = family
        self.app = App(site, loopback_only=is_loopback(host))
        self._places = threading.BoundedSemaphore(THREADS)
        self._open: dict[socket.socket, float] = {}
        self._open_lock = threading.Lock()
        try:
            super().__init__(address, Handler)
        except OSError as error:
            raise _explained(error, host, port) from error

    def server_bind(self) -> None:
        """Bind without asking the network for this machine's name, as the standard server does."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    @property
    def url(self) -> str:
        """The address to open in a browser."""
        name = f"[{self.server_name}]" if ":" in self.server_name else self.server_name
        return f"http://{name}:{self.server_port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread, or refuse it at once when all are busy."""
        if not self._places.acquire(blocking=False):
            with suppress(OSError):
                request.setblocking(False)
                request.send(_BUSY)
            self.shutdown_request(request)
            return
        with self._open_lock:
            self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection; its place is free afterwards whatever happens."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._open_lock:
                self._open.pop(request, None)
            self._places.release()

    def service_actions(self) -> None:
        """Cut connections that take too long, such as those that send a byte now and then to hold a thread."""
        limit = time.monotonic() - PATIENCE_S
        with self._open_lock:
            for connection in [each for each, since in self._open.items() if since < limit]:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Say what went wrong; a client that has gone away is no error."""
        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()


class Handler(BaseHTTPRequestHandler):
    """Reads one request of a connection and sends the answer."""

    protocol_version = "HTTP/1.1"
    timeout = SILENCE_S
    server: Server
    # Known only when a request was read, and wanted by the standard library before.
    command = requestline = ""

    def setup(self) -> None:
        """Bound what is read of a connection."""
        super().setup()
        self.rfile: Any = _Head(self.rfile)

    def answer(self) -> None:
        """Answer the request that was read."""
        # Connections aren't kept: then one bound on time and one on size holds for every request.
        self.close_connection = True
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            response = self.server.app.respond(self.command, self.path, headers)
        except Exception:
            traceback.print_exc()
            response = text(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error: see what the server printed")
        self._send(response)

    def handle(self) -> None:
        """Read the request and answer it."""
        try:
            super().handle()
        except LineTooLong:
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def send_error(self, code: int, *_told: object, **_more: object) -> None:
        """Answer a request that can't be understood, as every other answer: the standard one repeats what was sent."""
        self.close_connection = True
        status = HTTPStatus(code)
        self._send(text(status, status.phrase.lower()))

    def _send(self, response: Response) -> None:
        # To what it takes for HTTP/0.9, the standard server answers without any header.
        self.request_version = self.protocol_version
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if response.status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(response.length if response.file else len(response.content)))
        self.send_header("Connection", "close")
        self.end_headers()
        has_content = self.command != "HEAD" and response.status != HTTPStatus.NOT_MODIFIED
        if response.file is not None:
            with response.file as file:
                if has_content:
                    shutil.copyfileobj(file, self.wfile, COPY_BYTES)
        elif has_content:
            self.wfile.write(response.content)

    def version_string(self) -> str:
        """Name the program, not its version and not Python's."""
        return "tierflow"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: who looks at which picture is nobody's business."""


for _method in _METHODS:
    setattr(Handler, f"do_{_method}", Handler.answer)


class _Head:
    """The beginning of a connection, line by line, and no more than `MAX_HEAD` bytes of it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._left = MAX_HEAD

    def readline(self, size: int = -1) -> bytes:
        line = self._stream.readline(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(line)
        if self._left < 0:
            raise LineTooLong("request")
        return line

    def close(self) -> None:
        self._stream.close()


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _address(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    if not 0 <= port <= 65_535:
        raise ConfigError(f"--port {port}: expected 0 to 65535, such as 8600")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise _explained(error, host, port) from error
    return family, address


def _explained(error: OSError, host: str, port: int) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(f"port {port} of {host} is in use: end the other program, or give another --port")
    if error.errno in (errno.EACCES, errno.EPERM):
        return ConfigError(f"port {port} may not be used by this user: give a --port of 1024 or more, such as 8600")
    return ConfigError(
        f"can't listen on {host!r} ({error.strerror or error}): give an address of this machine to --host, "
        "such as 127.0.0.1"
    )

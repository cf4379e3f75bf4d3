"""A line to a server that can be cut: passes bytes on, or refuses everybody."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class CutProxy:
    """Listens on the loopback and passes connections on while it is whole.

    Args:
        host: Of the server.
        port: Its port.

    Attributes:
        url: Address of this end.
    """

    def __init__(self, host: str, port: int) -> None:
        self._there = (host, port)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._whole = True
        self._ending = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def cut(self) -> None:
        """End all connections and take no other."""
        with self._lock:
            self._whole = False
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Take connections again."""
        with self._lock:
            self._whole = True

    def close(self) -> None:
        """End it."""
        self.cut()
        self._ending = True
        # Wakes the thread that waits for somebody to come.
        with suppress(OSError), socket.create_connection(self._listener.getsockname(), timeout=5):
            pass
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            here, _ = self._listener.accept()
            if self._ending or not self._whole:
                here.close()
                if self._ending:
                    return
                continue
            try:
                there = socket.create_connection(self._there, timeout=20)
            except OSError:
                here.close()
                continue
            with self._lock:
                self._open |= {here, there}
            ends = [
                threading.Thread(target=self._pump, args=pair, daemon=True) for pair in ((here, there), (there, here))
            ]
            for end in ends:
                end.start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            with self._lock:
                if one in self._open and one is source:
                    self._open.discard(one)
                    one.close()


@contextmanager
def cut_proxy(host: str, port: int) -> Iterator[CutProxy]:
    """Run one; it is ended whatever happens."""
    proxy = CutProxy(host, port)
    try:
        yield proxy
    finally:
        proxy.close()

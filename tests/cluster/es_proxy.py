"""A TCP proxy in front of Elasticsearch that goes away for a while in the middle of a bulk request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

CHUNK = 65536
_BULK = b"/_bulk"


@dataclass
class Proxy:
    """A listening proxy.

    Attributes:
        port: Where it listens, on all addresses of this machine.
        outages: How often it went away.
    """

    host: str
    backend: int
    away_s: float
    port: int = 0
    outages: int = 0
    _server: asyncio.Server | None = None
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._take, "0.0.0.0", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._pass(reader, writer)
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(self.host, self.backend)
        back = asyncio.ensure_future(_pump(there_reader, writer))
        try:
            while data := await reader.read(CHUNK):
                there_writer.write(data)
                await there_writer.drain()
                if _BULK in data and not self.outages:
                    # The server has the documents; whoever sent them never hears of it.
                    self.outages += 1
                    asyncio.get_running_loop().create_task(self._outage())
                    await asyncio.sleep(self.away_s)
        finally:
            back.cancel()
            there_writer.transport.abort()

    async def _outage(self) -> None:
        await self.close()
        await asyncio.sleep(self.away_s)
        await self.listen()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()


@contextmanager
def failing_proxy(host: str, backend: int, *, away_s: float) -> Iterator[Proxy]:
    """Run a proxy in a thread that goes away once, when it has passed on the first bulk request.

    Args:
        host: Where the server is.
        backend: Its port.
        away_s: Seconds without anybody listening.
    """
    loop = asyncio.new_event_loop()
    proxy = Proxy(host, backend, away_s)
    loop.run_until_complete(proxy.listen())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(_end(proxy), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(proxy: Proxy) -> None:
    await proxy.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)

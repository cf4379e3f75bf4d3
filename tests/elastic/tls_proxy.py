"""A server that speaks TLS, in front of one that doesn't: terminates TLS on the loopback and passes the bytes on."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trustme

CHUNK = 65536


@dataclass(frozen=True)
class TlsProxy:
    """Where it listens, and what a client may know of it beforehand.

    Attributes:
        url: Its address.
        ca_file: Certificate of the authority that signed the proxy's, PEM.
        other_ca_file: Certificate of an authority that has nothing to do with it, PEM.
        fingerprint: SHA-256 of the proxy's certificate, in hex.
    """

    url: str
    ca_file: Path
    other_ca_file: Path
    fingerprint: str


@contextmanager
def tls_proxy(backend_port: int, folder: Path) -> Iterator[TlsProxy]:
    """Run a proxy in a thread, with certificates made now.

    Args:
        backend_port: Of the server on the loopback that speaks no TLS.
        folder: For the certificates.
    """
    authority, other = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    other.cert_pem.write_to_path(folder / "other-ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    with _listening(backend_port, context) as port:
        yield TlsProxy(
            url=f"https://127.0.0.1:{port}",
            ca_file=folder / "ca.pem",
            other_ca_file=folder / "other-ca.pem",
            fingerprint=hashlib.sha256(der).hexdigest(),
        )


@contextmanager
def _listening(backend_port: int, context: ssl.SSLContext) -> Iterator[int]:
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(partial(_pass, backend_port), "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_close(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _close(server: asyncio.Server) -> None:
    server.close()
    open_ones = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in open_ones:
        task.cancel()
    await asyncio.gather(*open_ones, return_exceptions=True)


async def _pass(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
    with suppress(asyncio.CancelledError):
        await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()
    target.close()
    with suppress(OSError):
        await target.wait_closed()

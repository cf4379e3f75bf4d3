"""`tierflow serve` and `tierflow metrics`: thumbnails and reports for browsers, figures for Prometheus."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

from cyclopts import Parameter

from tierflow.errors import ConfigError
from tierflow.io.atomic import write_text
from tierflow.metrics import exposition
from tierflow.receipts import run_state

Outputs = Annotated[list[Path], Parameter(help="Output folders of runs.", negative=())]


def serve(
    outputs: Annotated[
        list[Path],
        Parameter(help="Output folders of runs, or a folder of such folders; new runs in it appear by themselves."),
    ],
    /,
    *,
    host: Annotated[str, Parameter(help="Address to listen on; any but this machine's own lets others in.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, Parameter(help="Port to listen on; 0 takes a free one.")] = 8600,
) -> None:
    """Show thumbnails, reports and metrics in the browser until Ctrl+C. Nothing is written and nothing can be changed.

    Addresses: `/`, `/thumbnail/OBJECT_ID.png`, `/report/1/`, `/metrics`, `/healthz`.
    """
    # A command that only looks something up needn't wait for the web server's modules.
    from tierflow.serve.server import Server, is_loopback
    from tierflow.serve.site import Site

    with Server(Site(outputs), host=host, port=port) as server, _ended_by_signal(server.shutdown):
        if not is_loopback(host):
            sys.stderr.write(
                f"tierflow: everyone who can reach {host} port {server.server_port} can see all images and reports of "
                "these runs: there is no password. Use --host 127.0.0.1 to keep them to this machine.\n"
            )
        sys.stderr.write(f"tierflow: serving {server.url} until Ctrl+C\n")
        sys.stderr.flush()
        server.serve_forever(poll_interval=0.25)


@contextmanager
def _ended_by_signal(shutdown: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl+C and the end of a container end the server in good order."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        # `shutdown` waits for the loop that this very thread is in.
        threading.Thread(target=shutdown).start()

    before = {name: signal.signal(name, stop) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def metrics(
    outputs: Outputs,
    /,
    *,
    out: Annotated[
        Path | None,
        Parameter(help="File that ends with .prom, in the folder of node_exporter's textfile collector."),
    ] = None,
) -> None:
    """Print how far the publication of runs to a server has come, in Prometheus' text format."""
    if out is not None and out.suffix != ".prom":
        raise ConfigError(f"--out {out}: node_exporter reads only files that end with .prom; name it so")
    text = exposition([run_state(output) for output in outputs], now=time.time())
    if out is None:
        sys.stdout.write(text)
    else:
        write_text(out, text)

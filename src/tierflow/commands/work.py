"""`tierflow work`: measure for a stream that is watched elsewhere."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from tierflow.stream.work import work as carry_out
from tierflow.stream.work import work_once
from tierflow.stream.workers import default_workers


def work(
    output: Annotated[Path, Parameter(help="Output folder of the stream, as this machine sees it.")],
    /,
    *,
    workers: Annotated[
        int | None, Parameter(help="Processes; one per core without it.", validator=Number(gte=1))
    ] = None,
    wait_for_stream: Annotated[bool, Parameter(negative=(), help="Wait for a stream that hasn't begun yet.")] = False,
    idle_exit_s: Annotated[
        float | None, Parameter(help="End when nothing was offered for so many seconds.", validator=Number(gt=0))
    ] = None,
    offer: Annotated[
        int | None, Parameter(help="Only this offer, which was claimed for this process; for engines.", show=False)
    ] = None,
) -> None:
    """Measure micro-batches that `tierflow watch` offers to others (stream.batches.where: outside).

    Images must be reached under the same path as by the watching process. Any number of these may come and go; one that
    is killed loses nothing. Ctrl-C finishes what is being measured.
    """
    if offer is not None:
        if not work_once(output.absolute(), offer):
            sys.stderr.write(f"tierflow: offer {offer} was taken back by the watching process: nothing is left to do\n")
        return
    stop = threading.Event()
    before = {name: signal.signal(name, lambda *_: stop.set()) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        done = carry_out(
            output.absolute(),
            size=workers or default_workers(),
            idle_exit_s=idle_exit_s,
            wait=wait_for_stream,
            stop=stop,
        )
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
    sys.stderr.write(f"tierflow: {done} micro-batches measured\n")

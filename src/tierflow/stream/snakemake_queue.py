"""What Snakemake's `from_queue` gets: batches of a stream that were claimed for it."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING

from tierflow.stream import offers
from tierflow.stream.ledger import Ledger
from tierflow.stream.status import service_state

if TYPE_CHECKING:
    from collections.abc import Callable

END = ""
"""What the queue holds last."""

_LOOK_S = 0.2
_ASK_S = 2.0


def feed(target: Callable[[int], str], *, most: int, output: Path = Path()) -> Queue[str]:
    """Return a queue of targets that fills as batches are offered.

    A file whose source vanished ends Snakemake's queue, even with `--keep-going`: only batches that were claimed go in.
    Snakemake gets slower with every target that is done, so there is an end; begin it again then.

    Args:
        target: Makes a target of a batch's number.
        most: Number of batches after which the queue ends. It also ends when nobody watches any more.
        output: Output folder of the stream.
    """
    queue: Queue[str] = Queue()
    threading.Thread(target=_fill, args=(queue, target, most, output.absolute()), daemon=True).start()
    return queue


def _fill(queue: Queue[str], target: Callable[[int], str], most: int, output: Path) -> None:
    claimed: set[int] = set()
    asked_at, fed = 0.0, 0
    while fed < most or claimed:
        if fed < most and (found := offers.claim(output)) is not None:
            claimed.add(found.batch)
            queue.put(target(found.batch))
            fed += 1
            continue
        # Until its turn has come, nobody else says that a batch is alive.
        claimed = {batch for batch in claimed if offers.beat(output, batch)}
        if time.monotonic() - asked_at > _ASK_S and not claimed:
            asked_at = time.monotonic()
            if not _is_watched(output):
                break
        time.sleep(_LOOK_S)
    queue.put(END)


def _is_watched(output: Path) -> bool:
    with closing(Ledger(output, read_only=True)) as ledger:
        return service_state(ledger.fact("service"), now=time.time())["state"] not in ("stopped", "dead")

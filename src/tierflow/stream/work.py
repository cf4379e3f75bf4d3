"""The other side of an offer: measure batches of a stream whose watching process runs elsewhere."""

from __future__ import annotations

import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from tierflow.errors import InputMissingError, TierflowError, exit_code_of
from tierflow.render.snakemake import CONFIG_FILE
from tierflow.steps.extract import run as extract
from tierflow.stream import offers
from tierflow.stream.workers import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BEAT_S = 1.0
_LOOK_S = 0.1


def work(output: Path, *, size: int, hang_s: float, idle_exit_s: float | None, stop: threading.Event) -> int:
    """Measure what is offered until told to stop; batches in hand are finished.

    Args:
        output: Output folder of the stream, as this machine sees it.
        size: Processes.
        hang_s: Seconds of silence after which a process is ended.
        idle_exit_s: Return when nothing was offered for so long; None: never.
        stop: Set to end.

    Returns:
        Number of batches measured.

    Raises:
        InputMissingError: if the output holds no run.
        TierflowError: if processes can't be started here.
    """
    config = output / CONFIG_FILE
    if not config.exists():
        raise InputMissingError(f"{output} holds no stream: begin one with `tierflow watch INPUT --output {output}`")
    done, idle_since = 0, time.monotonic()
    said = threading.Event()
    known = config.read_bytes()
    pool = Pool(config, output, size=size, hang_s=hang_s, wake=said.set)
    with closing(pool):
        pool.start()
        while True:
            for event in pool.events():
                if event.batch is not None:
                    done += event.kind == "done"
                    offers.answer(output, event.batch, {event.kind: event.batch, **event.detail})
            busy = [number for number, _, _ in pool.busy()]
            if config.read_bytes() != known:
                # Processes have read the former one. Whoever started us starts us again.
                stop.set()
            if stop.is_set() and not busy:
                return done
            idle_since = time.monotonic() if busy else idle_since
            if not stop.is_set():
                _claim(output, pool)
            if idle_exit_s is not None and not busy and time.monotonic() - idle_since > idle_exit_s:
                return done
            for number in busy:
                offers.beat(output, number)
            said.wait(_LOOK_S)
            said.clear()


def work_once(output: Path, batch: int) -> None:
    """Measure one batch that was claimed for this process, and answer; for engines that begin a process per batch.

    Raises:
        InputMissingError: if the batch was taken back.
        TierflowError: as the step `extract` does; that was answered, too.
    """
    claimed = offers.read_claim(output, batch)
    if claimed is None:
        raise InputMissingError(f"batch {batch} was taken back by the watching process: nothing is left to do")
    started = time.perf_counter()
    with _beating(output, batch):
        try:
            extract(shard=output / claimed.shard, config=output / CONFIG_FILE, table=output / claimed.table)
        except (TierflowError, OSError) as error:
            said: dict[str, Any] = {"failed": batch, "code": exit_code_of(error), "message": str(error)}
            offers.answer(output, batch, said | {"seconds": time.perf_counter() - started})
            raise
    offers.answer(output, batch, {"done": batch, "seconds": time.perf_counter() - started})


def _claim(output: Path, pool: Pool) -> None:
    while pool.idle():
        claimed = offers.claim(output)
        if claimed is None:
            return
        paths = {"shard": output / claimed.shard, "table": output / claimed.table}
        if not pool.send(claimed.batch, **paths):
            offers.answer(output, claimed.batch, {"died": claimed.batch, "message": "the worker died before it began"})


@contextmanager
def _beating(output: Path, batch: int) -> Iterator[None]:
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(BEAT_S):
            offers.beat(output, batch)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()

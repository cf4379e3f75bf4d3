"""Before a stream begins: its output is its own, is configured, and fits what is in it already."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from tierflow.config_io import load, write
from tierflow.errors import ConfigError, TierflowError, TryAgainError
from tierflow.io.atomic import write_text
from tierflow.lock import run_lock
from tierflow.output_folder import clear_state, remove_leftovers, require_room
from tierflow.render.snakemake import CONFIG_FILE, Workflow
from tierflow.stream.ledger import Ledger
from tierflow.stream.status import service_state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tierflow.config import Config

_FIXED = ("input", "dataset", "extract")
"""Sections that say which objects there are and what is measured: one output has one of each."""


@contextmanager
def own_output(output: Path) -> Iterator[None]:
    """Hold the lock of an output folder, which is made if need be.

    Raises:
        TryAgainError: if another watcher, or a run, holds it; the message says which.
        ConfigError: if the folder can't be made or written to.
    """
    require_room(output)
    with ExitStack() as stack:
        try:
            stack.enter_context(run_lock(output))
        except TryAgainError as error:
            raise TryAgainError(_who_holds(output) or str(error)) from error
        yield


def configure(config: Config, output: Path) -> None:
    """Write the configuration of a stream, and what makes results of steps out of date, as for a run.

    The settings file of `scan` is left alone: it stands for the listing of the input, which is the watcher's.

    Raises:
        ConfigError: if the output holds results of other images, or other measurements.
        InputMissingError: if the table of metadata isn't there.
    """
    from tierflow.scoring.check import check

    check(config)
    _require_same(config, output)
    clear_state(output)
    remove_leftovers(output)
    write(output / CONFIG_FILE, config)
    workflow = Workflow(config=config, output=output)
    for step, name in workflow.settings_files.items():
        path = output / name
        if step != "scan":
            digest = workflow.settings(step)
            if not path.exists() or path.read_text(encoding="utf-8") != digest:
                write_text(path, digest)


def _require_same(config: Config, output: Path) -> None:
    path = output / CONFIG_FILE
    if not path.exists() or next((output / "scan" / "shards").glob("[0-9]*.parquet"), None) is None:
        return
    former = load(path)
    for section in _FIXED:
        before, now = (getattr(one, section) for one in (former, config))
        if section == "dataset":
            before, now = former.dataset_name, config.dataset_name
        if before != now:
            shown = f"was {before!r}, is now {now!r}" if section != "extract" else "has changed"
            raise ConfigError(
                f"{output} holds objects of another configuration: `{section}` {shown}. Give another --output, or the "
                "former configuration; `tierflow run` with the new one measures everything there anew"
            )


def _who_holds(output: Path) -> str | None:
    try:
        with closing(Ledger(output, read_only=True)) as ledger:
            fact = service_state(ledger.fact("service"), now=time.time())
    except TierflowError:
        return None
    if fact["state"] in ("stopped", "dead"):
        return None
    return (
        f"{output} is in use by another `tierflow watch` (process {fact.get('pid')} on {fact.get('host')}), which "
        f"watches {fact.get('input')}: one watcher per output. `tierflow status {output}` shows how it stands, "
        f"`tierflow drain {output}` ends it when all is done; or give another --output"
    )

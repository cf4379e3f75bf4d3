"""After a stop of any kind: unfinished micro-batches are finished or given back, and a lost ledger is made anew."""

from __future__ import annotations

import logging
import shutil
from contextlib import closing
from typing import TYPE_CHECKING, Protocol

from tierflow import config_io
from tierflow.errors import EXIT_CONFIG, EXIT_TRY_AGAIN, InputMissingError, TableError, exit_code_of
from tierflow.stream.batch import BATCHES, LEDGER, Batch, batch_folder
from tierflow.stream.failures import give_back
from tierflow.stream.imports import adopt, import_tables
from tierflow.stream.ledger import Ledger
from tierflow.stream.states import State

if TYPE_CHECKING:
    from pathlib import Path

    from tierflow.config import Config

_LOG = logging.getLogger(__name__)


class Commits(Protocol):
    """What commits a batch."""

    def commit(self, batch: Batch) -> None:
        """Score, place, index and fold it, and say so in the ledger."""


def recover(ledger: Ledger, committer: Commits) -> None:
    """Bring every batch of a former process to an end. May be cut off anywhere and repeated.

    What was measured is committed; what was being measured is ready again, without counting as an attempt. What the
    tables of the output know and the ledger doesn't is taken over.

    Args:
        ledger: The ledger; no other process hands out batches.
        committer: Commits batches.

    Raises:
        TryAgainError: if a disk is full or away.
        ConfigError: if the configuration is wrong, or a run over the output was left unfinished.
    """
    for batch in ledger.batches("recording"):
        commit_or_give_back(ledger, committer, batch)
    for batch in ledger.batches("measuring"):
        give_back(ledger, batch, problem="the watcher ended while it was measured")
    for folder in _folders(ledger.output):
        _orphan(ledger, committer, folder)
    _give_back_stray(ledger)
    import_tables(ledger)


def commit_or_give_back(ledger: Ledger, committer: Commits, batch: Batch) -> None:
    """Commit a batch; one whose tables didn't outlive a power cut is measured again, and so is one that fails.

    A fault in one batch must not keep the stream from starting: when it fails again, it is halved like any other.
    """
    try:
        committer.commit(batch)
    except (InputMissingError, TableError) as error:
        _LOG.warning("batch %d has to be measured again: %s", batch.number, error)
        give_back(ledger, batch, problem=str(error))
    except Exception as error:
        if exit_code_of(error) in (EXIT_CONFIG, EXIT_TRY_AGAIN):
            raise
        _LOG.exception("batch %d can't be committed and is measured again", batch.number)
        give_back(ledger, batch, problem=str(error) or repr(error))


def recover_output(output: Path) -> None:
    """Finish what a stream left unfinished in an output, before a run over the whole of it.

    Args:
        output: Output folder, of which the run lock is held; one without a stream is left as it is.

    Raises:
        TierflowError: as `recover`.
    """
    if not (output / LEDGER).exists() or not (output / "config.yaml").exists():
        return
    with closing(Ledger(output)) as ledger:
        unfinished = ledger.batches("recording", "measuring") or _folders(ledger.output)
        # Of a stream that was killed, there is none.
        if unfinished or not (output / "baseline.parquet").exists():
            _finish(ledger, config_io.load(output / "config.yaml"), output)


def _finish(ledger: Ledger, config: Config, output: Path) -> None:
    # Imported here: most runs follow no stream.
    from tierflow.stream.choose import Choice
    from tierflow.stream.commit import Committer
    from tierflow.stream.whole import make_whole
    from tierflow.stream.window import Window

    window = Window(config)
    window.load(output)
    recover(ledger, Committer(ledger, config, output, window, choice=Choice(config, ledger)))
    make_whole(ledger, output, config, window, report=False)


def _folders(output: Path) -> list[Path]:
    return sorted(path for path in (output / BATCHES).glob("[0-9]*") if path.is_dir())


def _orphan(ledger: Ledger, committer: Commits, folder: Path) -> None:
    """Deal with the folder of a batch that is at its end, or that the ledger doesn't know."""
    number = int(folder.name)
    known = ledger.query("SELECT stage FROM batches WHERE id = ?", (number,))
    if not known and (batch := adopt(ledger, folder)) is not None:
        commit_or_give_back(ledger, committer, batch)
    shutil.rmtree(batch_folder(ledger.output, number), ignore_errors=True)


def _give_back_stray(ledger: Ledger) -> None:
    """Make those objects ready again whose batch is at its end: a ledger from a backup may hold such."""
    with ledger.transaction() as db:
        db.execute(
            "UPDATE objects SET state = CASE WHEN ready_at IS NULL THEN ? ELSE ? END, not_before = 0 WHERE state = ?",
            (State.WAITING, State.READY, State.RUNNING),
        )

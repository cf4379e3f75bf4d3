"""A micro-batch: some units that are handled together, in a folder of their own that is laid out like an output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ".tierflow/stream"
"""Where a stream keeps its own files, in the output folder."""

BATCHES = f"{FOLDER}/batches"
LEDGER = f"{FOLDER}/ledger.sqlite"


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch.

    Attributes:
        number: Number of the batch in the ledger.
        shard: Name of the shard of the run that its objects belong to; the same for all of them.
        folder: `<output>/.tierflow/stream/batches/<number>`. It holds the tables of this batch only, each at the place
            that `tierflow.steps.places` gives it, under the name of the shard; an engine may carry out steps in it.
        ids: Ledger numbers of its objects, in the order of their turn.
    """

    number: int
    shard: str
    folder: Path
    ids: tuple[int, ...]


def batch_folder(output: Path, number: int) -> Path:
    """Return the folder of a micro-batch."""
    return output / BATCHES / f"{number:08d}"

"""A micro-batch on its way through the coordinator, and what the dispatcher needs of its neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierflow.scan.rows import Row as ScanRow
    from tierflow.stream.batch import Batch
    from tierflow.stream.ledger import Row


class Commits(Protocol):
    """What commits a batch."""

    def commit(self, batch: Batch) -> None:
        """Score, place, index and fold it, and say so in the ledger."""


class Names(Protocol):
    """What reads names."""

    def scan_rows(self, rows: Sequence[Row]) -> list[ScanRow]:
        """Return the rows of the scan table."""


@dataclass(slots=True)
class Flight:
    """A batch on its way.

    Attributes:
        batch: The batch.
        rows: Its objects, as they were when it began.
        again: They had failed before.
        stage: `measure` and `commit`: somebody works on it. `held_...`: it waits for its next try.
        sent_at: When somebody began to work on it, monotonic.
        due: When it is tried again, monotonic.
        tries: Tries of this stage that failed for a passing reason.
        measure_s: Seconds that measuring took.
        dead: Its objects are given up; it only has to be committed.
    """

    batch: Batch
    rows: list[Row]
    again: bool
    stage: Literal["measure", "commit", "held_measure", "held_commit"] = "held_measure"
    sent_at: float = 0.0
    due: float = 0.0
    tries: int = 0
    measure_s: float = 0.0
    dead: bool = False

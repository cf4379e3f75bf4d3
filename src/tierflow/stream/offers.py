"""Micro-batches that are measured outside the watching process: by other machines, pods, or Snakemake.

All that both sides share is the output folder. A batch is offered as a file; who renames it has it alone, touches it
while working, and answers with a file when the batch's extract table stands. Nothing here decides what is done: that is
the ledger, which only the watching process writes.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tierflow.io.atomic import write_text
from tierflow.stream.batch import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

OFFERED, CLAIMED, ANSWERED = (f"{FOLDER}/{name}" for name in ("offers", "claims", "answers"))


@dataclass(frozen=True, slots=True)
class Offer:
    """A batch to measure.

    Attributes:
        batch: Its number.
        shard: Shard table to read, relative to the output.
        table: Extract table to write, relative to the output.
    """

    batch: int
    shard: str
    table: str


def offer(output: Path, what: Offer) -> None:
    """Offer a batch to whoever works for this output."""
    tree = {"batch": what.batch, "shard": what.shard, "table": what.table}
    write_text(_path(output, OFFERED, what.batch), json.dumps(tree))


def claim(output: Path) -> Offer | None:
    """Take the oldest batch that is offered, for this process alone; None if there is none."""
    folder = output / OFFERED
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(folder)):  # noqa: PTH208
            if not name[:-5].isdigit():
                continue
            claimed = output / CLAIMED / name
            claimed.parent.mkdir(parents=True, exist_ok=True)
            # Somebody else was faster.
            with suppress(FileNotFoundError):
                (folder / name).rename(claimed)
                os.utime(claimed)
                return read_claim(output, int(name[:-5]))
    return None


def read_claim(output: Path, batch: int) -> Offer | None:
    """Return a batch that was claimed; None if it was taken back."""
    try:
        return Offer(**json.loads(_path(output, CLAIMED, batch).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def beat(output: Path, batch: int) -> bool:
    """Say that a claimed batch is being worked on; False if it was taken back."""
    try:
        os.utime(_path(output, CLAIMED, batch))
    except FileNotFoundError:
        return False
    return True


def beaten_at(output: Path, batch: int) -> int | None:
    """Return when that was said last, in ns of the file server's clock; None if nobody has claimed the batch."""
    try:
        return _path(output, CLAIMED, batch).stat().st_mtime_ns
    except FileNotFoundError:
        return None


def answer(output: Path, batch: int, said: Mapping[str, Any]) -> None:
    """Say how it went: `done` with `seconds`, `failed` with `code` and `message`, or `died` with `message`."""
    write_text(_path(output, ANSWERED, batch), json.dumps(dict(said)))
    _path(output, CLAIMED, batch).unlink(missing_ok=True)


def answers(output: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (batch, what was said) and forget it."""
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(output / ANSWERED)):  # noqa: PTH208
            if name[:-5].isdigit():
                path = output / ANSWERED / name
                said = json.loads(path.read_text(encoding="utf-8"))
                path.unlink(missing_ok=True)
                yield int(name[:-5]), said


def withdraw(output: Path, batch: int) -> None:
    """Take a batch back, whoever has it."""
    for folder in (OFFERED, CLAIMED, ANSWERED):
        _path(output, folder, batch).unlink(missing_ok=True)


def withdraw_all(output: Path) -> None:
    """Take back what a former watching process has offered."""
    for folder in (OFFERED, CLAIMED, ANSWERED):
        for path in (output / folder).glob("*.json"):
            path.unlink(missing_ok=True)


def _path(output: Path, folder: str, batch: int) -> Path:
    return output / folder / f"{batch:08d}.json"

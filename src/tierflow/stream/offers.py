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

OFFERED, CLAIMED, BEGUN, ANSWERED = (f"{FOLDER}/{name}" for name in ("offers", "claims", "begun", "answers"))
WATCHED = f"{FOLDER}/offers/watched"
"""Touched by the watching process for as long as it wants answers."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A batch to measure.

    Attributes:
        number: Number of the offer; a batch that is offered again gets another.
        shard: Shard table to read, relative to the output.
        table: Extract table to write, relative to the output.
    """

    number: int
    shard: str
    table: str


def offer(output: Path, what: Offer) -> None:
    """Offer a batch to whoever works for this output."""
    tree = {"number": what.number, "shard": what.shard, "table": what.table}
    # None of these files is waited for: after a power cut, batches that weren't measured begin anew.
    write_text(_path(output, OFFERED, what.number), json.dumps(tree), durable=False)


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


def read_claim(output: Path, number: int) -> Offer | None:
    """Return a batch that was claimed; None if it was taken back."""
    try:
        return Offer(**json.loads(_path(output, CLAIMED, number).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def begin(output: Path, number: int) -> Offer | None:
    """Take over a batch from the program that has claimed it for this process; None if it was taken back.

    From now on only progress counts as a sign of life.
    """
    found = read_claim(output, number)
    if found is not None:
        write_text(_path(output, BEGUN, number), str(os.getpid()), durable=False)
    return found


def has_begun(output: Path, number: int) -> bool:
    """Tell whether a process has taken over a batch that was claimed for it."""
    return _path(output, BEGUN, number).exists()


def beat(output: Path, number: int) -> bool:
    """Say that a claimed batch is being worked on; False if it was taken back."""
    return _touch(_path(output, CLAIMED, number))


def beaten_at(output: Path, number: int) -> int | None:
    """Return when that was said last, in ns of the file server's clock; None if nobody has claimed the batch."""
    try:
        return _path(output, CLAIMED, number).stat().st_mtime_ns
    except FileNotFoundError:
        return None


def answer(output: Path, number: int, said: Mapping[str, Any]) -> None:
    """Say how it went.

    Args:
        output: Output folder.
        number: Number of the offer.
        said: `kind` is `done`, with `seconds`; `failed`, with `code` and `message`; or `died`, with `message`.
    """
    write_text(_path(output, ANSWERED, number), json.dumps(dict(said)), durable=False)
    for folder in (CLAIMED, BEGUN):
        _path(output, folder, number).unlink(missing_ok=True)


def answers(output: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (number, what was said) and forget it."""
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(output / ANSWERED)):  # noqa: PTH208
            if name[:-5].isdigit():
                path = output / ANSWERED / name
                said = json.loads(path.read_text(encoding="utf-8"))
                path.unlink(missing_ok=True)
                yield int(name[:-5]), said


def withdraw(output: Path, number: int) -> None:
    """Take a batch back, whoever has it."""
    for folder in (OFFERED, CLAIMED, BEGUN, ANSWERED):
        _path(output, folder, number).unlink(missing_ok=True)


def withdraw_all(output: Path) -> None:
    """Take back what a former watching process has offered."""
    for folder in (OFFERED, CLAIMED, BEGUN, ANSWERED):
        for path in (output / folder).glob("*.json"):
            path.unlink(missing_ok=True)


def watch(output: Path) -> None:
    """Say that somebody offers batches and wants answers."""
    path = output / WATCHED
    if not _touch(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def unwatch(output: Path) -> None:
    """Say that nobody does any more."""
    (output / WATCHED).unlink(missing_ok=True)


def watched_at(output: Path) -> int | None:
    """Return when that was said last, in ns of the file server's clock; None if nobody offers."""
    try:
        return (output / WATCHED).stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _touch(path: Path) -> bool:
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _path(output: Path, folder: str, number: int) -> Path:
    return output / folder / f"{number:014d}.json"

"""Cut what is ready into micro-batches: whole units of one home shard, as much as takes about a second or two."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tierflow.errors import ConfigError
from tierflow.scan.shards import SHARD_LIMIT
from tierflow.scan.store import first_new
from tierflow.stream.states import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from tierflow.stream.ledger import Ledger, Row

MB = 1_000_000
TARGET_S = 1.5
"""Seconds of measuring that a batch should take: what comes after it waits no longer, and fixed costs stay small."""

_FORGET = 0.2


@dataclass(slots=True)
class Speed:
    """How long objects take to measure, learnt from batches; older ones count less and less.

    Attributes:
        object_s: Seconds per object, whatever its size.
        mb_s: Seconds per megabyte (10^6 bytes).
    """

    object_s: float = 0.05
    mb_s: float = 0.02

    def learn(self, *, objects: int, size: int, seconds: float) -> None:
        """Take a batch into account: number of objects, their bytes, and seconds of measuring."""
        if objects < 1 or seconds <= 0:
            return
        # The time is shared out between the two in the ratio they have had so far.
        factor = seconds / self.expected_s(objects=objects, size=size)
        self.object_s *= 1 + _FORGET * (min(factor, 10.0) - 1)
        self.mb_s *= 1 + _FORGET * (min(factor, 10.0) - 1)

    def expected_s(self, *, objects: int, size: int) -> float:
        """Return the seconds that measuring so many objects with so many bytes together will take."""
        return max(objects * self.object_s + size / MB * self.mb_s, 1e-6)


class Limits(NamedTuple):
    """How large a micro-batch may be; a single unit always may.

    Attributes:
        objects: Objects, at most.
        size: Bytes, at most.
        seconds: Seconds of measuring, about.
    """

    objects: int
    size: int
    seconds: float = TARGET_S


def in_units(rows: Iterable[Row]) -> list[list[Row]]:
    """Group objects by unit, each unit at the place of its first object; objects without one are alone."""
    units: dict[str | int, list[Row]] = {}
    for row in rows:
        units.setdefault(row.unit if row.unit is not None else row.id, []).append(row)
    return list(units.values())


def cut(units: Sequence[Sequence[Row]], limits: Limits, speed: Speed) -> list[list[Row]]:
    """Return the first units, in their order, that make a batch; at least one.

    Args:
        units: Units in the order of their turn, all of one home shard.
        limits: How much fits.
        speed: How long they will take.
    """
    taken: list[list[Row]] = []
    objects = size = 0
    for members in units:
        objects += len(members)
        size += sum(row.size for row in members)
        if taken and (
            objects > limits.objects
            or size > limits.size
            or speed.expected_s(objects=objects, size=size) > limits.seconds
        ):
            break
        taken.append(list(members))
    return taken


def same_home(units: Sequence[Sequence[Row]], homes: Mapping[str, int]) -> tuple[list[Sequence[Row]], int | None]:
    """Return the units that have the same home shard as the first, and that shard; None: none yet.

    Args:
        units: Units in the order of their turn.
        homes: Shard of units of which other objects were handled before.
    """

    def home(members: Sequence[Row]) -> int | None:
        own = [row.shard for row in members if row.shard is not None]
        known = homes.get(members[0].unit) if members[0].unit is not None else None
        return min(own + ([] if known is None else [known]), default=None)

    first = home(units[0])
    return [members for members in units if home(members) == first], first


def halves(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Return two halves of a batch that failed, whole units each; the second is empty for a single unit."""
    units = in_units(rows)
    middle = (len(units) + 1) // 2
    return [row for unit in units[:middle] for row in unit], [row for unit in units[middle:] for row in unit]


@dataclass(slots=True)
class Shards:
    """Gives new objects their shard: the open one until it is full, then a number that no shard has ever had.

    Attributes:
        folder: Folder of the output's shard tables.
        max_objects: Objects in a shard, at most; one larger batch still makes its own.
        max_size: Bytes in a shard, at most.
        number: The open shard; None before the first.
        objects: Objects in it.
        size: Their bytes.
        used: Greatest number that the ledger has given.
    """

    folder: Path
    max_objects: int
    max_size: int
    number: int | None = None
    objects: int = 0
    size: int = 0
    used: int = field(default=-1)

    @classmethod
    def of(cls, ledger: Ledger, folder: Path, *, max_objects: int, max_size: int) -> Shards:
        """Go on where the ledger stands: its last shard is open."""
        shards = cls(folder, max_objects, max_size)
        found = ledger.query(
            "SELECT shard, count(*), sum(size) FROM objects WHERE shard IS NOT NULL GROUP BY shard "
            "ORDER BY shard DESC LIMIT 1"
        )
        if found:
            number, objects, size = found[0]
            shards.number, shards.used, shards.objects, shards.size = int(number), int(number), int(objects), int(size)
        return shards

    def take(self, *, objects: int, size: int) -> int:
        """Return the shard for so many new objects with so many bytes together.

        Raises:
            ConfigError: if five digits name no more shards.
        """
        full = self.objects + objects > self.max_objects or self.size + size > self.max_size
        if self.number is None or (self.objects and full):
            self.number = max(first_new(self.folder), self.used + 1)
            self.used, self.objects, self.size = self.number, 0, 0
            if self.number >= SHARD_LIMIT:
                raise ConfigError(
                    f"this stream needs more than {SHARD_LIMIT} shards: go on with a larger "
                    f"stream.batches.shard_objects (now {self.max_objects}) and another --output"
                )
        self.objects += objects
        self.size += size
        return self.number


class Due(NamedTuple):
    """Objects whose turn it is.

    Attributes:
        rows: Objects, whole units.
        shard: Their home shard; None: the open one.
        again: They failed before and are tried again, apart from all others.
    """

    rows: list[Row]
    shard: int | None
    again: bool


def next_ready(ledger: Ledger, limits: Limits, speed: Speed, *, newer_than: int = 0) -> Due | None:
    """Return the objects that are ready and whose turn is next: priority, then the time they became ready.

    Args:
        ledger: The ledger.
        limits: How much fits.
        speed: How long they will take.
        newer_than: Only objects with a greater number are begun with; units stay whole.
    """
    rows = ledger.rows(
        "state = ? AND +id > ? ORDER BY priority DESC, ready_at, id", (State.READY, newer_than), limit=limits.objects
    )
    if not rows:
        return None
    names = sorted({row.unit for row in rows if row.unit is not None})
    homes: dict[str, int] = {}
    for start in range(0, len(names), 500):
        some = names[start : start + 500]
        marks = ", ".join("?" * len(some))
        # The limit above may have cut a unit in two.
        known = {row.id for row in rows}
        rest = ledger.rows(f"unit IN ({marks}) AND state = ? ORDER BY id", (*some, State.READY))
        rows += [row for row in rest if row.id not in known]
        homes |= dict(
            ledger.query(
                f"SELECT unit, min(shard) FROM objects WHERE unit IN ({marks}) AND shard IS NOT NULL GROUP BY unit",  # noqa: S608
                some,
            )
        )
    units, home = same_home(in_units(rows), homes)
    return Due([row for unit in cut(units, limits, speed) for row in unit], home, again=False)


def next_again(ledger: Ledger, now: float, *, longest_s: float, newer_than: int = 0) -> Due | None:
    """Return the objects that failed together and are due, the oldest first.

    Args:
        ledger: The ledger.
        now: Seconds since 1970.
        longest_s: Longest pause there is: one that ends later was written before the clock was set back.
        newer_than: Only objects with a greater number are begun with.
    """
    first = ledger.rows(
        "state = ? AND +id > ? AND (not_before <= ? OR not_before > ?) ORDER BY not_before, id",
        (State.FAILED, newer_than, now, now + longest_s),
        limit=1,
    )
    if not first:
        return None
    row = first[0]
    if row.cohort is not None:
        rows = ledger.rows("state = ? AND cohort = ? ORDER BY id", (State.FAILED, row.cohort))
    elif row.unit is not None:
        rows = ledger.rows("state = ? AND unit = ? ORDER BY id", (State.FAILED, row.unit))
    else:
        rows = [row]
    units, home = same_home(in_units(rows), {})
    return Due([member for unit in units for member in unit], home, again=True)

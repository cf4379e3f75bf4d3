"""An instrument that isn't there: which file comes when, in the order in which a microscope acquires them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from tierflow.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tierflow.io.layouts.base import Names

Pattern = Literal["steady", "burst", "plate"]
Writer = Literal["rename", "slow", "append"]

WELL_SPEED = 5.0
"""With pattern `plate`, images of one well come this many times faster than on average; then the stage moves."""

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*/\s*(s|min|h|d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Frame:
    """A file to come.

    Attributes:
        source: Path relative to the source folder, the file system's own bytes.
        target: Path relative to the target folder.
        group: Frames with the same text follow each other without a pause: plate, time point, well.
        size: Bytes.
    """

    source: bytes
    target: bytes
    group: str
    size: int


def parse_rate(text: str) -> float | None:
    """Return images per second.

    Args:
        text: Such as `20/s`, `90/min`, `1000/h`; `max` for as fast as they can be written.

    Returns:
        None for `max`.

    Raises:
        ConfigError: for anything else.

    >>> parse_rate("90/min")
    1.5
    """
    if text == "max":
        return None
    match = _RATE.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise ConfigError(f"rate is {text!r}: expected such as 20/s, 90/min or 1000/h, or max")
    return float(match[1]) / _SECONDS[match[2]]


def acquisition_order(names: Sequence[Names], paths: Sequence[bytes]) -> list[int]:
    """Return positions in the order of acquisition: plate, time point, well by well, site, z, channel.

    Wells are visited in serpentine order (odd rows backwards), as stages do to save way.

    Args:
        names: What each name says.
        paths: The paths, which break ties.
    """

    def key(position: int) -> tuple[object, ...]:
        one = names[position]
        row, column = one.row or 0, one.column or 0
        way = column if row % 2 else -column
        return (
            one.plate,
            one.acquisition or "",
            -1 if one.timepoint is None else one.timepoint,
            row,
            way,
            one.well or "",
            _natural(one.site),
            -1 if one.z is None else one.z,
            one.channel or "",
            paths[position],
        )

    return sorted(range(len(names)), key=key)


def frames(names: Sequence[Names], paths: Sequence[bytes], sizes: Sequence[int]) -> list[Frame]:
    """Return the files of a source in the order of acquisition. Arguments are parallel sequences."""
    return [
        Frame(paths[i], paths[i], f"{names[i].plate}\0{names[i].timepoint}\0{names[i].well}", sizes[i])
        for i in acquisition_order(names, paths)
    ]


def repeated(once: Sequence[Frame], count: int | None) -> Iterator[Frame]:
    """Yield `count` frames; the source is told again, in folders `repeat_0002` and so on, when it isn't enough.

    Args:
        once: The frames of the source.
        count: Number of frames; None for each frame once.
    """
    left, turn = len(once) if count is None else count, 1
    while left > 0 and once:
        folder = b"" if turn == 1 else f"repeat_{turn:04d}/".encode()
        for frame in once[:left]:
            yield Frame(frame.source, folder + frame.target, f"{turn}\0{frame.group}", frame.size)
        left -= len(once)
        turn += 1


def schedule(
    coming: Iterator[Frame], *, rate: float | None, pattern: Pattern, burst: int
) -> Iterator[tuple[float, Frame]]:
    """Yield when each file begins to be written, in seconds from the start, and the file.

    Args:
        coming: Frames in their order.
        rate: Mean of images per second; None: all at once.
        pattern: `steady`: evenly. `burst`: `burst` files at a time, then a pause. `plate`: those of a well quickly,
            then a pause; the mean rate is the same.
        burst: Files in one burst.
    """
    if rate is None:
        yield from ((0.0, frame) for frame in coming)
        return
    if pattern == "burst":
        yield from ((number // burst * burst / rate, frame) for number, frame in enumerate(coming))
        return
    if pattern == "steady":
        yield from ((number / rate, frame) for number, frame in enumerate(coming))
        return
    before = 0
    for _, members in groupby(coming, key=lambda frame: frame.group):
        start = before / rate
        for number, frame in enumerate(members):
            yield start + number / (rate * WELL_SPEED), frame
            before += 1


def _natural(text: str | None) -> tuple[int, str]:
    return (int(text), text) if text and text.isascii() and text.isdigit() else (-1, text or "")

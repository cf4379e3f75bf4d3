"""Exact order statistics from counts in ranges: pure.

A percentile of a server is an estimate. Here each level asks for counts in some thousand ranges of the sortable 64-bit
patterns of doubles, and goes on with the ranges that hold a wanted rank, until few values are left; those are fetched.
Patterns rather than values are divided, so that the number of levels has a bound (6) however the values are spread.
"""

from __future__ import annotations

import itertools
import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_RANGES = 4096
FEW = 1000
_SIGN = 1 << 63


class Counts(Protocol):
    """What must answer about one set of values that doesn't change in between."""

    def in_ranges(self, ranges: Sequence[tuple[float, float]]) -> list[int]:
        """Return how many values lie in each range, from its first number up to but not including its second."""

    def values(self, ranges: Sequence[tuple[float, float]]) -> list[list[tuple[float, int]]]:
        """Return the different values in each range, ascending, and how often each occurs."""


@dataclass(frozen=True, slots=True)
class _Span:
    """Patterns from `first` up to but not including `end`, that hold `count` values with `below` smaller ones."""

    first: int
    end: int
    below: int
    count: int
    ranks: tuple[int, ...]

    def bounds(self) -> tuple[float, float]:
        return value_of(self.first), value_of(self.end)


def order_statistics(
    counts: Counts, *, ranks: Sequence[int], count: int, minimum: float, maximum: float
) -> dict[int, float]:
    """Return the values of some ranks.

    Args:
        counts: Answers about the values.
        ranks: Positions in the ascending order, from 0 to count - 1.
        count: Number of values, at least 1.
        minimum: Smallest value.
        maximum: Largest value.
    """
    wanted = tuple(sorted(set(ranks)))
    open_spans = [_Span(pattern_of(minimum), pattern_of(maximum) + 1, 0, count, wanted)]
    found: dict[int, float] = {}
    few: list[_Span] = []
    while open_spans:
        for span in open_spans:
            if span.end - span.first == 1:
                found |= dict.fromkeys(span.ranks, value_of(span.first))
        open_spans = [span for span in open_spans if span.end - span.first > 1]
        few += [span for span in open_spans if span.count <= FEW]
        open_spans = _refined(counts, [span for span in open_spans if span.count > FEW])
    if few:
        for span, values in zip(few, counts.values([span.bounds() for span in few]), strict=True):
            found |= _at_ranks(span, values)
    return found


def _refined(counts: Counts, spans: Sequence[_Span]) -> list[_Span]:
    if not spans:
        return []
    cuts = [_cuts(span, MAX_RANGES // len(spans)) for span in spans]
    ranges = [(value_of(a), value_of(b)) for edges in cuts for a, b in itertools.pairwise(edges)]
    numbers = iter(counts.in_ranges(ranges))
    found = []
    for span, edges in zip(spans, cuts, strict=True):
        below = span.below
        for first, end in itertools.pairwise(edges):
            count = next(numbers)
            ranks = tuple(rank for rank in span.ranks if below <= rank < below + count)
            if ranks:
                found.append(_Span(first, end, below, count, ranks))
            below += count
    return found


def _cuts(span: _Span, parts: int) -> list[int]:
    width = span.end - span.first
    parts = min(max(parts, 2), width)
    return [span.first + width * part // parts for part in range(parts + 1)]


def _at_ranks(span: _Span, values: Sequence[tuple[float, int]]) -> dict[int, float]:
    found: dict[int, float] = {}
    below = span.below
    for value, count in values:
        found |= {rank: value for rank in span.ranks if below <= rank < below + count}
        below += count
    return found


def interpolated(percents: Sequence[float], count: int) -> dict[float, tuple[int, int, float]]:
    """Return, by percent, the two ranks that it lies between and the share of the way from the first.

    Args:
        percents: Numbers from 0 to 100.
        count: Number of values, at least 1.
    """
    places = {percent: (count - 1) * (percent / 100) for percent in percents}
    return {percent: (math.floor(at), math.ceil(at), at - math.floor(at)) for percent, at in places.items()}


def between(low: float, high: float, share: float) -> float:
    """Return the number at a share of the way, by the arithmetic of the embedded engine."""
    return low * (1.0 - share) + high * share


def pattern_of(value: float) -> int:
    """Return the position of a double among all doubles: whole numbers in the order of the values; 0.0 is 0."""
    [bits] = struct.unpack("<q", struct.pack("<d", value + 0.0))
    return int(bits) if bits >= 0 else -int(bits + _SIGN)


def value_of(pattern: int) -> float:
    """Return the double at a position; the inverse of `pattern_of`."""
    magnitude: float
    [magnitude] = struct.unpack("<d", struct.pack("<q", abs(pattern)))
    return math.copysign(magnitude, pattern) if pattern else 0.0

"""Which tier the objects of the input would get, from the scores of a sample and the real policy."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tierflow.config import QUARANTINE
from tierflow.policies.resolve import resolve
from tierflow.scoring.build import make_policy
from tierflow.scoring.columns import compute as pc
from tierflow.sizing.plan_table import Span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tierflow.config import Config

MOST_REPLICATES = 100
PERCENTS = (5.0, 95.0)


@dataclass(frozen=True, slots=True)
class Population:
    """All units, and the sample among them.

    Attributes:
        unit: Unit of each object, shape (object,).
        size: Bytes of each object, likewise.
        stratum: Stratum of each unit, shape (unit,).
        donors: Measured units of each stratum.
        scores: Rows of the score table for each measured unit, by unit.
    """

    unit: NDArray[np.int64]
    size: NDArray[np.int64]
    stratum: NDArray[np.int64]
    donors: Sequence[NDArray[np.int64]]
    scores: Mapping[int, Sequence[int]]


def share_out(
    population: Population, score: pa.Table, config: Config, *, random: np.random.Generator, seconds: float
) -> tuple[dict[str, tuple[float, Span]], int]:
    """Estimate objects and bytes by tier.

    Every unit that wasn't measured takes the score and the flags of a measured one of its stratum; the policy then
    resolves over all of them. So quantile, top_k and budget give each tier exactly what they would, and an interval
    policy the shares of the sample. The interval repeats this with samples drawn from the sample.

    Args:
        population: The units.
        score: Score table that `population.scores` points into.
        config: Policy and tiers.
        random: Random numbers.
        seconds: Time for repetitions; 5 are always made.

    Returns:
        Objects and bytes by tier, the quarantine included, and the number of repetitions.
    """
    begun = time.monotonic()
    objects, size = _resolved(population, score, config, population.donors, random)
    names = [*config.tiers, QUARANTINE]
    if sum(map(len, population.donors)) == len(population.stratum):
        return {t: (float(n), Span.known(float(b))) for t, n, b in zip(names, objects, size, strict=True)}, 0
    spread: list[NDArray[np.float64]] = []
    while len(spread) < 5 or (len(spread) < MOST_REPLICATES and time.monotonic() - begun < seconds):
        drawn = [random.choice(units, len(units)) if len(units) else units for units in population.donors]
        spread.append(_resolved(population, score, config, drawn, random)[1])
    found = {}
    for number, tier in enumerate(names):
        low, high = np.percentile([each[number] for each in spread], PERCENTS)
        value = float(size[number])
        found[tier] = (
            float(objects[number]),
            Span(value=value, low=min(float(low), value), high=max(float(high), value)),
        )
    return found, len(spread)


def given_shares(
    shares: Mapping[str, float], population: Population, tiers: Sequence[str]
) -> dict[str, tuple[float, Span]]:
    """Return objects and bytes by tier for shares that somebody gave."""
    size, objects = float(population.size.sum()), len(population.size)
    return {
        tier: (objects * shares.get(tier, 0.0), Span.known(size * shares.get(tier, 0.0)))
        for tier in (*tiers, QUARANTINE)
    }


def _resolved(
    population: Population,
    score: pa.Table,
    config: Config,
    donors: Sequence[NDArray[np.int64]],
    random: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    table = _lent(population, score, donors, random)
    resolved = resolve(make_policy(config), table, config)
    tiers, _ = resolved.choose_table(table)
    names = [*config.tiers, QUARANTINE]
    code = np.asarray(pc.index_in(pa.array(tiers), value_set=pa.array(names)).to_numpy(), dtype=np.int64)
    objects = np.bincount(code, minlength=len(names)).astype(np.float64)
    return objects, np.bincount(code, weights=population.size, minlength=len(names)).astype(np.float64)


def _lent(
    population: Population, score: pa.Table, donors: Sequence[NDArray[np.int64]], random: np.random.Generator
) -> pa.Table:
    """Return a score table of all objects."""
    every = np.array(sorted(population.scores), dtype=np.int64)
    donor = np.zeros(len(population.stratum), dtype=np.int64)
    for number, units in enumerate(donors):
        members = np.flatnonzero(population.stratum == number)
        choice = units if len(units) else every
        donor[members] = random.choice(choice, len(members))
    # A measured unit keeps its own score as long as it is in the sample.
    for units in donors:
        donor[units] = units
    rows = _rows(population, donor)
    table = score.select(["status", "reason", "interestingness", "flags"]).take(rows)
    units = pc.cast(pa.array(population.unit), pa.string())
    return table.append_column("unit_id", units).append_column("bytes", pa.array(population.size))


def _rows(population: Population, donor: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row of the score table for each object: those of the donor in turn."""
    if len(population.unit) == len(population.stratum):
        first = np.zeros(len(donor), dtype=np.int64)
        for unit, rows in population.scores.items():
            first[unit] = rows[0]
        return first[donor[population.unit]]
    turn: dict[int, int] = {}
    found = np.empty(len(population.unit), dtype=np.int64)
    for position, unit in enumerate(population.unit.tolist()):
        rows = population.scores[int(donor[unit])]
        found[position] = rows[turn.get(unit, 0) % len(rows)]
        turn[unit] = turn.get(unit, 0) + 1
    return found

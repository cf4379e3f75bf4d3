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
    from tierflow.policies.base import Policy

MOST_REPLICATES = 100
PERCENTS = (5.0, 95.0)
_IMAGINED = 40
# Weights may all round to nothing.
_TINY = 1e-300


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

    Every unit that wasn't measured takes the score and the flags of a measured one of its stratum, each of which lends
    as often; the policy then resolves over all of them. So quantile, top_k and budget give each tier exactly what they
    would, and an interval policy the shares of the sample.

    The interval repeats this with shares drawn from what is known of them after the sample (D. B. Rubin, The Bayesian
    Bootstrap, Annals of Statistics 9, 1981). Drawing among the measured units alone would call a tier that none of them
    got empty for certain: so each tier also has half a unit of its own (H. Jeffreys' prior), of any score, or failed.

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
    policy = make_policy(config)
    names = [*config.tiers, QUARANTINE]
    lenders = _Lenders.of(population, score)
    objects, size = _resolved(population, lenders, lenders.dealt(random), policy, config)
    if sum(map(len, population.donors)) == len(population.stratum):
        return {t: (float(n), Span.known(float(b))) for t, n, b in zip(names, objects, size, strict=True)}, 0
    spread: list[NDArray[np.float64]] = []
    while len(spread) < 5 or (len(spread) < MOST_REPLICATES and time.monotonic() - begun < seconds):
        drawn = lenders.drawn(random, tiers=len(names))
        spread.append(_resolved(population, lenders, drawn, policy, config)[1])
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


@dataclass(frozen=True, slots=True)
class _Lenders:
    """Who may lend a score: the measured units, then imagined ones of any score, the last of which failed.

    Attributes:
        table: Score table of the measured objects and the imagined ones.
        rows: Rows of `table` of each lender.
        known: Lender of each unit that was measured, -1 of the others, shape (unit,).
        strata: Lenders of each stratum, and its units that weren't measured, from the smallest to the largest.
        measured: Number of lenders that were measured.
    """

    table: pa.Table
    rows: Sequence[Sequence[int]]
    known: NDArray[np.int64]
    strata: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]
    measured: int

    @classmethod
    def of(cls, population: Population, score: pa.Table) -> _Lenders:
        """Number the lenders of a population."""
        every = sorted(population.scores)
        known = np.full(len(population.stratum), -1, dtype=np.int64)
        known[every] = np.arange(len(every))
        size = np.bincount(population.unit, weights=population.size, minlength=len(known))
        strata = []
        for number, donors in enumerate(population.donors):
            members = np.flatnonzero((population.stratum == number) & (known < 0))
            choice = known[donors] if len(donors) else np.arange(len(every))
            strata.append((choice, members[np.argsort(size[members], kind="stable")]))
        columns = score.select(["status", "reason", "interestingness", "flags"])
        rows = [list(population.scores[unit]) for unit in every]
        rows += [[score.num_rows + number] for number in range(_IMAGINED + 1)]
        return cls(pa.concat_tables([columns, _imagined(columns.schema)]), rows, known, strata, len(every))

    def dealt(self, random: np.random.Generator) -> NDArray[np.int64]:
        """Return a lender for each unit: those of its stratum in turn, to small units as to large ones."""
        found = self.known.copy()
        for choice, members in self.strata:
            found[members] = np.resize(random.permutation(choice), len(members))
        return found

    def drawn(self, random: np.random.Generator, *, tiers: int) -> NDArray[np.int64]:
        """Return a lender for each unit, by shares that agree with the sample."""
        found = self.known.copy()
        # Half a unit for each tier; tiers are ranges of scores, so that one score stands for a tier.
        prior = np.append(random.gamma(0.5, size=tiers), random.gamma(self.measured))
        prior /= prior.sum()
        imagined = self.measured + np.append(random.integers(_IMAGINED, size=tiers - 1), _IMAGINED)
        for choice, members in self.strata:
            # Of few units weights of 1 would spread too little, as the bootstrap does.
            weights = random.gamma(max(len(choice) - 2, 1) / len(choice), size=len(choice)) + _TINY
            shares = np.append(prior[:-1], prior[-1] * weights / weights.sum())
            found[members] = random.choice(np.append(imagined, choice), len(members), p=shares)
        return found


def _imagined(schema: pa.Schema) -> pa.Table:
    scores = (np.arange(_IMAGINED) + 0.5) / _IMAGINED
    return pa.Table.from_pylist(
        [
            *({"status": "ok", "reason": None, "interestingness": float(value), "flags": []} for value in scores),
            {"status": "failed", "reason": None, "interestingness": None, "flags": []},
        ],
        schema=schema,
    )


def _resolved(
    population: Population, lenders: _Lenders, lender: NDArray[np.int64], policy: Policy, config: Config
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return objects and bytes by tier when each unit has the score of its lender."""
    table = lenders.table.take(_rows(population.unit, lender, lenders.rows))
    units = pc.cast(pa.array(population.unit), pa.string())
    table = table.append_column("unit_id", units).append_column("bytes", pa.array(population.size))
    tiers, _ = resolve(policy, table, config).choose_table(table)
    names = [*config.tiers, QUARANTINE]
    code = np.asarray(pc.index_in(pa.array(tiers), value_set=pa.array(names)).to_numpy(), dtype=np.int64)
    objects = np.bincount(code, minlength=len(names)).astype(np.float64)
    return objects, np.bincount(code, weights=population.size, minlength=len(names)).astype(np.float64)


def _rows(unit: NDArray[np.int64], lender: NDArray[np.int64], rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return the row of the score table for each object: those of its unit's lender in turn."""
    order = np.argsort(unit, kind="stable")
    counts = np.bincount(unit, minlength=len(lender))
    turn = np.empty(len(unit), dtype=np.int64)
    turn[order] = np.arange(len(unit)) - np.repeat(np.cumsum(counts) - counts, counts)
    lent = np.array([len(some) for some in rows], dtype=np.int64)
    flat = np.array([row for some in rows for row in some], dtype=np.int64)
    whose = lender[unit]
    return flat[(np.cumsum(lent) - lent)[whose] + turn % lent[whose]]

"""Make a plan: list the input, measure a sample, try the steps, work out the table."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tierflow import config_io
from tierflow.clock import utc_now
from tierflow.scoring.check import check
from tierflow.sizing import estimate, sample, trial
from tierflow.sizing.finish import Priced, Workload, finish
from tierflow.sizing.listing import Listing, list_input, rows_of, shard_sizes
from tierflow.sizing.plan_table import Plan, SampleNote
from tierflow.sizing.tier_shares import Population, given_shares, share_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from tierflow.config import Config
    from tierflow.scan.rows import Row

SEED = 7
TRIAL_OBJECTS = 300
# Seconds after which no further object of the sample is measured, and none for the tiers' interval.
MOST_SAMPLE_S = 60.0
MOST_SPREAD_S = 3.0
# Processes at most that show what neighbours cost: each holds some 150 MB.
MOST_CORES = 32


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The sample and other objects for the trial.

    Attributes:
        strata: All strata.
        units: Chosen units of each stratum, in the order in which they are measured.
        rows: Scan rows of the candidates by position in the listing.
        objects: Positions of the objects of each candidate unit.
    """

    strata: Sequence[sample.Stratum]
    units: Sequence[NDArray[np.int64]]
    rows: Mapping[int, Row]
    objects: Mapping[int, Sequence[int]]


def make_plan(
    config: Config,
    priced: Priced,
    *,
    objects: int,
    shares: Mapping[str, float] | None = None,
    output: Path | None = None,
) -> Plan:
    """Estimate what a run of a configuration is going to need.

    Nothing is written but temporary files, and nothing of the input is read but the sample (and a few images for the
    report that is tried).

    Args:
        config: Configuration with `input`.
        priced: Prices, workers and how the result is used.
        objects: Objects to measure, about.
        shares: Share of the objects by tier, in place of the policy's.
        output: Folder of the results, which is never entered.

    Raises:
        InputMissingError: if the input isn't there or holds no image.
        ConfigError: if the configuration is wrong.
        TryAgainError: if storage is away.
    """
    begun = time.monotonic()
    check(config)
    random = np.random.default_rng(SEED)
    listing = list_input(config, output=output)
    chosen = _choose(config, listing, objects, random)
    with tempfile.TemporaryDirectory(prefix="tierflow-plan-") as scratch:
        workload, note = _measured(config, listing, chosen, Path(scratch), shares, random)
    plan = finish(workload, priced, config=config, kind="estimate")
    return plan.model_copy(update={"sample": note, "made_at": utc_now(), "took_s": round(time.monotonic() - begun, 2)})


def _choose(config: Config, listing: Listing, objects: int, random: np.random.Generator) -> _Chosen:
    wanted = max(round(objects * listing.units / len(listing.files)), 2)
    strata = sample.strata(listing.unit_bytes, sample=wanted)
    order = np.argsort(listing.unit, kind="stable")
    starts = np.concatenate([[0], np.cumsum(listing.unit_objects)])
    near = [sample.candidates(stratum, random=random) for stratum in strata]
    members = {int(u): order[starts[u] : starts[u + 1]].tolist() for units in near for u in units}
    positions = sorted(position for some in members.values() for position in some)
    rows = dict(zip(positions, rows_of(config, listing.root, [listing.files[i] for i in positions]), strict=True))
    units = []
    for stratum, some in zip(strata, near, strict=True):
        first = [rows[members[int(unit)][0]] for unit in some]
        keys = [(row.channel or "", row.plate, row.path) for row in first]
        units.append(some[sample.spread(keys, stratum.take, random=random)])
    return _Chosen(strata, units, rows, members)


def _measured(
    config: Config,
    listing: Listing,
    chosen: _Chosen,
    scratch: Path,
    shares: Mapping[str, float] | None,
    random: np.random.Generator,
) -> tuple[Workload, SampleNote]:
    config_file = scratch / "config.yaml"
    config_io.write(config_file, config)
    of_unit = {int(unit): number for number, units in enumerate(chosen.units) for unit in units}
    turns = sample.round_robin([units.tolist() for units in chosen.units])
    ordered = [(chosen.rows[i], of_unit[unit]) for unit in turns for i in chosen.objects[unit]]
    probed = trial.probe(scratch, config_file=config_file, root=listing.root, objects=ordered, seconds=MOST_SAMPLE_S)
    cores = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, MOST_CORES)
    slower = (
        trial.slowdown(scratch, config_file=config_file, root=listing.root, objects=ordered, probed=probed, cores=cores)
        if cores > 1
        else 1.0
    )
    lenders = {
        unit: ids
        for unit in turns
        if (ids := [o for i in chosen.objects[unit] if (o := chosen.rows[i].object_id) in probed.cpu_s])
    }
    stratum = np.empty(listing.units, dtype=np.int64)
    for number, each in enumerate(chosen.strata):
        stratum[each.units] = number
    donors = [np.array([u for u in units.tolist() if u in lenders], dtype=np.int64) for units in chosen.units]
    rows, lent = _trial_rows(chosen, lenders=lenders, donors=donors, stratum=stratum, random=random)
    tried = trial.try_steps(scratch, config=config, root=listing.root, rows=rows, donors=lent, probed=probed)
    smallest = min(
        (row for row, _ in ordered if row.object_id in probed.cpu_s), key=lambda row: probed.cpu_s[row.object_id]
    )
    steps = dict(tried.steps)
    steps["extract"] = trial.first_job(scratch, config_file=config_file, row=smallest, root=listing.root, probed=probed)
    population = Population(listing.unit, listing.size, stratum, donors, _scores(tried.score, lenders))
    if shares is None:
        tiers, replicates = share_out(population, tried.score, config, random=random, seconds=MOST_SPREAD_S)
    else:
        tiers, replicates = given_shares(shares, population, list(config.tiers)), 0
    strata = _strata_times(listing, chosen, probed, lenders)
    bytes_read = {row.object_id: row.bytes for row, _ in ordered}
    failed = _failed(probed.table)
    note = SampleNote(
        objects=len(probed.cpu_s),
        failed=failed,
        units=len(lenders),
        strata=len(chosen.strata),
        size=sum(bytes_read[name] for name in probed.cpu_s),
        seconds=round(sum(probed.wall_s.values()), 3),
        replicates=replicates,
        cores=cores,
        slowdown=round(slower, 3),
    )
    workload = Workload(
        root=str(listing.root),
        units=listing.units,
        shards=shard_sizes(listing, max_objects=config.scan.shard_objects, max_bytes=config.scan.shard_mb * 1_000_000),
        extract_s=estimate.stratified(strata, random=random),
        steps=steps,
        copy_cpu_per_byte=trial.copy_cpu_per_byte(scratch),
        tiers=tiers,
        crowding=(cores, slower),
        largest_mb=(float(listing.size.max()) / 1e6, max(bytes_read[name] for name in probed.cpu_s) / 1e6),
        warnings=[*listing.warnings, *_warnings(probed, failed, donors)],
    )
    return workload, note


def _trial_rows(
    chosen: _Chosen,
    *,
    lenders: Mapping[int, Sequence[str]],
    donors: Sequence[NDArray[np.int64]],
    stratum: NDArray[np.int64],
    random: np.random.Generator,
) -> tuple[list[Row], list[Sequence[str]]]:
    """Return the objects of the trial, the measured ones among them, and whose measurements each takes."""
    every = list(lenders)
    others = [unit for unit in random.permutation(np.array(list(chosen.objects))).tolist() if unit not in lenders]
    rows: list[Row] = []
    lent: list[Sequence[str]] = []
    for unit in [*every, *others]:
        if len(rows) >= TRIAL_OBJECTS and unit not in lenders:
            break
        near = donors[int(stratum[unit])]
        donor = unit if unit in lenders else int(random.choice(near if len(near) else np.array(every)))
        known = set(lenders[donor])
        for number, position in enumerate(chosen.objects[unit]):
            row = chosen.rows[position]
            rows.append(row)
            lent.append([row.object_id] if row.object_id in known else [lenders[donor][number % len(known)]])
    order = sorted(range(len(rows)), key=lambda i: rows[i].path_bytes)
    return [rows[i] for i in order], [lent[i] for i in order]


def _scores(score: pa.Table, lenders: Mapping[int, Sequence[str]]) -> dict[int, list[int]]:
    place = {name: position for position, name in enumerate(score["object_id"].to_pylist())}
    return {unit: [place[name] for name in names] for unit, names in lenders.items()}


def _strata_times(
    listing: Listing, chosen: _Chosen, probed: trial.Probed, lenders: Mapping[int, Sequence[str]]
) -> list[estimate.Measured]:
    found = []
    unit_bytes = listing.unit_bytes
    for stratum, units in zip(chosen.strata, chosen.units, strict=True):
        measured = [int(unit) for unit in units if int(unit) in lenders]
        # A unit of which only a part was measured in time counts as if the rest were alike.
        factor = {unit: len(chosen.objects[unit]) / len(lenders[unit]) for unit in measured}
        found.append(
            estimate.Measured(
                units=len(stratum.units),
                size=int(unit_bytes[stratum.units].sum()),
                cpu_s=np.array([factor[u] * sum(probed.cpu_s[o] for o in lenders[u]) for u in measured]),
                wall_s=np.array([factor[u] * sum(probed.wall_s[o] for o in lenders[u]) for u in measured]),
                measured_size=int(unit_bytes[measured].sum()),
            )
        )
    return found


def _failed(table: pa.Table) -> int:
    names, states = table["object_id"].to_pylist(), table["status"].to_pylist()
    return len({name for name, status in zip(names, states, strict=True) if status != "ok"})


def _warnings(probed: trial.Probed, failed: int, donors: Sequence[NDArray[np.int64]]) -> list[str]:
    warnings = []
    if failed:
        share = failed / len(probed.cpu_s)
        warnings.append(
            f"{failed} of {len(probed.cpu_s)} sampled objects ({share:.0%}) could not be measured: the plan takes as "
            "many of the others for bad; `tierflow measure FILE` says what is wrong with one"
        )
    missing = sum(not len(units) for units in donors)
    if missing:
        warnings.append(
            f"measuring was stopped after {MOST_SAMPLE_S:.0f} s: {missing} of {len(donors)} classes of size were not "
            "measured and count by their bytes; give a smaller --sample"
        )
    return warnings

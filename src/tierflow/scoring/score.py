"""Score the objects of one shard: planes to values, values to units, units back to objects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tierflow import tables
from tierflow.scoring import columns, groups
from tierflow.scoring.aggregate import reduce_groups
from tierflow.scoring.columns import compute
from tierflow.scoring.evaluate import evaluate
from tierflow.scoring.findings import DUPLICATE, INCOMPLETE_UNIT, Findings, add_rule
from tierflow.scoring.history import found_for
from tierflow.scoring.planes import plane_table, require_features, subset
from tierflow.scoring.problems import UNSCORED, Problems, note_unread

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from tierflow.config import Config
    from tierflow.interestingness.base import InterestingnessFunction, PlaneTable, Values

SCAN_COLUMNS = [*groups.SCAN_COLUMNS, "unit_id", "path", "bytes"]
PLANE_COLUMNS = [*groups.PLANE_COLUMNS, "plane", "status", "flag", "reason", "sha256", "bytes"]


@dataclass(frozen=True, slots=True)
class _Shard:
    """What is known of a shard before its planes are scored.

    Attributes:
        objects: Scan table.
        planes: Extract table.
        row: Row of each plane's object, -1 for none, shape (plane,).
        unit: Unit of each object, shape (object,).
        units: Number of units.
        problems: Objects that failed, kept up to date by every stage.
        function: Interestingness function.
        config: Configuration.
    """

    objects: pa.Table
    planes: pa.Table
    row: NDArray[np.int64]
    unit: NDArray[np.int64]
    units: int
    problems: Problems
    function: InterestingnessFunction
    config: Config


@dataclass(frozen=True, slots=True)
class _Scored:
    """Planes that have a value, column by column, shape (plane,).

    Attributes:
        table: Their features.
        values: Interestingness.
        row: Row of the plane's object.
        number: The plane's number in its object.
        channel: Number of its channel in `channel_names`.
        channel_names: Channels of the shard, shape (channel,).
    """

    table: PlaneTable
    values: Values
    row: NDArray[np.int64]
    number: NDArray[np.int64]
    channel: NDArray[np.int64]
    channel_names: NDArray[np.object_]

    def of_good(self, problems: Problems) -> _Scored:
        """Return the planes whose objects have no problem."""
        kept = np.flatnonzero(problems.good()[self.row])
        if len(kept) == len(self.row):
            return self
        return _Scored(
            table=subset(self.table, kept),
            values=self.values[kept],
            row=self.row[kept],
            number=self.number[kept],
            channel=self.channel[kept],
            channel_names=self.channel_names,
        )


@dataclass(frozen=True, slots=True)
class _Decision:
    """What became of the units and who decided.

    Attributes:
        value: Interestingness of each unit, NaN where it has no good object, shape (unit,).
        plane: Row (in `_Scored`) of the plane that decided each unit, -1 likewise, shape (unit,).
        best: Row of the plane that stands for each object, -1 where it failed, shape (object,).
    """

    value: NDArray[np.float64]
    plane: NDArray[np.int64]
    best: NDArray[np.int64]


def needed_features(function: InterestingnessFunction, config: Config) -> list[str]:
    """Return the features that the function and the flag rules read, each once."""
    return list(dict.fromkeys([*function.needs(), *(rule.feature for rule in config.score.flags)]))


def score_shard(
    *,
    objects: pa.Table,
    planes: pa.Table,
    baseline: pa.Table,
    duplicates: pa.Table,
    history: pa.Table,
    function: InterestingnessFunction,
    config: Config,
) -> pa.Table:
    """Score every object of a shard.

    Args:
        objects: Scan table with `SCAN_COLUMNS`; units must be whole.
        planes: Extract table with `PLANE_COLUMNS` and the features that are needed.
        baseline: Baseline table.
        duplicates: Table of duplicates.
        history: Table of history; not looked at where the function doesn't look back.
        function: Interestingness function.
        config: Configuration.

    Returns:
        A table of the schema `tables.SCORE`, one row per object in the order of `objects`.

    Raises:
        ConfigError: if the function or a flag rule reads a feature that isn't in `planes`.
        TableError: if the function looks back and `history` doesn't know the planes.
    """
    unit, unit_names = columns.codes(objects["unit_id"])
    shard = _Shard(
        objects=objects,
        planes=planes,
        row=groups.object_rows(planes, objects),
        unit=unit,
        units=len(unit_names),
        problems=Problems.none(objects.num_rows),
        function=function,
        config=config,
    )
    note_unread(shard.problems, planes, shard.row)
    scored = _score_planes(shard, baseline, history)
    _require_channel(shard, scored)
    scored = scored.of_good(shard.problems)
    decision = _decide(shard, scored)
    findings = _find(shard, scored, duplicates=duplicates)
    reason = _reasons(shard, scored, decision=decision, findings=findings)
    return _table(shard, scored, decision=decision, findings=findings, reason=reason)


def _score_planes(shard: _Shard, baseline: pa.Table, history: pa.Table) -> _Scored:
    features = needed_features(shard.function, shard.config)
    where = f"score.function {shard.function.name} and score.flags"
    require_features(features, tables.feature_columns(shard.planes.schema), where=where)
    # Row -1 (no object of this shard) asks for the last object in vain; the first condition has excluded it.
    usable = np.flatnonzero((shard.row >= 0) & shard.problems.good()[shard.row])
    needed = shard.planes.select([*groups.PLANE_COLUMNS, "plane", *features])
    planes, row = needed.take(usable), shard.row[usable]
    channels = groups.channels_of(planes, shard.objects, row)
    table = plane_table(
        planes,
        plates=groups.plates_of(shard.objects, row),
        channels=channels,
        baseline=baseline,
        features=features,
        settings=shard.config.baseline,
    )
    table = replace(table, history=found_for(history, planes, shard.function))
    number = columns.integers(planes["plane"])
    values = evaluate(shard.function, table, row=row, number=number, unit=shard.unit, problems=shard.problems)
    channel, names = columns.codes(channels)
    scored = _Scored(table=table, values=values, row=row, number=number, channel=channel, channel_names=names)
    return scored.of_good(shard.problems)


def _require_channel(shard: _Shard, scored: _Scored) -> None:
    """Fail the units that have no plane of the one channel that counts."""
    wanted = shard.config.score.aggregate.channel
    if wanted is None:
        return
    counted = scored.channel_names[scored.channel] == wanted
    has = np.bincount(shard.unit[scored.row[counted]], minlength=shard.units) > 0
    found = ", ".join(sorted(map(str, scored.channel_names))) or "none"
    text = (
        f"its unit has no readable plane of channel {wanted!r}, which score.aggregate.channel names "
        f"(channels of this shard: {found})"
    )
    for row in np.flatnonzero(shard.problems.good() & ~has[shard.unit]).tolist():
        shard.problems.note(row, UNSCORED, text)


def _decide(shard: _Shard, scored: _Scored) -> _Decision:
    """Reduce planes to channels and channels to units; see `reduce_groups` for who decides."""
    rules = shard.config.score.aggregate
    width = max(1, len(scored.channel_names))
    counted = np.arange(len(scored.row))
    if rules.channel is not None:
        counted = np.flatnonzero(scored.channel_names[scored.channel] == rules.channel)
    pair_of = shard.unit[scored.row[counted]] * width + scored.channel[counted]
    pairs, member = np.unique(pair_of, return_inverse=True)
    by_channel, plane = reduce_groups(scored.values[counted], member, count=len(pairs), rule=rules.planes)
    value, pair = reduce_groups(by_channel, pairs // width, count=shard.units, rule=rules.channels)
    decided = np.full(shard.units, -1, dtype=np.int64)
    decided[pair >= 0] = counted[plane[pair[pair >= 0]]]
    _, best = reduce_groups(scored.values, scored.row, count=len(shard.unit), rule=rules.planes)
    deciders = decided[decided >= 0]
    best[scored.row[deciders]] = deciders
    # A mean of values in [0, 1] may leave it by rounding.
    return _Decision(value=np.clip(value, 0.0, 1.0), plane=decided, best=best)


def _find(shard: _Shard, scored: _Scored, *, duplicates: pa.Table) -> Findings:
    """Judge the plane that stands for each channel of each object, and the object as a whole."""
    findings = Findings()
    problems = shard.problems
    for failed in np.flatnonzero(~problems.good()).tolist():
        findings.add(failed, problems.flag[failed], problems.reason[failed])
    width = max(1, len(scored.channel_names))
    pairs, member = np.unique(scored.row * width + scored.channel, return_inverse=True)
    rule_of_planes = shard.config.score.aggregate.planes
    _, planes = reduce_groups(scored.values, member, count=len(pairs), rule=rule_of_planes)
    row = scored.row[planes]
    several = np.bincount(row, minlength=len(shard.unit))[row] > 1
    suffix = np.full(len(planes), "", dtype=object)
    suffix[several] = [f" (channel {name})" for name in scored.channel_names[scored.channel[planes[several]]]]
    shown = subset(scored.table, planes)
    for rule in shard.config.score.flags:
        add_rule(findings, rule, shown, row=row, suffix=suffix.tolist())
    _find_duplicates(findings, shard, duplicates)
    _find_incomplete(findings, shard)
    _find_noted(findings, shard)
    return findings


def _find_duplicates(findings: Findings, shard: _Shard, duplicates: pa.Table) -> None:
    """Flag the objects that repeat an earlier one; the first that holds the pixels is the original."""
    copies = duplicates.filter(compute.not_equal(duplicates["object_id"], duplicates["first_object_id"]))
    at = columns.integers(
        compute.index_in(shard.objects["object_id"], value_set=copies["object_id"].combine_chunks()), null=-1
    )
    for row in np.flatnonzero((at >= 0) & shard.problems.good()).tolist():
        findings.add(row, DUPLICATE, f"has the same pixels as {copies['first_path'][int(at[row])].as_py()}")


def _find_incomplete(findings: Findings, shard: _Shard) -> None:
    good = shard.problems.good()
    size = np.bincount(shard.unit)
    bad = np.bincount(shard.unit[~good], minlength=len(size))
    for row in np.flatnonzero(good & (bad[shard.unit] > 0)).tolist():
        one = shard.unit[row]
        text = f"{bad[one]} of the unit's {size[one]} objects failed; the others were scored without them"
        findings.add(row, INCOMPLETE_UNIT, text)


def _find_noted(findings: Findings, shard: _Shard) -> None:
    """Take over what was noted about objects when they were measured, such as that others of their site never came."""
    noted = compute.is_valid(shard.planes["flag"]).to_numpy() & (shard.row >= 0)
    noted[noted] = shard.problems.good()[shard.row[noted]]
    rows = np.flatnonzero(noted)
    said = shard.planes.select(["flag", "reason"]).take(rows).to_pylist()
    # Every plane of the object repeats it.
    once = dict.fromkeys(
        (row, plane["flag"], plane["reason"]) for row, plane in zip(shard.row[rows].tolist(), said, strict=True)
    )
    for row, flag, reason in once:
        findings.add(row, flag, reason or "noted without a reason")


def _reasons(shard: _Shard, scored: _Scored, *, decision: _Decision, findings: Findings) -> NDArray[np.object_]:
    good = shard.problems.good()
    decided = np.flatnonzero(decision.plane >= 0)
    planes = decision.plane[decided]
    said = np.empty(shard.units, dtype=object)
    said[decided] = shard.function.explain(scored.table, planes, scored.values[planes])
    reason = shard.problems.reason.copy()
    reason[good] = said[shard.unit[good]]
    decider = np.full(shard.units, -1, dtype=np.int64)
    decider[decided] = scored.row[planes]
    others = np.flatnonzero(good & (decider[shard.unit] != np.arange(len(shard.unit))))
    if len(others):
        path = columns.texts(shard.objects["path"])
        reason[others] = [f"decided by {path[decider[shard.unit[row]]]}: {reason[row]}" for row in others.tolist()]
    for row, texts in findings.texts_by_row().items():
        if good[row]:
            reason[row] = "; ".join([reason[row], *texts])
    return reason


def _table(
    shard: _Shard, scored: _Scored, *, decision: _Decision, findings: Findings, reason: NDArray[np.object_]
) -> pa.Table:
    good = shard.problems.good()
    count = len(good)
    number = np.full(count, -1, dtype=np.int32)
    number[good] = scored.number[decision.best[good]]
    # Every plane of an object repeats its file's facts; any of them will do.
    known = np.flatnonzero(shard.row >= 0)
    any_plane = np.full(count, -1, dtype=np.int64)
    any_plane[shard.row[known]] = known
    files = shard.planes.select(["sha256", "bytes"])
    if len(shard.row) != count or not np.array_equal(any_plane, np.arange(count)):
        files = files.take(columns.nullable(any_plane, any_plane >= 0))
    flags, details = findings.as_columns(count)
    return columns.table(
        {
            "object_id": shard.objects["object_id"],
            "unit_id": shard.objects["unit_id"],
            "status": np.where(good, "ok", "failed").astype(object),
            "reason": reason,
            "interestingness": columns.nullable(decision.value[shard.unit], good),
            "best_plane": columns.nullable(number, good),
            "flags": flags,
            "flag_details": details,
            "sha256": files["sha256"],
            "bytes": compute.coalesce(files["bytes"], shard.objects["bytes"]),
        },
        schema=tables.SCORE,
    )

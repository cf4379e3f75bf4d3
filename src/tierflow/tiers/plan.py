"""Say what placing would do, without changing anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tierflow.tiers.decide import decide
from tierflow.tiers.journal import peek_journal
from tierflow.tiers.names import free_name
from tierflow.tiers.wants import read_wanted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tierflow.objectstore.connect import Place
    from tierflow.tiers.acts import Want
    from tierflow.tiers.base import TierDriver
    from tierflow.tiers.journal import Journal

Doing = Literal["stay", "place", "restore", "fail"]


@dataclass(frozen=True, slots=True)
class Planned:
    """What would be done with one object.

    Attributes:
        object_id: The object.
        tier: Tier that the policy chose.
        driver: Its driver.
        doing: `stay`: nothing; `place`: make `destination` from `origin`; `restore`: back to its source, and from there
            to `destination` where that is given; `fail`: `problem` says why.
        origin: Where the file is now.
        destination: Where it would be; None: at its source.
        bytes: Its size.
        problem: What is in the way, in words.
    """

    object_id: str
    tier: str
    driver: str
    doing: Doing
    origin: Place
    destination: Place | None
    bytes: int
    problem: str | None = None


@dataclass(slots=True)
class TierTotal:
    """What would be done for one tier.

    Attributes:
        driver: Its driver.
        objects: Objects that belong to it.
        bytes: Their size.
        to_do: How many of them would be touched.
        bytes_to_do: Their size.
        failing: How many can't be placed as things stand.
    """

    driver: str
    objects: int = 0
    bytes: int = 0
    to_do: int = 0
    bytes_to_do: int = 0
    failing: int = 0


@dataclass(slots=True)
class Plan:
    """What would be done for a whole run.

    Attributes:
        tiers: Totals by tier.
        acts: Objects that would be touched or can't be placed, in the order of the shards.
    """

    tiers: dict[str, TierTotal] = field(default_factory=dict)
    acts: list[Planned] = field(default_factory=list)


def plan(output: Path, *, config: Path) -> Plan:
    """Say what placing would do with every object that has a score.

    What a killed run had begun is finished before anything else; here it counts as not begun.

    Args:
        output: Output folder with `scan/shards`, `score` and `policy.json`.
        config: Configuration file.

    Raises:
        InputMissingError: if a table isn't there.
        TableError: if one is damaged.
        ConfigError: if a driver isn't installed or a tier lies in the input folder.
    """
    result = Plan()
    for shard in sorted((output / "scan" / "shards").glob("*.parquet")):
        for planned in plan_shard(
            shard=shard,
            score=output / "score" / shard.name,
            policy=output / "policy.json",
            config=config,
            output=output,
        ):
            _add(result, planned)
    return result


def plan_shard(*, shard: Path, score: Path, policy: Path, config: Path, output: Path) -> Iterator[Planned]:
    """Say what placing would do with the objects of one shard, in their order. Arguments as of the step `place`."""
    output = output.absolute()
    wanted = read_wanted(shard=shard, score=score, policy=policy, config=config, output=output)
    ids = [want.object_id for want in wanted.wants]
    journal = peek_journal(output, shard.stem, cut=wanted.cut, ids=ids)
    for want in wanted.wants:
        yield _planned(journal, want, wanted.drivers[want.driver])


def _planned(journal: Journal, want: Want, driver: TierDriver) -> Planned:
    decision = decide(journal, want, driver)
    placed = journal.record(want.object_id).placed
    origin: Place = want.source
    destination: Place | None = None
    problem: str | None = None
    if placed is not None and placed.consumes:
        origin = journal.path_of(placed.destination)
    doing: Doing = "stay"
    if decision.outcome is not None:
        destination, problem = decision.outcome.destination, decision.outcome.problem
        doing = "fail" if decision.outcome.placement == "failed" else "stay"
    elif decision.kind == "restore":
        doing = "restore"
        destination = free_name(want.wanted, want.object_id) if driver.places else None
    elif decision.origin is not None:
        doing, origin, problem = "place", decision.origin, decision.problem
        destination = free_name(want.wanted, want.object_id)
    return Planned(want.object_id, want.tier, want.driver, doing, origin, destination, want.size or 0, problem)


def _add(result: Plan, planned: Planned) -> None:
    total = result.tiers.setdefault(planned.tier, TierTotal(planned.driver))
    total.objects += 1
    total.bytes += planned.bytes
    if planned.doing == "fail":
        total.failing += 1
    elif planned.doing != "stay":
        total.to_do += 1
        total.bytes_to_do += planned.bytes
    if planned.doing != "stay":
        result.acts.append(planned)

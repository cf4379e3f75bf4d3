"""Work of a run as an engine without a memory hands it out: some steps of some shards, at their usual places.

Snakemake knows itself what is out of date. Argo doesn't: a pod that is begun again, or a workflow that is submitted
again for the same output, finds here that a result is newer than all it depends on, and leaves it.
"""

from __future__ import annotations

import json
import math
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierflow import costs
from tierflow.config_io import load
from tierflow.errors import ConfigError, TierflowError, TooManyFailedError, exit_code_of
from tierflow.freshness import is_fresh
from tierflow.lock import run_lock
from tierflow.objectstore.in_place import InPlace
from tierflow.output_folder import clear_state, leave_note, remove_leftovers, require_room
from tierflow.render.snakemake import Workflow, prepare
from tierflow.steps import STEPS
from tierflow.steps.places import arguments, log_file, results, shards_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

# Which of several errors a job ends with: one that a person must mend comes first, one that passes by itself last.
_WORST_FIRST = (78, 66, 76, 70, 75)


@dataclass(frozen=True, slots=True)
class Part:
    """One of several jobs that share the shards of a run; job `number` of `of`, counted from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read `3/10`.

        Raises:
            ConfigError: if it isn't two whole numbers, the first from 1 to the second.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise ConfigError(f"part is {text!r}: expected NUMBER/OF with NUMBER from 1 to OF, such as 3/10")
        return cls(int(match[1]), int(match[2]))

    def of_items(self, items: Sequence[str]) -> Sequence[str]:
        """Return this part's neighbouring items; all parts together hold each item once, and are about as long."""
        return items[(self.number - 1) * len(items) // self.of : self.number * len(items) // self.of]


@dataclass(slots=True)
class Done:
    """What a job did: steps carried out, and steps whose results were up to date."""

    ran: int = 0
    skipped: int = 0


def begin(workflow: Workflow, *, keep: InPlace | None = None) -> None:
    """Write a run's configuration and settings files, and scan its input.

    Args:
        workflow: The resolved run.
        keep: Keeps an output on an object store in step; None for a folder.

    Raises:
        TryAgainError: if another run, or a job of one, uses the output.
        TierflowError: as the step `scan` does.
    """
    from tierflow.scoring.check import check

    check(workflow.config)
    output = workflow.output
    require_room(output)
    with run_lock(output):
        (keep or InPlace()).before(["scan"], None)
        clear_state(output)
        remove_leftovers(output)
        prepare(workflow.config.model_dump() | {"output": str(output)}, mode="write")
        _run_steps(output, ["scan"], None, Done(), keep or InPlace())


def configure(workflow: Workflow) -> None:
    """Write another configuration for a run whose images are measured already.

    Raises:
        ConfigError: if the new configuration would measure the images anew.
        InputMissingError: if the run wasn't scanned.
        TryAgainError: if another run, or a job of one, uses the output.
    """
    from tierflow.scoring.check import check

    check(workflow.config)
    output = workflow.output
    shards_of(output)
    with run_lock(output):
        former = load(output / "config.yaml")
        for step in ("scan", "extract"):
            if former.digest(STEPS[step].settings) != workflow.config.digest(STEPS[step].settings):
                raise ConfigError(
                    f"{output}: the new configuration changes {', '.join(STEPS[step].settings)}, on which the "
                    f"measurements depend: begin a run with it (`tierflow job scan`, Argo template tierflow-batch)"
                )
        clear_state(output)
        remove_leftovers(output)
        prepare(workflow.config.model_dump() | {"output": str(output)}, mode="write")


def approve(output: Path, *, answer: str) -> None:
    """Go on or end, as a person said who saw what the policy would do.

    Raises:
        TooManyFailedError: if the answer is NO.
        ConfigError: if it is neither YES nor NO.
    """
    if answer == "YES":
        return
    counts = policy_values(output)["tiers"]
    if answer != "NO":
        raise ConfigError(f"the answer is {answer!r}: expected YES or NO; nothing was placed")
    raise TooManyFailedError(
        f"a person answered NO to placing {counts} (objects by tier): nothing was placed, every file is where it was. "
        f"Change score or policy with tierflow-rescore for output {output}, or submit again and answer YES"
    )


def work(output: Path, *, steps: Sequence[str], part: Part | None = None, keep: InPlace | None = None) -> Done:
    """Carry out steps of a run that was begun, where they are out of date.

    One shard that fails doesn't stop the others of the part.

    Args:
        output: Output folder.
        steps: Names of steps, in their order; all of shards, or all of the whole data set.
        part: Which shards; None for all.
        keep: Keeps an output on an object store in step; None for a folder.

    Raises:
        ConfigError: if a step is unknown, or steps of shards and of the data set are mixed.
        InputMissingError: if the run wasn't begun.
        TierflowError: of the worst failure, when a step failed.
    """
    scopes = {_known(step) for step in steps}
    if len(scopes) != 1:
        raise ConfigError(f"steps {', '.join(steps)}: give steps of shards, or of the whole data set, not both")
    wanted = _configured(output, steps)
    done = Done()
    failures: list[TierflowError | OSError] = []
    with run_lock(output, shared=True):
        shards: Iterable[str | None] = [None]
        if scopes == {"shard"}:
            shards = part.of_items(shards_of(output)) if part else shards_of(output)
        for shard in shards:
            try:
                (keep or InPlace()).before(wanted, shard)
                _run_steps(output, wanted, shard, done, keep or InPlace())
            except (TierflowError, OSError) as error:
                failures.append(error)
    if failures:
        raise min(failures, key=lambda error: _WORST_FIRST.index(exit_code_of(error)))
    return done


def scan_values(output: Path, *, shards_per_job: Mapping[str, int], most_jobs: int) -> dict[str, str]:
    """Return what an engine must know after `scan`: how many jobs each step gets.

    Args:
        output: Output folder.
        shards_per_job: Shards that one job handles, by step.
        most_jobs: No step gets more jobs than this.

    Returns:
        Texts by name: `shards`, `objects`, and `<step>_jobs` for each step of `shards_per_job`; `publish_jobs` is
        `place_jobs`, and 0 where no server is configured.
    """
    summary = json.loads((output / "scan" / "summary.json").read_text(encoding="utf-8"))
    shards = len(summary["shards"])
    jobs = {f"{step}_jobs": str(min(math.ceil(shards / n), most_jobs)) for step, n in shards_per_job.items()}
    jobs["publish_jobs"] = jobs.get("place_jobs", "0") if _configured(output, ["publish"]) else "0"
    return {"shards": str(shards), "objects": str(summary["objects"]), **jobs}


def policy_values(output: Path) -> dict[str, str]:
    """Return what an engine must know after `policy`, to ask a person before anything is placed.

    Returns:
        Texts by name: `tiers` (objects by tier, JSON), `removed_share` (share, 0 to 1, of objects in quarantine or
        in a tier with the driver `trash`) and `quarantine_share`.
    """
    config = load(output / "config.yaml")
    counts: dict[str, int] = json.loads((output / "policy.json").read_text(encoding="utf-8"))["counts"]
    removed = sum(n for tier, n in counts.items() if tier == "quarantine" or config.tier(tier).driver == "trash")
    objects = max(sum(counts.values()), 1)
    return {
        "tiers": json.dumps(counts, sort_keys=True),
        "removed_share": f"{removed / objects:.6f}",
        "quarantine_share": f"{counts.get('quarantine', 0) / objects:.6f}",
    }


def state_of(output: Path) -> Iterator[tuple[str, int, int]]:
    """Yield (step, results that are there, results that are expected) of a run, for a summary at its end."""
    shards = shards_of(output)
    for step in _configured(output, list(STEPS)):
        places: Sequence[str | None] = shards if STEPS[step].scope == "shard" else [None]
        there = sum(all(path.exists() for path in results(step, output, shard=shard)) for shard in places)
        yield step, there, len(places)


def _known(step: str) -> str:
    if step not in STEPS or step == "scan":
        known = ", ".join(name for name in STEPS if name != "scan")
        raise ConfigError(f"step is {step!r}: expected one of {known}")
    return STEPS[step].scope


def _configured(output: Path, steps: Sequence[str]) -> list[str]:
    """Return the steps that this run has: without a server there is nothing to publish to."""
    url = load(output / "config.yaml").catalogue.elasticsearch.url
    return [step for step in steps if step != "publish" or url]


def _run_steps(output: Path, steps: Sequence[str], shard: str | None, done: Done, keep: InPlace) -> None:
    for step in steps:
        if is_fresh(step, output, shard=shard):
            done.skipped += 1
            continue
        started = time.perf_counter()
        log = log_file(step, output, shard=shard)
        try:
            STEPS[step].function(**arguments(step, output, shard=shard))
        except (TierflowError, OSError) as error:
            leave_note(output, step, error)
            costs.append(log, f"tierflow: {error}")
            raise
        costs.append(log, json.dumps(costs.cost_of(step, step_s=time.perf_counter() - started)))
        keep.after(step, shard)
        done.ran += 1

"""What a workflow's JSON says: how far each step is, what failed, what it waits for. Nothing is asked of a cluster."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tierflow.errors import EXIT_INTERNAL, EXIT_TRY_AGAIN

if TYPE_CHECKING:
    from collections.abc import Mapping

_OVER = frozenset({"Succeeded", "Failed", "Error"})
_FAILED = frozenset({"Failed", "Error"})
_SKIPPED = frozenset({"Skipped", "Omitted"})
_GROUPS = frozenset({"TaskGroup", "StepGroup"})
_PARENTS = frozenset({"DAG", "Steps"})
# As in `tierflow.jobs`: what a person must mend comes first, what passes by itself last.
_WORST_FIRST = (78, 66, 76, 70, 75)
_MEANINGS = {
    66: "an input is missing",
    70: "internal error",
    75: "something outside stood in the way: the same may work later",
    76: "too many objects failed, or a person said no",
    78: "the configuration is wrong",
    137: "killed, most often because its memory limit was too small",
    143: "told to end: its node was drained or it ran too long",
}


@dataclass(slots=True)
class Step:
    """How far one step is, over all its jobs.

    Attributes:
        name: Name of the task, without the number of the job.
        depth: 0 for steps of the workflow itself, 1 for steps of one of these ...
        states: Number of jobs by Argo's phase; `Running` counts jobs, not attempts.
        again: Attempts beyond the first, over all jobs.
        expected: Jobs that there will be, where a step before has told; else None.
        waits: It waits for a person.
        message: What the cluster says about a job that doesn't start, or the last failed attempt.
    """

    name: str
    depth: int
    states: Counter[str] = field(default_factory=Counter)
    again: int = 0
    expected: int | None = None
    waits: bool = False
    message: str = ""

    @property
    def jobs(self) -> int:
        """Number of jobs, as far as it is known."""
        return max(self.states.total(), self.expected or 0)

    @property
    def done(self) -> int:
        """Jobs that succeeded."""
        return self.states["Succeeded"]

    @property
    def failed(self) -> int:
        """Jobs that failed for good."""
        return sum(self.states[phase] for phase in _FAILED)

    @property
    def running(self) -> int:
        """Jobs at work."""
        return self.states["Running"]

    @property
    def is_skipped(self) -> bool:
        """Nothing of it was to be done."""
        return self.states.total() > 0 and all(phase in _SKIPPED for phase in self.states)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a workflow failed.

    Attributes:
        step: Name of the step and job.
        exit_code: For the shell: the pod's own where it has one.
        message: In words.
    """

    step: str
    exit_code: int
    message: str


@dataclass(frozen=True, slots=True)
class Question:
    """What a workflow waits for.

    Attributes:
        node_id: Argo's name of the waiting node.
        step: Name of the step.
        parameter: What the answer is kept as; empty where going on is all there is to say.
        choices: Answers that it takes; empty: any.
        facts: What a person needs to know for the answer, by name.
    """

    node_id: str
    step: str
    parameter: str
    choices: tuple[str, ...]
    facts: Mapping[str, str]


def name_of(workflow: Mapping[str, Any]) -> str:
    """Return a workflow's name."""
    return str(workflow["metadata"].get("name") or workflow["metadata"].get("generateName", ""))


def phase_of(workflow: Mapping[str, Any]) -> str:
    """Return the workflow's phase; `Pending` before Argo has looked at it."""
    return str((workflow.get("status") or {}).get("phase") or "Pending")


def is_over(workflow: Mapping[str, Any]) -> bool:
    """Tell whether a workflow has ended."""
    return phase_of(workflow) in _OVER


def steps_of(workflow: Mapping[str, Any]) -> list[Step]:
    """Return the steps of a workflow in the order of their beginning, each followed by its own steps."""
    nodes = _nodes(workflow)
    attempts = _attempts(nodes)
    found: dict[tuple[str, ...], Step] = {}
    for node in sorted(nodes.values(), key=lambda n: (n.get("startedAt") or "~", n["id"])):
        if node["id"] in attempts or node["type"] in _GROUPS or _is_root(node, workflow):
            continue
        path = _path(node, nodes, workflow)
        step = found.setdefault(path, Step(path[-1], len(path) - 1))
        _count(step, node, nodes)
    expected = _expected(nodes)
    for step in found.values():
        if not step.is_skipped:
            step.expected = expected.get(step.name)
    return [found[path] for path in _depth_first(found)]


def failure_of(workflow: Mapping[str, Any]) -> Failure | None:
    """Return why a workflow failed, the worst of several reasons; None if it succeeded or hasn't ended."""
    if phase_of(workflow) not in _FAILED:
        return None
    nodes = _nodes(workflow)
    last = {node["children"][-1] for node in nodes.values() if node["type"] == "Retry" and node.get("children")}
    attempts = _attempts(nodes)
    failed = [
        node
        for node in nodes.values()
        if node["phase"] in _FAILED
        and node["type"] not in (_GROUPS | _PARENTS | {"Retry"})
        and (node["id"] not in attempts or (node["id"] in last and _gave_up(node, nodes)))
    ]
    told = [node for node in failed if _exit_code(node) is not None] or failed
    if not told:
        return _without_node(workflow)
    worst = min(told, key=lambda node: (_rank(_exit_code(node)), node.get("finishedAt") or "", node["id"]))
    code = _exit_code(worst)
    message = _words(worst.get("message") or _status(workflow).get("message"))
    if code is None:
        code = EXIT_TRY_AGAIN if _was_ended(message) else EXIT_INTERNAL
    meaning = _MEANINGS.get(code)
    return Failure(_label(worst, workflow), code, f"{message} ({meaning})" if meaning else message)


def questions_of(workflow: Mapping[str, Any]) -> list[Question]:
    """Return what a workflow waits for."""
    return [
        Question(node["id"], _label(node, workflow), *_asked(node))
        for node in _nodes(workflow).values()
        if node["type"] == "Suspend" and node["phase"] == "Running"
    ]


def pods_of(workflow: Mapping[str, Any], step: str) -> set[str]:
    """Return the last parts of the names of a step's pods: the numbers that Argo gave them."""
    nodes = _nodes(workflow)
    return {
        node["id"].rpartition("-")[2]
        for node in nodes.values()
        if node["type"] == "Pod" and step in _path(node, nodes, workflow)
    }


def _status(workflow: Mapping[str, Any]) -> Mapping[str, Any]:
    return workflow.get("status") or {}


def _nodes(workflow: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    nodes: dict[str, dict[str, Any]] = _status(workflow).get("nodes") or {}
    # A node that Argo has named but not looked at yet has neither type nor phase.
    return {key: {"type": "", "phase": "Pending", "displayName": key} | node for key, node in nodes.items()}


def _attempts(nodes: Mapping[str, Mapping[str, Any]]) -> set[str]:
    return {child for node in nodes.values() if node["type"] == "Retry" for child in node.get("children") or ()}


def _is_root(node: Mapping[str, Any], workflow: Mapping[str, Any]) -> bool:
    return bool(node["id"] == name_of(workflow) and node["type"] in _PARENTS)


def _label(node: Mapping[str, Any], workflow: Mapping[str, Any]) -> str:
    return str(node["displayName"]).removeprefix(f"{name_of(workflow)}.")


def _path(
    node: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]], workflow: Mapping[str, Any]
) -> tuple[str, ...]:
    name = re.sub(r"\(.*", "", _label(node, workflow))
    boundary = nodes.get(node.get("boundaryID") or "")
    if boundary is None or _is_root(boundary, workflow):
        return (name,)
    return (*_path(boundary, nodes, workflow), name)


def _count(step: Step, node: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]]) -> None:
    phase = str(node["phase"])
    tries = [nodes[child] for child in node.get("children") or () if child in nodes] if node["type"] == "Retry" else []
    if tries:
        step.again += len(tries) - 1
        if phase == "Running" and tries[-1]["phase"] == "Pending":
            phase = "Pending"
    step.states[phase] += 1
    step.waits |= node["type"] == "Suspend" and phase == "Running"
    message = (tries[-1].get("message") if tries else None) or node.get("message")
    if message and phase not in _SKIPPED and phase != "Succeeded":
        step.message = _words(message)


def _expected(nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Read the numbers of jobs that `tierflow job scan` has told, such as `extract_jobs`, by step."""
    return {
        str(entry["name"]).removesuffix("_jobs").removesuffix("-jobs"): int(entry["value"])
        for node in nodes.values()
        for entry in (node.get("outputs") or {}).get("parameters") or ()
        if re.search(r"[_-]jobs$", str(entry["name"])) and str(entry.get("value", "")).isdigit()
    }


def _depth_first(found: Mapping[tuple[str, ...], Step]) -> list[tuple[str, ...]]:
    order = {path: number for number, path in enumerate(found)}
    return sorted(found, key=lambda path: [order.get(path[: n + 1], -1) for n in range(len(path))])


def _gave_up(attempt: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]]) -> bool:
    return any(
        node["type"] == "Retry" and attempt["id"] in (node.get("children") or ()) and node["phase"] in _FAILED
        for node in nodes.values()
    )


def _exit_code(node: Mapping[str, Any]) -> int | None:
    told = (node.get("outputs") or {}).get("exitCode")
    if told is None:
        # Where the pod went before Argo had collected its outputs, the message still has it.
        match = re.search(r"exit code (\d+)", str(node.get("message") or ""))
        told = match[1] if match else None
    return int(told) if told is not None and int(told) else None


def _rank(code: int | None) -> int:
    return _WORST_FIRST.index(code) if code in _WORST_FIRST else len(_WORST_FIRST)


def _was_ended(message: str) -> bool:
    return bool(re.search(r"shutdown|[Ss]topped|[Tt]erminated|deadline|pod deleted", message))


def _without_node(workflow: Mapping[str, Any]) -> Failure:
    message = _words(_status(workflow).get("message"))
    return Failure(name_of(workflow), EXIT_TRY_AGAIN if _was_ended(message) else EXIT_INTERNAL, message)


def _words(message: object) -> str:
    """Return a message without the lines of Argo's own program, which follow the step's in the pod's log."""
    lines = [line for line in str(message or "").splitlines() if not re.match(r'(time="|Error: exit status )', line)]
    return "\n".join(lines).strip() or "no message"


def _asked(node: Mapping[str, Any]) -> tuple[str, tuple[str, ...], dict[str, str]]:
    outputs = (node.get("outputs") or {}).get("parameters") or ()
    parameter = next((str(p["name"]) for p in outputs if "supplied" in (p.get("valueFrom") or {}) or "value" in p), "")
    inputs = {str(p["name"]): p for p in (node.get("inputs") or {}).get("parameters") or ()}
    choices = tuple(inputs.pop(parameter, {}).get("enum") or ())
    return parameter, choices, {name: str(p.get("value", "")) for name, p in inputs.items()}

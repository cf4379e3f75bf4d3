"""Which `{{...}}` a text holds, and whether they have a value where it stands."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TAG = re.compile(r"\{\{(=?)(.*?)\}\}", re.DOTALL)
_NAME = r"[A-Za-z_]\w*"
# `a.b.c`, and `a['b-c']`: in an expression a hyphen is a minus.
_PATH = re.compile(rf"{_NAME}(?:\??\.{_NAME}|\[(?:'[^']*'|\"[^\"]*\")\])*")
_KEY = re.compile(r"\[['\"]([^'\"]*)['\"]\]")
_TEXT = re.compile(r"(?<!\[)(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')")
_WORKFLOW = frozenset(
    {
        "name", "namespace", "uid", "status", "failures", "duration", "creationTimestamp", "serviceAccountName",
        "mainEntrypoint", "priority", "scheduledTime", "parameters", "parameters.json",
    }
)  # fmt: skip
_ROOTS = frozenset({"workflow", "inputs", "outputs", "tasks", "steps", "item", "retries", "lastRetry", "pod", "node"})
_LAST_RETRY = frozenset({"exitCode", "status", "duration", "message"})
_NODE_STATE = frozenset({"id", "ip", "status", "exitCode", "startedAt", "finishedAt", "name", "hostNodeName"})


@dataclass(frozen=True, slots=True)
class Scope:
    """What has a value at some place of a workflow.

    Attributes:
        parameters: Parameters of the workflow.
        inputs: Parameters of the template.
        outputs: Parameters that the template gives out; for its own metrics and hooks alone.
        tasks: By name of an earlier task or step: the parameters it gives out. None for one that may not be read here.
        item: Whether a loop goes on.
        retried: Whether the template is tried again.
        metric: Whether this is a metric, which may also ask for status and duration.
    """

    parameters: frozenset[str] = frozenset()
    inputs: frozenset[str] = frozenset()
    outputs: frozenset[str] = frozenset()
    tasks: Mapping[str, frozenset[str]] = field(default_factory=dict)
    item: bool = False
    retried: bool = False
    metric: bool = False


def texts(tree: Any) -> Iterator[str]:
    """Yield every text of an object."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from texts(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from texts(value)


def variables(text: str) -> Iterator[str]:
    """Yield the names that the tags of a text refer to, as dotted paths."""
    for tag in _TAG.finditer(text):
        yield from names_of(tag[2]) if tag[1] else [tag[2].strip()]


def names_of(expression: str) -> Iterator[str]:
    """Yield the variables of an expression, as dotted paths; functions and words of the language are left out."""
    for match in _PATH.finditer(_TEXT.sub(" ", expression)):
        path = _KEY.sub(r".\1", match[0]).replace("?.", ".")
        if path.split(".")[0] in _ROOTS:
            yield path


def unresolved(text: str, scope: Scope) -> Iterator[str]:
    """Yield what is wrong with the variables of a text."""
    if "{{" in _TAG.sub("", text):
        yield f"{text!r}: a `{{{{` without `}}}}`"
    for name in variables(text):
        problem = problem_of(name, scope)
        if problem:
            yield f"{{{{{name}}}}}: {problem}"


def problem_of(name: str, scope: Scope) -> str:
    """Return why a variable has no value in a scope; empty if it has one."""
    root, _, rest = name.partition(".")
    match root:
        case "workflow":
            return _workflow(rest, scope)
        case "inputs":
            return _declared(rest, scope.inputs, "input of this template")
        case "outputs":
            return _declared(rest, scope.outputs, "output of this template")
        case "tasks" | "steps":
            return _result(rest, scope)
        case "item":
            return "" if scope.item else "there is no loop here"
        case "retries":
            return "" if scope.retried else "this template has no retryStrategy"
        case "lastRetry":
            return "" if scope.retried and rest in _LAST_RETRY else "not known here"
        case "pod" | "node":
            return "" if rest == "name" else f"only {root}.name is known"
        case "status" | "duration" | "exitCode":
            return "" if scope.metric else "known in metrics alone"
        case _:
            return "no such variable"


def _workflow(rest: str, scope: Scope) -> str:
    if rest.startswith("parameters."):
        return _listed(rest.removeprefix("parameters."), scope.parameters, "parameter of the workflow")
    free = ("labels.", "annotations.", "creationTimestamp.", "outputs.")
    return "" if rest in _WORKFLOW or rest.startswith(free) else "no such variable of a workflow"


def _declared(rest: str, names: frozenset[str], what: str) -> str:
    kind, _, name = rest.partition(".")
    if kind == "artifacts":
        return ""
    return _listed(name, names, what) if kind == "parameters" else "expected parameters.NAME"


def _result(rest: str, scope: Scope) -> str:
    task, _, what = rest.partition(".")
    if task not in scope.tasks:
        return f"{task} isn't done before this: name it in `depends`, or put it into an earlier step"
    if what in _NODE_STATE or what in ("outputs.result", "outputs.exitCode") or what.startswith("outputs.artifacts."):
        return ""
    if what.startswith("outputs.parameters."):
        return _listed(what.removeprefix("outputs.parameters."), scope.tasks[task], f"output of {task}")
    return "no such result of a task"


def _listed(name: str, names: frozenset[str], what: str) -> str:
    if name in names:
        return ""
    return f"no {what} has this name; there are {', '.join(sorted(names)) or 'none'}"

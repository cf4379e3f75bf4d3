"""Checks of who calls whom: templates, their parameters, the order of tasks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_RESULTS = frozenset({"Succeeded", "Failed", "Errored", "Skipped", "Omitted", "Daemoned", "AnySucceeded", "AllFailed"})
_LOOPS = ("withItems", "withParam", "withSequence")
_TERM = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z]+)?")


@dataclass(frozen=True, slots=True)
class Library:
    """The templates that a workflow may call.

    Attributes:
        own: Its own templates, by name.
        others: Templates of the other WorkflowTemplates that are checked with it, by their name.
    """

    own: Mapping[str, dict[str, Any]]
    others: Mapping[str, Mapping[str, dict[str, Any]]]

    def find(self, call: Mapping[str, Any]) -> dict[str, Any] | str:
        """Return the template that a task, step or hook calls, or what is wrong with the call."""
        if "inline" in call:
            inline: dict[str, Any] = call["inline"]
            return inline
        if "templateRef" in call:
            reference = call["templateRef"]
            templates = self.others.get(reference.get("name"))
            if templates is None:
                return f"templateRef names {reference.get('name')!r}: no such WorkflowTemplate among the files"
            return (
                templates.get(reference.get("template")) or f"{reference['name']} has no {reference.get('template')!r}"
            )
        name = call.get("template")
        return self.own.get(str(name)) or f"template {name!r} is not defined: there are {', '.join(self.own)}"


def outputs_of(template: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the parameters that a template gives out."""
    return parameter_names(template.get("outputs"))


def parameter_names(arguments: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the names of the parameters of arguments, inputs or outputs."""
    return frozenset(str(each.get("name")) for each in (arguments or {}).get("parameters") or [])


def check_arguments(given: Mapping[str, Any] | None, wanted: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield what is wrong with the parameters of a call.

    Args:
        given: `arguments` of the call.
        wanted: `inputs` of the template, or `arguments` of the workflow template, that is called.
    """
    declared = parameter_names(wanted)
    passed = parameter_names(given)
    for name in sorted(passed - declared):
        known = ", ".join(sorted(declared)) or "none"
        yield f"passes parameter {name!r}, which is not declared there: declared are {known}"
    for parameter in (wanted or {}).get("parameters") or []:
        if parameter.get("name") not in passed and not {"value", "default", "valueFrom"} & set(parameter):
            yield f"doesn't pass parameter {parameter.get('name')!r}, which has no default"


def check_call(call: Mapping[str, Any], library: Library) -> Iterator[str]:
    """Yield what is wrong with one task, step or hook: whom it calls, and with what."""
    target = library.find(call)
    if isinstance(target, str):
        yield target
        return
    yield from check_arguments(call.get("arguments"), target.get("inputs"))
    loops = [loop for loop in _LOOPS if loop in call]
    if len(loops) > 1:
        yield f"has {' and '.join(loops)}: only one loop is possible"


def is_loop(call: Mapping[str, Any]) -> bool:
    """Tell whether a task or step is done once per item."""
    return any(loop in call for loop in _LOOPS)


def ancestors(tasks: Sequence[Mapping[str, Any]]) -> dict[str, set[str]] | str:
    """Return all tasks that are done before each task, or what is wrong with the order."""
    named = {str(task.get("name")) for task in tasks}
    direct: dict[str, set[str]] = {}
    for task in tasks:
        name = str(task.get("name"))
        if name in direct:
            return f"two tasks are named {name!r}"
        if "depends" in task and "dependencies" in task:
            return f"task {name}: has both depends and dependencies; use depends"
        terms = [*_TERM.findall(str(task.get("depends", ""))), *(task.get("dependencies") or [])]
        for term in terms:
            earlier, _, result = str(term).partition(".")
            if earlier not in named:
                return f"task {name}: depends on {earlier!r}, which is no task: there are {', '.join(sorted(named))}"
            if result and result not in _RESULTS:
                return f"task {name}: {term!r} is no result; expected one of {', '.join(sorted(_RESULTS))}"
        direct[name] = {str(term).partition(".")[0] for term in terms}
    try:
        order = list(TopologicalSorter(direct).static_order())
    except CycleError as error:
        return f"tasks wait for each other: {' -> '.join(error.args[1])}"
    before: dict[str, set[str]] = {}
    for name in order:
        before[name] = direct[name].union(*(before[earlier] for earlier in direct[name]))
    return before


def without_default(calls: Sequence[Mapping[str, Any]], used: frozenset[str], library: Library) -> Iterator[str]:
    """Yield outputs of calls that may be skipped, are read, and have no value then.

    Args:
        calls: Tasks or steps.
        used: Variables that any text of the template refers to, as dotted paths.
        library: Where templates are found.
    """
    for call in calls:
        target = library.find(call)
        if "when" not in call or isinstance(target, str):
            continue
        for output in (target.get("outputs") or {}).get("parameters") or []:
            paths = {
                f"{root}.{call.get('name')}.outputs.parameters.{output.get('name')}" for root in ("tasks", "steps")
            }
            if paths & used and "default" not in (output.get("valueFrom") or {}):
                yield (
                    f"{call.get('name')}: has `when`, and its output {output.get('name')!r} is read: "
                    "give it valueFrom.default, or the run fails where the task is skipped"
                )

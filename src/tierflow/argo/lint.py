"""A strict check of workflow files without a cluster: also what Argo's own `lint --offline` doesn't see."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tierflow.argo.lint_calls import (
    Library,
    ancestors,
    check_arguments,
    check_call,
    is_loop,
    outputs_of,
    parameter_names,
    without_default,
)
from tierflow.argo.lint_fields import unknown_fields
from tierflow.argo.lint_files import Defined, Document, read_workflows
from tierflow.argo.lint_pods import check_body, check_container, check_names
from tierflow.argo.lint_variables import Scope, names_of, problem_of, texts, unresolved, variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


def problems(paths: Sequence[Path], *, defined: Defined | None = None) -> list[str]:
    """Return what is wrong with workflow files, one line per problem; empty if nothing is.

    Args:
        paths: Files, or folders of them. References between workflow templates are followed among these.
        defined: Names that the base defines; None leaves out the check of ConfigMaps, Secrets, claims and accounts.

    Raises:
        InputMissingError: if a file is missing, or none holds a workflow.
        ConfigError: if one isn't YAML.
    """
    documents = read_workflows(paths)
    specs = {each.name: each.spec for each in documents if each.kind in ("WorkflowTemplate", "ClusterWorkflowTemplate")}
    return [
        f"{document.file}: {document.kind} {document.name}: {problem}"
        for document in documents
        for problem in _document(document, specs, defined)
    ]


def run_argo(paths: Sequence[Path]) -> str | None:
    """Return what `argo lint --offline` complains about: empty if nothing, None where there is no such program."""
    program = shutil.which("argo")
    if program is None:
        return None
    command = [program, "lint", "--offline", "--no-color", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip() if done.returncode else ""


def _document(document: Document, specs: Mapping[str, dict[str, Any]], defined: Defined | None) -> Iterator[str]:
    fields = list(unknown_fields(document.tree, document.kind))
    yield from fields
    if any("expected" in problem for problem in fields):
        # The shape isn't what the further checks read.
        return
    spec = document.spec
    if defined is not None:
        yield from check_names(spec, defined)
    if "workflowTemplateRef" in spec:
        yield from _reference(spec, specs)
    else:
        yield from _spec(spec, specs)


def _reference(spec: dict[str, Any], specs: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    name = spec["workflowTemplateRef"].get("name")
    if name not in specs:
        yield f"workflowTemplateRef names {name!r}: no such WorkflowTemplate among the files"
    else:
        yield from check_arguments(spec.get("arguments"), specs[name].get("arguments"))


def _spec(spec: dict[str, Any], specs: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    templates = spec.get("templates") or []
    names = [str(template.get("name")) for template in templates]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"two templates are named {name!r}"
    library = Library(
        own=dict(zip(names, templates, strict=True)),
        others={name: {t.get("name"): t for t in other.get("templates") or []} for name, other in specs.items()},
    )
    for place in ("entrypoint", "onExit"):
        target = spec.get(place)
        if (target or place == "entrypoint") and target not in library.own:
            yield f"{place} is {target!r}: expected one of the templates {', '.join(names)}"
    scope = Scope(parameters=parameter_names(spec.get("arguments")))
    common = {key: value for key, value in spec.items() if key not in ("templates", "metrics")}
    yield from _texts(common, replace(scope, retried=True))
    yield from _texts(spec.get("metrics"), replace(scope, metric=True))
    for template in templates:
        for problem in _template(template, spec, library, scope):
            yield f"template {template.get('name')}: {problem}"


def _template(template: dict[str, Any], spec: dict[str, Any], library: Library, scope: Scope) -> Iterator[str]:
    yield from check_body(template)
    yield from check_container(template, spec)
    retry = template.get("retryStrategy") or {}
    scope = replace(
        scope,
        inputs=parameter_names(template.get("inputs")),
        outputs=outputs_of(template),
        retried=bool(retry),
    )
    for name in names_of(retry.get("expression", "")):
        if problem_of(name, scope):
            yield f"retryStrategy.expression: {name}: {problem_of(name, scope)}"
    yield from _texts(template.get("metrics"), replace(scope, metric=True))
    own = {key: value for key, value in template.items() if key not in ("metrics", "dag", "steps", "outputs")}
    yield from _texts(own, replace(scope, outputs=frozenset()))
    yield from _group(template, library, replace(scope, outputs=frozenset()))


def _group(template: dict[str, Any], library: Library, scope: Scope) -> Iterator[str]:
    """Check the tasks or steps of a template, and the outputs that it makes of theirs."""
    tasks = (template.get("dag") or {}).get("tasks") or []
    groups = template.get("steps") or []
    calls = [*tasks, *(step for group in groups for step in group)]
    given = {str(call.get("name")): _given(call, library) for call in calls}
    before = ancestors(tasks) if tasks else _before(groups)
    if isinstance(before, str):
        yield before
        return
    for call in calls:
        name = str(call.get("name"))
        readable = {earlier: given[earlier] for earlier in before[name]}
        inner = replace(scope, tasks=readable, item=is_loop(call))
        for problem in (*check_call(call, library), *_texts(call, inner)):
            yield f"{name}: {problem}"
    used = frozenset(name for text in texts(template) for name in variables(text))
    yield from without_default(calls, used, library)
    yield from _texts(template.get("outputs"), replace(scope, tasks=given))


def _before(groups: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, set[str]]:
    before: dict[str, set[str]] = {}
    for group in groups:
        earlier = set(before)
        before |= {str(step.get("name")): earlier for step in group}
    return before


def _given(call: Mapping[str, Any], library: Library) -> frozenset[str]:
    target = library.find(call)
    return frozenset() if isinstance(target, str) else outputs_of(target)


def _texts(tree: Any, scope: Scope) -> Iterator[str]:
    for text in texts(tree):
        yield from unresolved(text, scope)

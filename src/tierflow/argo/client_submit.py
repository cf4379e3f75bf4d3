"""The workflow that is submitted: parameters of a template, and the configuration as a form's text."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import yaml

from tierflow.config_io import merge, validate
from tierflow.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tierflow.argo.client import Workflow

# Keys whose mappings a configuration text replaces whole; see `tierflow.config_io.merge`.
_WHOLE = ("tiers", "parameters")


def workflow_of(template: str, parameters: Mapping[str, str], *, parallelism: int | None = None) -> Workflow:
    """Return a workflow that uses a WorkflowTemplate.

    Args:
        template: Name of the template.
        parameters: Values that differ from the template's own.
        parallelism: Most pods at a time; None: as the template says.
    """
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "generateName": f"{template}-",
            "labels": {"workflows.argoproj.io/workflow-template": template},
        },
        "spec": {
            "workflowTemplateRef": {"name": template},
            "arguments": {"parameters": [{"name": name, "value": value} for name, value in parameters.items()]},
            **({"parallelism": parallelism} if parallelism else {}),
        },
    }


def again(old: Workflow) -> Workflow:
    """Return a new workflow with the template, parameters and parallelism of one that ended.

    Raises:
        ConfigError: if it wasn't made from a template.
    """
    spec, name = old["spec"], old["metadata"]["name"]
    if "workflowTemplateRef" not in spec:
        raise ConfigError(f"workflow {name} wasn't submitted from a template: give --server to retry it")
    entries = (spec.get("arguments") or {}).get("parameters") or ()
    given = {entry["name"]: entry["value"] for entry in entries if "value" in entry}
    made = workflow_of(spec["workflowTemplateRef"]["name"], given, parallelism=spec.get("parallelism"))
    made["metadata"]["labels"]["tierflow/retry-of"] = name
    return made


def template_in_words(workflow: Workflow) -> str:
    """Return what a workflow is made from, for messages."""
    return f"workflow template {workflow['spec']['workflowTemplateRef']['name']}"


def parse_parameters(given: Iterable[str]) -> dict[str, str]:
    """Read `NAME=VALUE` options.

    Raises:
        ConfigError: if one isn't of that form.
    """
    found = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise ConfigError(f"--parameter {text!r}: expected NAME=VALUE, such as --parameter approve-above=0.2")
        found[name] = value
    return found


def check_parameters(given: Iterable[str], template: Mapping[str, Any]) -> None:
    """Check that a template has these parameters: Argo takes any, and leaves those that it doesn't know.

    Raises:
        ConfigError: naming the unknown one and those that there are.
    """
    entries = (template["spec"].get("arguments") or {}).get("parameters") or ()
    known = [str(entry["name"]) for entry in entries]
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"workflow template {template['metadata']['name']} has no parameter {name!r}: expected one of "
                f"{', '.join(known)}.{hint}"
            )


def config_text(tree: Mapping[str, Any], settings: Iterable[Mapping[str, Any]]) -> str:
    """Return the configuration of a run as YAML text with only the keys that were given.

    Args:
        tree: Keys of a configuration file; empty without one.
        settings: One mapping per `--set` option, laid over the file key by key.

    Returns:
        Text for a form; empty where nothing was given. Mappings that a text replaces whole, such as `tiers`, are
        spelt out: with the file's keys or, where it has none, tierflow's own.

    Raises:
        ConfigError: naming every wrong key, its value and the remedy.
    """
    sparse, full = dict(tree), validate(tree).model_dump(mode="json")
    for setting in settings:
        sparse, full = merge(sparse, setting, whole=()), merge(full, setting, whole=())
        validate(full, where="--set")
    if not sparse:
        return ""
    return yaml.safe_dump(_spelt_out(sparse, full), sort_keys=False, allow_unicode=True, width=120)


def _spelt_out(sparse: Mapping[str, Any], full: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in sparse.items():
        deep = isinstance(value, dict) and isinstance(full.get(key), dict) and key not in _WHOLE
        found[key] = _spelt_out(value, full[key]) if deep else full.get(key, value)
    return found

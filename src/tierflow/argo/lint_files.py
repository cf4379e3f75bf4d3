"""Read workflow files, and what the hand-written base defines, for the checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from tierflow.errors import ConfigError, InputMissingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# The same loader in C, where PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
WORKFLOW_KINDS = frozenset({"Workflow", "WorkflowTemplate", "ClusterWorkflowTemplate", "CronWorkflow"})


@dataclass(frozen=True, slots=True)
class Document:
    """One workflow object of a file.

    Attributes:
        file: Where it stands.
        tree: The object.
    """

    file: str
    tree: dict[str, Any]

    @property
    def kind(self) -> str:
        """Its kind, such as `WorkflowTemplate`."""
        return str(self.tree["kind"])

    @property
    def name(self) -> str:
        """Its name, or the beginning of a generated one."""
        metadata = self.tree.get("metadata") or {}
        return str(metadata.get("name") or metadata.get("generateName") or "?")

    @property
    def spec(self) -> dict[str, Any]:
        """The workflow that it describes."""
        spec = self.tree.get("spec") or {}
        return (spec.get("workflowSpec") or {}) if self.kind == "CronWorkflow" else spec


@dataclass(slots=True)
class Defined:
    """Names that other files define, by kind: ConfigMap, Secret, ServiceAccount, PersistentVolumeClaim."""

    names: dict[str, set[str]] = field(default_factory=dict)

    def add(self, kind: str, name: str) -> None:
        """Note a name."""
        self.names.setdefault(kind, set()).add(name)


def read_workflows(paths: Iterable[Path]) -> list[Document]:
    """Return the workflow objects of files, and of all YAML files in folders; objects of other kinds are left out.

    Raises:
        InputMissingError: if there is no such file, or nothing to check in any.
        ConfigError: if one isn't YAML.
    """
    paths = list(paths)
    found = [Document(str(file), tree) for file in _files(paths) for tree in _trees(file)]
    kept = [document for document in found if document.tree.get("kind") in WORKFLOW_KINDS]
    if not kept:
        names = ", ".join(map(str, paths))
        raise InputMissingError(f"no workflow in {names}: expected YAML of kind {', '.join(sorted(WORKFLOW_KINDS))}")
    return kept


def read_defined(base: Path) -> Defined:
    """Return the names that the files of a folder define, those that kustomize generates included.

    Raises:
        InputMissingError: if there is no such folder.
        ConfigError: if a file isn't YAML.
    """
    defined = Defined()
    for file in _files([base]):
        for tree in _trees(file):
            for key, kind in (("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret")):
                for generated in tree.get(key) or []:
                    defined.add(kind, generated["name"])
            if "kind" in tree:
                defined.add(tree["kind"], str((tree.get("metadata") or {}).get("name")))
    return defined


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml"))
        elif path.exists():
            yield path
        else:
            raise InputMissingError(f"{path} not found: give workflow files, or folders that hold them")


def _trees(file: Path) -> Iterator[dict[str, Any]]:
    try:
        trees = list(yaml.load_all(file.read_text(encoding="utf-8"), Loader=_LOADER))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not readable as YAML: {error}") from error
    yield from (tree for tree in trees if isinstance(tree, dict))

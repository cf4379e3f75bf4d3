"""tierflow installed in a namespace of the test's own, as `kubectl apply -k argo/overlays/local` does it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pods import ROOT, Kubectl, pod, writable

_OVERLAY = ROOT / "argo" / "overlays" / "local"
_OVER = {"Succeeded", "Failed", "Error"}
PLATE = ROOT / "examples" / "plate"


@dataclass(frozen=True)
class Installation:
    """An installation, and the folders of this machine that its volumes are.

    Attributes:
        kubectl: In its namespace.
        images: What pods see as /images.
        results: What pods see as /results.
    """

    kubectl: Kubectl
    images: Path
    results: Path

    def argo(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Argo's own command in the namespace."""
        return self.kubectl.cluster.run("argo", "--namespace", self.kubectl.namespace, *argv, check=check)

    def tierflow_argo(self, verb: str, *argv: str, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        """Run `tierflow argo` as a user would; how it ended is for the test to judge."""
        command = [sys.executable, "-m", "tierflow", "argo", verb, *argv, "--namespace", self.kubectl.namespace]
        return self.kubectl.cluster.run(*command, check=False, timeout=timeout)

    def submit(self, **parameters: str) -> str:
        """Submit a run as the documentation says; return the workflow's name."""
        given = [part for name, value in parameters.items() for part in ("-p", f"{name.replace('_', '-')}={value}")]
        return self.argo("submit", "--from", "workflowtemplate/tierflow-batch", *given, "-o", "name").stdout.strip()

    def workflow(self, name: str) -> dict[str, Any]:
        """Return a workflow."""
        return self.kubectl.get("workflow.argoproj.io", name)

    def until(self, name: str, is_so: Callable[[dict[str, Any]], Any], *, timeout_s: float = 400) -> dict[str, Any]:
        """Wait until something is so of a workflow; return the workflow."""
        end = time.monotonic() + timeout_s
        while not is_so(found := self.workflow(name)):
            assert time.monotonic() < end, f"not within {timeout_s} s:\n{self.argo('get', name).stdout}"
            time.sleep(0.5)
        return found

    def ended(self, name: str, *, timeout_s: float = 400) -> dict[str, Any]:
        """Wait until a workflow ends; return it."""
        return self.until(name, lambda found: found.get("status", {}).get("phase") in _OVER, timeout_s=timeout_s)

    def succeeded(self, name: str, *, timeout_s: float = 400) -> dict[str, Any]:
        """Wait until a workflow ends, which must be with success; return it."""
        found = self.ended(name, timeout_s=timeout_s)
        assert found["status"]["phase"] == "Succeeded", self.argo("get", name).stdout
        return found

    def in_pod(self, name: str, *command: str, results: Path | None = None, timeout_s: float = 400) -> tuple[int, str]:
        """Run a command in a pod that sees the same folders; return its exit code and what it wrote."""
        volumes = {"/images": self.images, "/results": results or self.results}
        spec = pod(command, volumes=volumes, resources={"requests": {"cpu": "500m"}})
        return self.kubectl.run_pod(name, spec, timeout_s=timeout_s)


@contextmanager
def installed(kubectl: Kubectl, folder: Path, *, results: Path | None = None) -> Iterator[Installation]:
    """Install tierflow in the namespace; its persistent volumes, which no namespace holds, are removed afterwards.

    Args:
        kubectl: In the namespace.
        folder: For the volumes' folders.
        results: Folder of the results' volume, where it isn't to be below `folder`.
    """
    folders = {
        "tierflow-images": writable(folder / "images"),
        "tierflow-results": writable(results or folder / "results"),
    }
    rendered = kubectl.cluster.run("kubectl", "kustomize", _OVERLAY).stdout
    documents = [_fitted(document, kubectl.namespace, folders) for document in yaml.safe_load_all(rendered)]
    # Nobody answers sweeps here: a test starts its runs itself.
    kubectl.apply(*(document for document in documents if document["kind"] != "CronWorkflow"))
    try:
        yield Installation(kubectl, folders["tierflow-images"], folders["tierflow-results"])
    finally:
        names = [_volume(kubectl.namespace, name) for name in folders]
        kubectl.cluster.run("kubectl", "delete", "persistentvolume", *names, "--wait=false")


def _fitted(document: dict[str, Any], namespace: str, folders: dict[str, Path]) -> dict[str, Any]:
    """Put an object of the overlay into the test's namespace, on its folders, and onto a machine with two cores."""
    if document["metadata"].get("namespace"):
        document["metadata"]["namespace"] = namespace
    if document["kind"] == "PersistentVolume":
        name = document["metadata"]["name"]
        document["metadata"]["name"] = _volume(namespace, name)
        document["spec"]["hostPath"]["path"] = str(folders[name])
    if document["kind"] == "PersistentVolumeClaim":
        document["spec"]["volumeName"] = _volume(namespace, document["spec"]["volumeName"])
    if document["kind"] == "WorkflowTemplate":
        for template in document["spec"]["templates"]:
            if "container" in template:
                template["container"]["resources"]["requests"]["cpu"] = "200m"
    for subject in document.get("subjects", ()):
        if "namespace" in subject:
            subject["namespace"] = namespace
    return document


def _volume(namespace: str, name: str) -> str:
    return f"{namespace}-{name}"


def copy_plate(folder: Path, *, most: int | None = None) -> list[Path]:
    """Copy images of the example plate; return the copies."""
    made = []
    for source in sorted(path for path in PLATE.rglob("*") if path.is_file())[:most]:
        target = folder / source.relative_to(PLATE)
        target.parent.mkdir(parents=True, exist_ok=True)
        made.append(Path(shutil.copy(source, target)))
    return made


def nodes_of(workflow: dict[str, Any], task: str) -> list[dict[str, Any]]:
    """Return a task's pods, attempts that failed included."""
    nodes = workflow.get("status", {}).get("nodes", {}).values()
    return [node for node in nodes if node["type"] == "Pod" and node["displayName"].partition("(")[0] == task]


def waits(workflow: dict[str, Any]) -> bool:
    """Tell whether a workflow waits for a person."""
    nodes = workflow.get("status", {}).get("nodes", {}).values()
    return any(node["type"] == "Suspend" and node["phase"] == "Running" for node in nodes)


def sha256(path: Path) -> str:
    """Return the checksum of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files_below(folder: Path) -> list[Path]:
    """Return files and links below a folder, relative to it."""
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_symlink() or path.is_file())


def as_text(tree: dict[str, Any]) -> str:
    """Return a configuration as the text of a form; JSON is YAML."""
    return json.dumps(tree)

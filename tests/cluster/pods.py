"""Helpers of the tests with a real Kubernetes: the cluster, `kubectl`, pods as strict as tierflow's own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "tierflow:0.1.0"
USER = 1000
GATEWAY = "10.244.0.1"
"""This machine, as pods see it; it sees itself there too."""


@dataclass(frozen=True)
class Cluster:
    """The cluster's scripts, and the environment in which `kubectl` and `argo` reach it."""

    scripts: Path
    env: Mapping[str, str]

    def run(
        self, *argv: str | Path, stdin: str | None = None, check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a program that finds the cluster; its standard output and error are in the result."""
        done = subprocess.run(
            [str(part) for part in argv], env=self.env, input=stdin, text=True, capture_output=True, timeout=timeout
        )
        assert not check or done.returncode == 0, f"{argv} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        return done


class Kubectl:
    """`kubectl` in one namespace, and what tests often ask it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def __call__(self, *argv: str | Path, stdin: str | None = None, check: bool = True, timeout: float = 120) -> str:
        """Return what `kubectl --namespace NAMESPACE ARGV` prints on standard output."""
        command = ("kubectl", "--namespace", self.namespace, *argv)
        return self.cluster.run(*command, stdin=stdin, check=check, timeout=timeout).stdout

    def apply(self, *documents: Mapping[str, Any]) -> None:
        """Apply objects given as mappings."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        self("apply", "--filename", "-", stdin=json.dumps(items))

    def get(self, *argv: str) -> dict[str, Any]:
        """Return an object, or a list of objects, as a mapping."""
        return json.loads(self("get", *argv, "--output", "json"))

    def run_pod(self, name: str, pod: Mapping[str, Any], *, timeout_s: float = 120) -> tuple[int, str]:
        """Run a pod to its end; return the exit code of its (only) container and its log."""
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": pod})
        return self.ended(name, timeout_s=timeout_s)

    def ended(self, name: str, *, timeout_s: float = 120) -> tuple[int, str]:
        """Wait for a pod's end; return the exit code of its (only) container and its log."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            status = self.get("pod", name)["status"]
            if status["phase"] in {"Succeeded", "Failed"}:
                code = status["containerStatuses"][0]["state"]["terminated"]["exitCode"]
                return code, self("logs", name)
            time.sleep(0.3)
        raise AssertionError(f"pod {name} didn't end within {timeout_s} s\n{self('describe', 'pod', name)}")


def writable(folder: Path) -> Path:
    """Make a folder that the user of the image may write to, for a volume of type hostPath."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, USER, USER)
    return folder


def pod(command: Sequence[str], *, image: str = IMAGE, volumes: Mapping[str, Path] = {}, **container: Any) -> dict:
    """Return the spec of a pod as strict as tierflow's own: user 1000, read-only root, no capabilities, no token.

    Args:
        command: Program and arguments.
        image: Name of the image.
        volumes: Folders of this machine, by where the pod sees them.
        container: Further keys of the container.
    """
    named = {path.strip("/").replace("/", "-"): (path, folder) for path, folder in volumes.items()}
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "main",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": list(command),
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "4Gi"}},
                "volumeMounts": [
                    {"name": "tmp", "mountPath": "/tmp"},
                    *({"name": name, "mountPath": path} for name, (path, _) in named.items()),
                ],
                **container,
            }
        ],
        "volumes": [
            {"name": "tmp", "emptyDir": {}},
            *({"name": name, "hostPath": {"path": str(folder)}} for name, (_, folder) in named.items()),
        ],
    }

"""The way to a cluster by `kubectl`, for clusters whose Argo server can't be reached."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tierflow.argo.client_problems import KUBERNETES_REASONS, refusal
from tierflow.argo.client_state import is_over
from tierflow.argo.client_submit import again, template_in_words
from tierflow.errors import ConfigError, TierflowError, TryAgainError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tierflow.argo.client import Workflow
    from tierflow.argo.client_state import Question

# Argo's full names: another project may have its own `workflows` in the cluster.
_WORKFLOW = "workflows.argoproj.io"
_TEMPLATE = "workflowtemplates.argoproj.io"
_PREFIX = re.compile(r"^\[pod/(?P<pod>[^/\]]+)/[^\]]*\] ?(?P<line>.*)$")
_AWAY = (
    "connection refused",
    "was refused",
    "unable to connect",
    "i/o timeout",
    "no route to host",
    "no such host",
    "tls handshake timeout",
    "context deadline exceeded",
    "unexpected eof",
)
_MOST_PODS = 2000


class KubectlArgo:
    """A namespace that `kubectl` reaches by its own configuration.

    Args:
        namespace: Where workflows run.

    Raises:
        ConfigError: if there is no kubectl.
    """

    def __init__(self, *, namespace: str) -> None:
        self.namespace = namespace
        program = shutil.which("kubectl")
        if program is None:
            raise ConfigError(
                "no way to the cluster: give the Argo server's address to --server (or ARGO_SERVER, with ARGO_TOKEN), "
                "or install kubectl"
            )
        self._command = [program, "--namespace", namespace]

    def template(self, name: str) -> dict[str, Any]:
        """Return a WorkflowTemplate."""
        return self._json("get", _TEMPLATE, name, what=f"workflow template {name}")

    def submit(self, workflow: Workflow, *, dry_run: bool = False) -> Workflow:
        """Start a workflow; with `dry_run` the cluster checks it and keeps nothing."""
        # Kubernetes itself would take a workflow of a template that isn't there; it fails a moment later.
        self.template(workflow["spec"]["workflowTemplateRef"]["name"])
        more = ["--dry-run=server"] if dry_run else []
        what = template_in_words(workflow)
        return self._json("create", "--filename", "-", *more, stdin=json.dumps(workflow), what=what)

    def workflow(self, name: str) -> Workflow:
        """Return a workflow, with the nodes of its status as plain JSON."""
        found = self._json("get", _WORKFLOW, name, what=f"workflow {name}")
        _unpack(found.get("status") or {}, name)
        return found

    def logs(self, name: str, *, follow: bool = False) -> Iterator[tuple[str, str]]:
        """Yield (pod, line) of all pods that are there now; with `follow` until those pods end."""
        self.workflow(name)
        options = ["logs", f"--selector=workflows.argoproj.io/workflow={name}", "--container=main", "--prefix"]
        options += [
            "--tail=-1",
            f"--max-log-requests={_MOST_PODS}",
            "--ignore-errors",
            *(["--follow"] if follow else []),
        ]
        with subprocess.Popen(
            [*self._command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        ) as process:
            try:
                for text in process.stdout or ():
                    match = _PREFIX.match(text.rstrip("\n"))
                    if match:
                        yield match["pod"], match["line"]
            finally:
                process.terminate()
                said = process.communicate()[1]
        if process.returncode > 0 and "No resources found" not in said:
            raise self._problem(said, what=f"workflow {name}")

    def retry(self, name: str) -> str:
        """Start a new workflow with the same parameters: steps whose results are up to date are left as they are.

        Argo's own retry changes a workflow's status in ways that only its server knows.
        """
        old = self.workflow(name)
        if not is_over(old):
            raise ConfigError(f"workflow {name} hasn't ended: `tierflow argo stop {name}` first, or wait for its end")
        made = again(old)
        new: str = self.submit(made)["metadata"]["name"]
        return new

    def stop(self, name: str) -> None:
        """Begin no further step; let the exit handler run."""
        self._patch(name, {"spec": {"shutdown": "Stop"}})

    def answer(self, name: str, question: Question, value: str) -> None:
        """Answer what a workflow waits for; it goes on."""
        found = self._json("get", _WORKFLOW, name, what=f"workflow {name}")
        if not found["status"].get("nodes"):
            raise ConfigError(f"workflow {name} is so large that Argo packs its status: give --server to answer it")
        node: dict[str, Any] = {
            "phase": "Succeeded",
            "finishedAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "message": "answered by tierflow argo approve",
        }
        if question.parameter:
            outputs = found["status"]["nodes"][question.node_id]["outputs"]["parameters"]
            node["outputs"] = {"parameters": [_answered(entry, question.parameter, value) for entry in outputs]}
        # With its version: should the controller write in between, this is refused and not the other lost.
        version = {"resourceVersion": found["metadata"]["resourceVersion"]}
        self._patch(name, {"metadata": version, "status": {"nodes": {question.node_id: node}}})

    def _patch(self, name: str, change: Mapping[str, Any]) -> None:
        self._run("patch", _WORKFLOW, name, "--type=merge", "--patch", json.dumps(change), what=f"workflow {name}")

    def _json(self, *arguments: str, what: str, stdin: str | None = None) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._run(*arguments, "--output", "json", what=what, stdin=stdin))
        return found

    def _run(self, *arguments: str, what: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            [*self._command, "--request-timeout=30s", *arguments], input=stdin, capture_output=True, text=True
        )
        if done.returncode:
            raise self._problem(done.stderr, what=what)
        return done.stdout

    def _problem(self, said: str, *, what: str) -> TierflowError:
        if any(words in said.lower() for words in _AWAY):
            # The lines before it repeat it.
            last = said.strip().splitlines()[-1]
            return TryAgainError(
                f"{what}: kubectl doesn't reach the cluster ({last[:300]}): check KUBECONFIG and "
                "`kubectl cluster-info`, or give --server"
            )
        if "the server doesn't have a resource type" in said:
            return ConfigError(
                f"{what}: the cluster has no Argo Workflows ({' '.join(said.split())}): its administrator must install "
                "it, see docs/argo.md"
            )
        reason = re.search(r"\((\w+)\):", said)
        status = KUBERNETES_REASONS.get(reason[1], 400) if reason else 400
        return refusal(status, said, where="kubectl", namespace=self.namespace, what=what)


def _answered(entry: dict[str, Any], parameter: str, value: str) -> dict[str, Any]:
    return {"name": entry["name"], "value": value} if entry["name"] == parameter else entry


def _unpack(status: dict[str, Any], name: str) -> None:
    """Put the nodes of a large workflow, which Argo packs, at their place."""
    packed = status.pop("compressedNodes", None)
    if packed:
        try:
            status["nodes"] = json.loads(gzip.decompress(base64.b64decode(packed)))
        except (OSError, ValueError) as error:
            raise ConfigError(f"workflow {name} is packed in a way that only Argo reads: give --server") from error
    elif status.get("offloadNodeStatusVersion"):
        raise ConfigError(f"the nodes of workflow {name} are in Argo's database: give --server")

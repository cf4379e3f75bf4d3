"""The client by kubectl, with a program in its place that answers as kubectl did."""

from __future__ import annotations

import base64
import gzip
import io
import json
import sys
from pathlib import Path

import pytest
from argo_workflows import NAME, ask, scan, workflow
from rich.console import Console

from tierflow.argo.client import connect
from tierflow.argo.client_acts import approve, stop
from tierflow.argo.client_state import steps_of
from tierflow.argo.client_submit import workflow_of
from tierflow.errors import ConfigError, InputMissingError, TryAgainError

PROGRAM = """#!{python}
import json, sys
from pathlib import Path
folder = Path(__file__).parent
words = [word for word in sys.argv[1:] if not word.startswith("--request-timeout")]
with (folder / "asked").open("a") as asked:
    asked.write(json.dumps([words, "" if sys.stdin.isatty() or "create" not in words else sys.stdin.read()]) + "\\n")
verb = words[2]
for name in (f"{{verb}}-{{words[3].partition('.')[0]}}", verb):
    if (folder / f"{{name}}.out").exists():
        sys.stdout.write((folder / f"{{name}}.out").read_text())
        sys.exit(0)
sys.stderr.write((folder / "error").read_text())
sys.exit(1)
"""


class Fake:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "kubectl"
        program.write_text(PROGRAM.format(python=sys.executable))
        program.chmod(0o755)
        (folder / "error").write_text("error: not prepared")

    def answers(self, name: str, tree: object) -> None:
        (self.folder / f"{name}.out").write_text(tree if isinstance(tree, str) else json.dumps(tree))

    def fails(self, said: str) -> None:
        (self.folder / "error").write_text(said)

    @property
    def asked(self) -> list[tuple[list[str], str]]:
        return [tuple(json.loads(line)) for line in (self.folder / "asked").read_text().splitlines()]


@pytest.fixture
def kubectl(tmp_path, monkeypatch) -> Fake:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ARGO_SERVER", raising=False)
    return Fake(tmp_path)


def test_submit_creates_a_workflow_of_the_template(kubectl):
    kubectl.answers("get-workflowtemplates", {"metadata": {"name": "tierflow-batch"}})
    kubectl.answers("create", workflow())
    made = workflow_of("tierflow-batch", {"input": "/images/a"})
    assert connect(server=None, namespace="lab").submit(made, dry_run=True)["metadata"]["name"] == NAME
    words, stdin = kubectl.asked[-1]
    assert words[:2] == ["--namespace", "lab"]
    assert "--dry-run=server" in words
    assert json.loads(stdin) == made


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ('Error from server (NotFound): workflows.argoproj.io "x" not found', InputMissingError, "get workflows"),
        ('Error from server (Forbidden): workflows.argoproj.io is forbidden', ConfigError, "tierflow-approve"),
        ('Error from server (NotFound): namespaces "lab" not found', ConfigError, "--namespace"),
        ("The connection to the server 10.0.0.1:6443 was refused", TryAgainError, "kubectl cluster-info"),
        ('error: the server doesn\'t have a resource type "workflows"', ConfigError, "no Argo Workflows"),
        ("error: something else", ConfigError, "something else"),
    ],
)  # fmt: skip
def test_what_kubectl_says_becomes_an_error_in_words(kubectl, said, error, words):
    kubectl.fails(said)
    with pytest.raises(error, match=words):
        connect(server=None, namespace="lab").workflow(NAME)


def test_without_kubectl_and_server_both_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ARGO_SERVER", raising=False)
    with pytest.raises(ConfigError, match=r"--server.*kubectl"):
        connect(server=None, namespace=None)


def test_the_packed_nodes_of_a_large_workflow_are_read(kubectl):
    large = workflow(scan())
    nodes = large["status"].pop("nodes")
    large["status"]["compressedNodes"] = base64.b64encode(gzip.compress(json.dumps(nodes).encode())).decode()
    kubectl.answers("get", large)
    assert [step.name for step in steps_of(connect(server=None, namespace="lab").workflow(NAME))] == ["scan"]
    large["status"]["compressedNodes"] = "KLUv/Q=="
    kubectl.answers("get", large)
    with pytest.raises(ConfigError, match="--server"):
        connect(server=None, namespace="lab").workflow(NAME)


def test_an_answer_patches_the_node_of_this_version(kubectl):
    kubectl.answers("get", workflow(scan(), ask()))
    kubectl.answers("patch", "patched")
    approve(connect(server=None, namespace="lab"), NAME, "YES", Console(file=io.StringIO()))
    words, _ = kubectl.asked[-1]
    change = json.loads(words[words.index("--patch") + 1])
    assert change["metadata"]["resourceVersion"] == "7"
    (node,) = change["status"]["nodes"].values()
    assert node["phase"] == "Succeeded"
    assert node["outputs"]["parameters"] == [{"name": "approve", "value": "YES"}]


def test_stop_lets_the_exit_handler_run(kubectl):
    kubectl.answers("get", workflow(scan()))
    kubectl.answers("patch", "patched")
    stop(connect(server=None, namespace="lab"), NAME)
    words, _ = kubectl.asked[-1]
    assert json.loads(words[-1]) == {"spec": {"shutdown": "Stop"}}


def test_retry_submits_the_same_again_once_the_old_one_has_ended(kubectl):
    kubectl.answers("get", workflow(scan()))
    argo = connect(server=None, namespace="lab")
    with pytest.raises(ConfigError, match="hasn't ended"):
        argo.retry(NAME)
    kubectl.answers("get", workflow(scan(), phase="Failed"))
    kubectl.answers("create", {"metadata": {"name": "tierflow-batch-new"}})
    assert argo.retry(NAME) == "tierflow-batch-new"
    made = json.loads(kubectl.asked[-1][1])
    assert made["spec"]["arguments"]["parameters"] == [{"name": "input", "value": "/images/plate"}]


def test_logs_are_split_into_pod_and_line(kubectl):
    kubectl.answers("get", workflow(scan()))
    kubectl.answers("logs", f"[pod/{NAME}-scan-1/main] found 19 objects\nnoise\n[pod/{NAME}-scan-1/main] \n")
    lines = list(connect(server=None, namespace="lab").logs(NAME))
    assert lines == [(f"{NAME}-scan-1", "found 19 objects"), (f"{NAME}-scan-1", "")]

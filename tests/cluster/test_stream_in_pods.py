"""`argo/stream` on a real Kubernetes: a watcher with its live view, workers in pods, and all of them taken away."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import yaml
from argo_installation import PLATE, Installation, installed
from pods import IMAGE, ROOT, USER

from tierflow.errors import EXIT_TRY_AGAIN

OUTPUT = "/results/incoming-tierflow"
IMAGES = 24


@dataclass
class Stream:
    """A stream that runs in pods.

    Attributes:
        place: The installation below it.
    """

    place: Installation
    copied: int = 0

    @property
    def output(self) -> Path:
        """Its output folder, as this machine sees it."""
        return self.place.results / "incoming-tierflow"

    def arrive(self, images: int) -> None:
        """Copy images of the example plate into the watched folder, each whole at once."""
        folder = self.place.images / "incoming"
        sources = sorted(path for path in PLATE.rglob("*.tif") if "0000-4000-8000" not in path.name)
        for number in range(self.copied, self.copied + images):
            # Those with zeros in their names are damaged on purpose. A second copy is flagged as such, and done.
            source = sources[number % len(sources)]
            hidden = folder / f".{number:03d}.part"
            shutil.copy(source, hidden)
            hidden.rename(folder / f"{number:03d}_{source.name}")
        self.copied += images

    def pods(self, component: str) -> list[dict[str, Any]]:
        """Return the pods of a component that aren't ending."""
        found = self.place.kubectl.get("pods", "--selector", f"app.kubernetes.io/component={component}")["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def pod(self, component: str) -> str:
        """Return the name of its only pod, once that runs."""
        name = ""

        def runs() -> bool:
            nonlocal name
            for pod in self.pods(component):
                statuses = pod["status"].get("containerStatuses", [])
                if statuses and all("running" in status["state"] for status in statuses):
                    name = pod["metadata"]["name"]
                    return True
            return False

        self.until(runs)
        return name

    def status(self) -> dict[str, Any]:
        """Return what `tierflow status` says in the watcher's pod; nothing while there is none to ask."""
        name = self.pod("watch")
        command = ("exec", name, "--container", "watch", "--", "tierflow", "status", OUTPUT, "--format", "json")
        said = self.place.kubectl(*command, check=False)
        return json.loads(said) if said else {}

    def ask(self, path: str) -> tuple[int, str]:
        """Ask the live view, as Kubernetes and Prometheus do."""
        address = next(pod["status"]["podIP"] for pod in self.pods("watch") if "podIP" in pod["status"])
        try:
            with urlopen(f"http://{address}:8600{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()

    def objects(self, *states: str) -> int:
        """Return how many objects have one of these states, as Prometheus sees it."""
        counts = dict(
            re.findall(r'^tierflow_stream_objects\{.*state="(\w+)".*\} (\d+)$', self.ask("/metrics")[1], re.M)
        )
        return sum(int(counts.get(state, 0)) for state in states)

    def done(self) -> int:
        """Return how many objects are done."""
        return self.objects("done")

    def queue(self) -> int:
        """Return what KEDA's query counts."""
        return self.objects("ready", "running", "failed")

    def until(self, is_so: Callable[[], bool], *, timeout_s: float = 120) -> None:
        """Wait until something is so."""
        end = time.monotonic() + timeout_s
        while True:
            try:
                if is_so():
                    return
            except (OSError, StopIteration):
                # There is no live view at this moment.
                pass
            assert time.monotonic() < end, self.picture()
            time.sleep(0.5)

    def picture(self) -> str:
        """Return what there is to see when a wait was in vain."""
        kubectl = self.place.kubectl
        logs = [
            kubectl("logs", "--selector", f"app.kubernetes.io/component={name}", "--all-containers", check=False)
            for name in ("watch", "worker")
        ]
        return "\n".join([kubectl("get", "pods"), kubectl("get", "events"), *logs])


def fitted(document: dict[str, Any], namespace: str) -> dict[str, Any]:
    """Put an object into the test's namespace, and onto a machine with two cores."""
    document["metadata"]["namespace"] = namespace
    if document["kind"] == "Deployment":
        for container in document["spec"]["template"]["spec"]["containers"]:
            container["image"] = IMAGE
            container["resources"]["requests"]["cpu"] = "50m"
            for at, argument in enumerate(container["args"]):
                if argument == "--config=/etc/tierflow/config.yaml":
                    # What is killed is noticed after 20 s anyway.
                    container["args"].insert(at + 1, "--set=stream.batches.max_objects=2")
                    break
    return document


@pytest.fixture
def stream(kubectl, tierflow_image, tmp_path) -> Iterator[Stream]:
    with installed(kubectl, tmp_path) as place:
        incoming = place.images / "incoming"
        incoming.mkdir()
        shutil.chown(incoming, USER, USER)
        rendered = kubectl.cluster.run("kubectl", "kustomize", ROOT / "argo" / "stream").stdout
        kubectl.apply(*(fitted(document, kubectl.namespace) for document in yaml.safe_load_all(rendered)))
        yield Stream(place)


def test_all_of_it_taken_away_in_turn(stream):
    kubectl = stream.place.kubectl
    stream.arrive(6)
    stream.until(lambda: stream.ask("/readyz")[0] == 200)
    stream.until(lambda: stream.done() == 6)
    assert stream.status()["states"]["done"] == 6

    # A worker, by force, while there is work.
    stream.arrive(10)
    stream.until(lambda: stream.queue() > 0)
    kubectl("delete", "pod", stream.pod("worker"), "--force", "--grace-period=0", "--wait=false")
    stream.until(lambda: stream.done() == 16)

    # No workers at all: the queue waits, and is there to be seen by whoever scales.
    kubectl("scale", "deployment/tierflow-workers", "--replicas=0")
    stream.until(lambda: not stream.pods("worker"))
    stream.arrive(4)
    stream.until(lambda: stream.queue() == 4)
    assert stream.ask("/livez?run=incoming-tierflow")[0] == 200
    assert stream.done() == 16

    # The watcher too, with its queue; images go on to arrive.
    kubectl("delete", "pod", stream.pod("watch"), "--wait=false")
    stream.arrive(4)
    kubectl("scale", "deployment/tierflow-workers", "--replicas=1")
    stream.until(lambda: stream.done() == IMAGES)

    status = stream.status()
    assert {state: n for state, n in status["states"].items() if n} == {"done": IMAGES}
    assert status["service"]["state"] == "running"
    for component in ("watch", "worker"):
        [pod] = stream.pods(component)
        for one in pod["status"]["containerStatuses"]:
            # A new watcher may find the lock of the one that is still ending.
            last = one["lastState"].get("terminated", {"exitCode": EXIT_TRY_AGAIN})
            assert last["exitCode"] == EXIT_TRY_AGAIN
            assert not one["restartCount"] or one["name"] == "watch"
    name = stream.pod("watch")
    verified = kubectl("exec", name, "--container", "watch", "--", "tierflow", "verify", OUTPUT)
    assert f"{IMAGES}" in verified
    found = kubectl(
        *("exec", name, "--container", "watch", "--"),
        *("tierflow", "search", "", "--from", OUTPUT, "--columns", "path", "--format", "csv"),
    )
    assert len(set(found.split()[1:])) == IMAGES


@pytest.mark.parametrize("folder", ["stream", "stream-scaled"])
def test_it_can_be_laid_over_an_installation(cluster, folder):
    """KEDA isn't in the test cluster: what asks for it is built, and not applied."""
    documents = list(yaml.safe_load_all(cluster.run("kubectl", "kustomize", ROOT / "argo" / folder).stdout))
    assert {document["metadata"]["namespace"] for document in documents} == {"tierflow"}
    kinds = [document["kind"] for document in documents]
    assert sorted(set(kinds) - {"ScaledObject"}) == ["Deployment", "NetworkPolicy", "Service"]
    assert kinds.count("ScaledObject") == (folder == "stream-scaled")
    [watch] = [one for one in documents if (one["kind"], one["metadata"]["name"]) == ("Deployment", "tierflow-watch")]
    offered = 8 if folder == "stream" else 50
    assert f"--set=stream.batches.workers={offered}" in watch["spec"]["template"]["spec"]["containers"][0]["args"]
    most = [one["spec"]["maxReplicaCount"] for one in documents if one["kind"] == "ScaledObject"]
    assert most in ([], [offered])

"""The hand-written objects of `argo/stream` and `argo/stream-scaled`: they fit each other, and the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tierflow.cli import build_app
from tierflow.commands._options import configured
from tierflow.config_io import validate
from tierflow.stream.metrics_stream import PREFIX, stream_exposition
from tierflow.stream.states import State

ARGO = Path(__file__).resolve().parents[3] / "argo"
FILES = [*sorted((ARGO / "stream").glob("*.yaml")), *sorted((ARGO / "stream-scaled").glob("*.yaml"))]
OBJECTS = [found for path in FILES for found in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
CLAIMS = list(yaml.safe_load_all((ARGO / "base" / "claims.yaml").read_text(encoding="utf-8")))


def named(kind: str, name: str) -> Any:
    [found] = [one for one in OBJECTS if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


DEPLOYMENTS = {name: named("Deployment", name) for name in ("tierflow-watch", "tierflow-workers")}
PODS = {name: one["spec"]["template"] for name, one in DEPLOYMENTS.items()}
CONTAINERS = {one["name"]: one for pod in PODS.values() for one in pod["spec"]["containers"]}


def test_every_file_is_applied_but_the_example():
    for folder in ("stream", "stream-scaled"):
        [kustomization] = yaml.safe_load_all((ARGO / folder / "kustomization.yaml").read_text(encoding="utf-8"))
        there = {path.name for path in (ARGO / folder).glob("*.yaml") if ".example." not in path.name}
        assert {name for name in kustomization["resources"] if name != "../stream"} == there - {"kustomization.yaml"}


@pytest.mark.parametrize("name", CONTAINERS)
def test_commands_are_those_of_the_command_line(name):
    container = CONTAINERS[name]
    # The image's own program begins; `command` would replace it.
    assert "command" not in container
    _, bound, *_ = build_app().parse_args(container["args"], exit_on_error=False, print_error=False)
    for setting in bound.arguments.get("set") or ():
        validate(configured({}, config=None, settings=[setting]))


def test_the_watcher_measures_nothing_and_workers_look_where_it_writes():
    settings = [arg.removeprefix("--set=") for arg in CONTAINERS["watch"]["args"] if arg.startswith("--set=")]
    assert validate(configured({}, config=None, settings=settings)).stream.batches.where == "outside"
    [output] = [arg.removeprefix("--output=") for arg in CONTAINERS["watch"]["args"] if arg.startswith("--output=")]
    assert CONTAINERS["work"]["args"][1] == output
    assert Path(CONTAINERS["serve"]["args"][1]) == Path(output).parent


def test_one_watcher_at_a_time():
    spec = DEPLOYMENTS["tierflow-watch"]["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_selectors_find_their_pods(name):
    assert DEPLOYMENTS[name]["spec"]["selector"]["matchLabels"].items() <= PODS[name]["metadata"]["labels"].items()


def test_service_and_network_policies_find_pods():
    watch, workers = (PODS[name]["metadata"]["labels"].items() for name in ("tierflow-watch", "tierflow-workers"))
    service = named("Service", "tierflow-watch")["spec"]
    assert service["selector"].items() <= watch
    assert not service["selector"].items() <= workers
    for policy, labels in (("tierflow-watch", watch), ("tierflow-worker", workers)):
        assert named("NetworkPolicy", policy)["spec"]["podSelector"]["matchLabels"].items() <= labels


def test_ports_that_are_asked_are_those_that_answer():
    [port] = CONTAINERS["serve"]["ports"]
    assert f"--port={port['containerPort']}" in CONTAINERS["serve"]["args"]
    assert "--host=0.0.0.0" in CONTAINERS["serve"]["args"]
    known = {port["name"], port["containerPort"]}
    for name in ("watch", "serve"):
        assert CONTAINERS[name]["livenessProbe"]["httpGet"]["port"] in known
    assert named("Service", "tierflow-watch")["spec"]["ports"][0]["targetPort"] in known
    [rule] = named("NetworkPolicy", "tierflow-watch")["spec"]["ingress"]
    assert [one["port"] for one in rule["ports"]] == [port["containerPort"]]
    assert PODS["tierflow-watch"]["metadata"]["annotations"]["prometheus.io/port"] == str(port["containerPort"])


def test_the_watcher_is_started_again_for_its_own_stream_alone():
    """Another stream on the same volume may have been dead for long."""
    asked = CONTAINERS["watch"]["livenessProbe"]["httpGet"]["path"]
    assert asked == f"/livez?run={Path(CONTAINERS['work']['args'][1]).name}"


def test_workers_see_what_the_watcher_sees_at_the_same_places():
    """Shard tables name the input's folder."""
    mounts = {
        name: {one["mountPath"]: one["name"] for one in CONTAINERS[name]["volumeMounts"]} for name in ("watch", "work")
    }
    for path in ("/images", "/results"):
        assert mounts["watch"][path] == mounts["work"][path]


@pytest.mark.parametrize("name", PODS)
def test_volumes_are_there(name):
    spec = PODS[name]["spec"]
    volumes = {one["name"]: one for one in spec["volumes"]}
    assert {mount["name"] for one in spec["containers"] for mount in one["volumeMounts"]} == volumes.keys()
    claims = {claim["metadata"]["name"] for claim in CLAIMS}
    asked = {one["persistentVolumeClaim"]["claimName"] for one in volumes.values() if "persistentVolumeClaim" in one}
    assert asked <= claims


@pytest.mark.parametrize("name", PODS)
def test_pods_have_no_privilege(name):
    spec = PODS[name]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]


def test_workers_talk_to_nobody_but_the_name_server():
    policy = named("NetworkPolicy", "tierflow-worker")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == []
    assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == {53}


def test_what_scales_asks_for_figures_that_there_are():
    status = {
        "states": {str(state): 1 for state in State},
        "lag_s": 0,
        "waiting_s": 0,
        "latency_s": None,
        "watcher": None,
        "service": {"state": "running"},
    }
    series = set(re.findall(rf"^{PREFIX}\w+", stream_exposition([("run", status)]), re.MULTILINE))
    scaled = named("ScaledObject", "tierflow-workers")["spec"]
    [query] = [one["metadata"]["query"] for one in scaled["triggers"]]
    assert set(re.findall(rf"{PREFIX}\w+", query)) <= series
    [states] = re.findall(r'state=~"([^"]+)"', query)
    assert set(states.split("|")) <= {str(state) for state in State}
    hpa = named("HorizontalPodAutoscaler", "tierflow-workers")["spec"]
    assert hpa["metrics"][0]["external"]["metric"]["name"] in series
    for one in (scaled, hpa):
        assert one["scaleTargetRef"]["name"] in DEPLOYMENTS
    assert scaled["minReplicaCount"] == 0

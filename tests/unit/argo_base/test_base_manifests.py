"""The hand-written Kubernetes objects: least privilege, no secrets, names that the templates and events rely on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tierflow.config import Config
from tierflow.config_io import load

ARGO = Path(__file__).resolve().parents[3] / "argo"
HAND_WRITTEN = sorted(path for path in ARGO.rglob("*.yaml") if path.parent.name != "templates")
Object = Mapping[str, Any]


def documents(path: Path) -> list[Object]:
    return [found for found in yaml.safe_load_all(path.read_text(encoding="utf-8")) if found is not None]


def objects(*kinds: str) -> Iterator[Object]:
    """Yield all hand-written objects of some kinds."""
    for path in HAND_WRITTEN:
        yield from (found for found in documents(path) if found.get("kind") in kinds)


def named(kind: str, name: str) -> Object:
    [found] = [one for one in objects(kind) if one["metadata"]["name"] == name]
    return found


def rights(role: str) -> set[tuple[str, str]]:
    """Return (resource, verb) of all that a role allows."""
    rules = named("Role", role)["rules"]
    return {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


def test_pods_may_hand_in_their_result_and_nothing_else():
    assert rights("tierflow-executor") == {("workflowtaskresults", "create"), ("workflowtaskresults", "patch")}


def test_whoever_submits_can_neither_change_nor_delete_nor_read_secrets():
    assert rights("tierflow-submit") == {
        *(("workflows", verb) for verb in ("create", "get", "list", "watch")),
        *(("workflowtemplates", verb) for verb in ("get", "list")),
        *(("pods", verb) for verb in ("get", "list", "watch")),
        ("pods/log", "get"),
    }


@pytest.mark.parametrize("role", ["tierflow-sensor", "tierflow-events"])
def test_events_start_runs_and_change_none(role):
    assert {verb for _, verb in rights(role)} <= {"create", "get", "list"}
    assert {resource for resource, verb in rights(role) if verb == "create"} == {"workflows"}


def test_no_role_reaches_beyond_its_namespace_or_has_a_wildcard():
    assert not list(objects("ClusterRole", "ClusterRoleBinding"))
    for role in objects("Role"):
        assert all("*" not in rule[part] for rule in role["rules"] for part in ("apiGroups", "resources", "verbs"))


def test_every_binding_names_a_role_and_an_account_that_are_there():
    """A namespace in a subject would win over the one that the objects are applied to."""
    bindings = list(objects("RoleBinding"))
    assert len(bindings) == 4
    for binding in bindings:
        named("Role", binding["roleRef"]["name"])
        for subject in binding["subjects"]:
            assert "namespace" not in subject
            named("ServiceAccount", subject["name"])


def test_the_executor_finds_its_token():
    """Argo takes an account's token from the Secret of this name."""
    secret = named("Secret", "tierflow.service-account-token")
    assert secret["type"] == "kubernetes.io/service-account-token"
    assert secret["metadata"]["annotations"]["kubernetes.io/service-account.name"] == "tierflow"
    assert named("ServiceAccount", "tierflow")["automountServiceAccountToken"] is False


def test_no_secret_is_in_the_repository():
    for path in HAND_WRITTEN:
        for found in documents(path):
            if found.get("kind") == "Secret" and not path.name.endswith(".example.yaml"):
                assert not {"data", "stringData"} & found.keys()
    for kustomization in ARGO.rglob("kustomization.yaml"):
        assert "secretGenerator" not in documents(kustomization)[0]
        assert not [name for name in documents(kustomization)[0].get("resources", []) if "example" in name]


def test_no_namespace_is_fixed_but_by_overlays():
    for path in HAND_WRITTEN:
        for found in documents(path):
            assert "namespace" not in found.get("metadata", {}), path


def test_the_mounted_configuration_is_valid():
    assert load(ARGO / "base" / "config.yaml") == Config.model_validate({"scan": {"shard_objects": 1000}})


def test_a_commented_example_of_the_configuration_is_valid_too(tmp_path):
    """What a user uncomments must work."""
    text = (ARGO / "base" / "config.yaml").read_text(encoding="utf-8")
    examples = re.sub(r"^# ((?:policy|tiers):.*|  .*)$", r"\1", text, flags=re.MULTILINE)
    (tmp_path / "config.yaml").write_text(examples, encoding="utf-8")
    config = load(tmp_path / "config.yaml")
    assert config.policy.kind == "quantile"
    assert config.tiers["A"].root == "/results/best"


def test_pods_accept_no_connection_and_open_only_these_ports():
    policy = named("NetworkPolicy", "tierflow")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == []
    assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == {53, 443, 6443, 9200}


def test_volumes_outlive_their_claims():
    volumes = list(objects("PersistentVolume"))
    assert len(volumes) == 4
    assert {volume["spec"]["persistentVolumeReclaimPolicy"] for volume in volumes} == {"Retain"}
    # The documented removal leaves what has this label.
    kept = [*volumes, *objects("PersistentVolumeClaim")]
    assert len(kept) == 6
    assert {one["metadata"]["labels"]["tierflow/keep"] for one in kept} == {"true"}


class TestEvents:
    """Argo Events isn't needed to see that its objects fit each other and the template they start."""

    sensor = named("Sensor", "tierflow")["spec"]

    def test_every_dependency_is_an_event_that_a_source_sends(self):
        sent = set()
        for source in objects("EventSource"):
            [kind] = source["spec"].keys() - {"eventBusName", "replicas", "template", "service"}
            sent |= {(source["metadata"]["name"], event) for event in source["spec"][kind]}
        assert {(one["eventSourceName"], one["eventName"]) for one in self.sensor["dependencies"]} == sent

    def test_every_dependency_has_its_own_trigger_with_a_limit_and_tries(self):
        names = [one["name"] for one in self.sensor["dependencies"]]
        assert [one["template"]["conditions"] for one in self.sensor["triggers"]] == names
        for trigger in self.sensor["triggers"]:
            assert trigger["rateLimit"] == {"unit": "Minute", "requestsPerUnit": 10}
            assert trigger["retryStrategy"]["steps"] > 1
            for parameter in trigger["template"]["argoWorkflow"].get("parameters", []):
                assert parameter["src"]["dependencyName"] == trigger["template"]["name"]
                assert parameter["dest"] == "spec.arguments.parameters.0.value"

    def test_they_start_installed_templates_and_set_parameters_they_have(self):
        submitted = [one["template"]["argoWorkflow"]["source"]["resource"]["spec"] for one in self.sensor["triggers"]]
        submitted.append(named("WorkflowEventBinding", "tierflow-batch")["spec"]["submit"])
        for one in submitted:
            # With a strict Argo, a submitted workflow may set nothing that its template decides.
            assert one.keys() == {"workflowTemplateRef", "arguments"}
            [template] = documents(ARGO / "templates" / f"{one['workflowTemplateRef']['name']}.yaml")
            known = {parameter["name"] for parameter in template["spec"]["arguments"]["parameters"]}
            assert {parameter["name"] for parameter in one["arguments"]["parameters"]} <= known

    def test_pods_of_events_have_an_account_of_their_own_and_no_privilege(self):
        for one in (*objects("EventSource"), *objects("Sensor")):
            template = one["spec"]["template"]
            named("ServiceAccount", template["serviceAccountName"])
            assert template["securityContext"]["runAsNonRoot"] is True
            assert template["container"]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert "limits" in template["container"]["resources"]

    @pytest.mark.parametrize(
        ("input", "taken"),
        [
            ("/images/plate-7", True),
            ("/images/2026/plate 7/", True),
            ("s3://images/plate-7", True),
            ("/images", False),
            ("/results/plate-7", False),
            ("/images/../results", False),
            ("/images/.hidden", False),
            ("/images//plate", False),
            ("file:///images/plate", False),
        ],
    )
    def test_both_ways_by_request_take_only_folders_of_images(self, input, taken):  # noqa: A002
        [webhook] = [one for one in self.sensor["dependencies"] if one["name"] == "webhook"]
        [pattern] = webhook["filters"]["data"][0]["value"]
        assert f'"{pattern}"' in named("WorkflowEventBinding", "tierflow-batch")["spec"]["event"]["selector"]
        assert (re.search(pattern, input) is not None) == taken

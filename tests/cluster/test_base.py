"""The hand-written Kubernetes objects: overlays change what they say, and a real server takes them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ARGO = Path(__file__).resolve().parents[2] / "argo"
OVERLAYS = ARGO / "overlays"
SHARDS = {"extract", "score", "place-index", "publish"}
GPU = "nvidia.com/gpu"
Object = Mapping[str, Any]
Objects = dict[tuple[str, str], Object]


@pytest.fixture(scope="module")
def build(cluster, tmp_path_factory) -> Callable[..., Objects]:
    """Build an overlay with components laid over it, as a user's own kustomization does; objects by kind and name."""

    def built(overlay: str, *components: str) -> Objects:
        folder = tmp_path_factory.mktemp("mine")
        ours = {
            "namespace": "mine",
            "resources": [os.path.relpath(ARGO / overlay, folder)],
            "components": [os.path.relpath(OVERLAYS / name, folder) for name in components],
        }
        (folder / "kustomization.yaml").write_text(json.dumps(ours))
        documents = yaml.safe_load_all(cluster.run("kubectl", "kustomize", folder).stdout)
        return {(document["kind"], document["metadata"]["name"]): document for document in documents}

    return built


@pytest.fixture(scope="module")
def plain(build) -> Objects:
    """The overlay `local`, without components."""
    return build("overlays/local")


def pods_of(template: Object) -> dict[str, Object]:
    """Return the templates that become pods, by name."""
    return {one["name"]: one for one in template["spec"]["templates"] if "container" in one}


def changed(before: Objects, after: Objects) -> dict[str, set[str]]:
    """Return the names of templates that differ, by workflow template; everything else must be equal."""
    assert before.keys() == after.keys()
    found = {}
    for key, old in before.items():
        new = after[key]
        if key[0] != "WorkflowTemplate":
            assert old == new
            continue
        named = [{one["name"]: one for one in document["spec"]["templates"]} for document in (old, new)]
        assert named[0].keys() == named[1].keys()
        assert {**old["spec"], "templates": 0} == {**new["spec"], "templates": 0}
        found[key[1]] = {name for name in named[0] if named[0][name] != named[1][name]}
    return found


def without(template: Object, *keys: str) -> Object:
    return {key: value for key, value in template.items() if key not in keys}


def moved_to(kubectl: Any, document: Object) -> Object:
    """Return an object as it would be in the test's namespace; volumes, which have none, under a name of their own."""
    text = json.dumps(document).replace('"namespace": "mine"', f'"namespace": "{kubectl.namespace}"')
    for name in ("tierflow-images", "tierflow-results"):
        text = text.replace(f'"volumeName": "{name}"', f'"volumeName": "{kubectl.namespace}-{name}"')
    moved = json.loads(text)
    if moved["kind"] == "PersistentVolume":
        moved["metadata"]["name"] = f"{kubectl.namespace}-{moved['metadata']['name']}"
    return moved


def test_an_overlay_of_another_namespace_binds_the_accounts_there(plain):
    """A role that is bound to an account of another namespace gives this one no right, and that one too much."""
    spaces = {one["metadata"].get("namespace") for (kind, _), one in plain.items() if kind != "PersistentVolume"}
    assert spaces == {"mine"}
    subjects = [one["subjects"] for (kind, _), one in plain.items() if kind == "RoleBinding"]
    assert len(subjects) == 2
    assert all(subject["namespace"] == "mine" for some in subjects for subject in some)


def test_spot_moves_every_pod_of_a_shard_and_keeps_all_others_off(plain, build):
    spot = build("overlays/local", "spot")
    for name, templates in changed(plain, spot).items():
        pods = pods_of(spot["WorkflowTemplate", name])
        assert templates == set(pods)
        for pod_name, pod in pods.items():
            terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
                "nodeSelectorTerms"
            ]
            operators = {rule["operator"] for term in terms for rule in term["matchExpressions"]}
            assert operators == ({"In"} if pod_name in SHARDS else {"NotIn"})
            assert ("tolerations" in pod) == (pod_name in SHARDS)
            old = pods_of(plain["WorkflowTemplate", name])[pod_name]
            assert without(pod, "affinity", "tolerations") == old


def test_gpu_changes_what_measures_and_nothing_else(plain, build):
    gpu = build("overlays/local", "gpu")
    assert changed(plain, gpu) == {
        "tierflow-batch": {"extract"},
        "tierflow-stream-batch": {"extract"},
        "tierflow-rescore": set(),
    }
    old = pods_of(plain["WorkflowTemplate", "tierflow-batch"])["extract"]
    new = pods_of(gpu["WorkflowTemplate", "tierflow-batch"])["extract"]
    assert new["container"]["resources"]["limits"] == {**old["container"]["resources"]["limits"], GPU: 1}
    assert without(new["container"], "resources") == without(old["container"], "resources")


def test_spot_and_gpu_together_with_an_object_store(build):
    found = build("overlays/s3", "spot", "gpu")
    extract = pods_of(found["WorkflowTemplate", "tierflow-batch"])["extract"]
    assert extract["container"]["resources"]["limits"][GPU] == 1
    keys = {one["key"] for one in extract["tolerations"]}
    assert keys > {GPU, "tierflow/spot"}, "a node that is both has both taints"
    assert "affinity" in extract


def test_an_object_store_needs_no_volume_for_images(plain, build):
    found = build("overlays/s3")
    assert ("PersistentVolumeClaim", "tierflow-images") not in found
    assert ("PersistentVolumeClaim", "tierflow-results") in found
    for name in ("tierflow-batch", "tierflow-stream-batch", "tierflow-rescore"):
        volumes = {one["name"]: one for one in found["WorkflowTemplate", name]["spec"]["volumes"]}
        before = {one["name"]: one for one in plain["WorkflowTemplate", name]["spec"]["volumes"]}
        assert volumes == {**before, "images": {"name": "images", "emptyDir": {"sizeLimit": "1Mi"}}}
    ports = [rule["ports"][0]["port"] for rule in found["NetworkPolicy", "tierflow"]["spec"]["egress"]]
    assert ports == [53, 443, 9200, 9000]


@pytest.mark.parametrize(("components", "mode"), [((), "ReadWriteMany"), (("nfs/read-only-images",), "ReadOnlyMany")])
def test_claims_on_nfs_fit_their_volumes(build, components, mode):
    found = build("overlays/nfs", *components)
    for name in ("tierflow-images", "tierflow-results"):
        claim, volume = found["PersistentVolumeClaim", name]["spec"], found["PersistentVolume", name]
        assert claim["volumeName"] == name
        assert claim["accessModes"] == volume["spec"]["accessModes"]
        assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    images = found["PersistentVolume", "tierflow-images"]["spec"]
    assert images["accessModes"] == [mode]
    assert images["nfs"].get("readOnly", False) == (mode == "ReadOnlyMany")


def test_a_real_server_takes_every_overlay_and_the_binding(cluster, build, kubectl):
    """Dry runs check every field that Kubernetes itself knows, and that the names and rights are valid."""
    for overlay, *components in (
        ("overlays/local",),
        ("overlays/nfs", "nfs/read-only-images", "spot"),
        ("overlays/s3", "gpu"),
        ("events/binding",),
    ):
        found = build(overlay, *components)
        moved = json.dumps(
            {"apiVersion": "v1", "kind": "List", "items": [moved_to(kubectl, one) for one in found.values()]}
        )
        said = kubectl("apply", "--dry-run=server", "--validate=strict", "--filename", "-", stdin=moved)
        assert said.count("(server dry run)") == len(found)


def test_examples_of_secrets_and_quota_are_valid(kubectl):
    for name in ("secrets", "quota"):
        kubectl("apply", "--dry-run=server", "--validate=strict", "--filename", ARGO / "base" / f"{name}.example.yaml")


def test_the_accounts_may_do_what_they_must_and_nothing_more(build, kubectl):
    kinds = ("ServiceAccount", "Role", "RoleBinding")
    kubectl.apply(*(moved_to(kubectl, one) for (kind, _), one in build("overlays/local").items() if kind in kinds))

    def may(account: str, verb: str, kind: str) -> bool:
        user = f"system:serviceaccount:{kubectl.namespace}:{account}"
        return kubectl("auth", "can-i", verb, kind, "--as", user, check=False).strip() == "yes"

    assert may("tierflow", "create", "workflowtaskresults.argoproj.io")
    assert not may("tierflow", "get", "pods")
    assert not may("tierflow", "create", "workflows.argoproj.io")
    assert may("tierflow-submit", "create", "workflows.argoproj.io")
    assert may("tierflow-submit", "get", "pods/log")
    assert not may("tierflow-submit", "delete", "workflows.argoproj.io")
    assert not may("tierflow-submit", "get", "secrets")

"""A real Kubernetes with Argo Workflows for the tests of this folder, the image of tierflow in it, namespaces, pods.

The environment variable TIERFLOW_CLUSTER names a folder of scripts: `up` starts the cluster if it isn't, and prints
`export` lines; `build-image CONTEXT NAME:TAG CONTAINERFILE` builds an image and gives it to the cluster.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from pods import IMAGE, ROOT, Cluster, Kubectl

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items):
    """Mark the tests of this folder, and keep them in one process: there is one cluster, and one image to build."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.xdist_group("cluster"))


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The real cluster, running."""
    folder = os.environ.get("TIERFLOW_CLUSTER")
    if not folder:
        pytest.skip("no Kubernetes: set TIERFLOW_CLUSTER to the folder of a test cluster's scripts")
    found = subprocess.run(
        ["bash", "-c", 'set -e; exports=$("$0/up"); eval "$exports"; exec env -0', folder],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    env = dict(line.split("=", 1) for line in found.stdout.split("\0") if line)
    return Cluster(scripts=Path(folder), env=env)


@pytest.fixture(scope="session")
def tierflow_image(cluster) -> str:
    """Name of tierflow's image, built from this checkout and known to the cluster."""
    cluster.run(cluster.scripts / "build-image", ROOT, IMAGE, ROOT / "envs" / "Containerfile", timeout=1200)
    return IMAGE


@pytest.fixture
def kubectl(cluster) -> Iterator[Kubectl]:
    """`kubectl` in a namespace of the test's own, which is deleted afterwards."""
    yield from _in_namespace(cluster)


@pytest.fixture(scope="module")
def module_kubectl(cluster) -> Iterator[Kubectl]:
    """The same, shared by a module's tests."""
    yield from _in_namespace(cluster)


def _in_namespace(cluster: Cluster) -> Iterator[Kubectl]:
    found = Kubectl(cluster, f"t-{uuid.uuid4().hex[:10]}")
    cluster.run("kubectl", "create", "namespace", found.namespace)
    yield found
    # Pods get no time to end in peace: no later test may wait for them.
    found("delete", "pods", "--all", "--force", "--grace-period=0", "--wait=false")
    cluster.run("kubectl", "delete", "namespace", found.namespace, "--wait=false")

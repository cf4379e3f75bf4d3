"""A run of 16 shards whose pods, controller and Elasticsearch go away: it ends well, nothing is lost or doubled."""

from __future__ import annotations

import random
import subprocess
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from argo_installation import Installation, as_text, copy_plate, files_below, installed, nodes_of, sha256
from elasticsearch import Elasticsearch as Client
from es_proxy import failing_proxy
from pods import GATEWAY

OBJECTS = 16
# The controller as `up` starts it: killed, and after some seconds begun again with the same arguments. The lock keeps
# others' scripts from taking the cluster for a broken one meanwhile.
RESTART = """
set -euo pipefail
. "$0/lib.sh"
take_lock
pid=$(pid_of workflow-controller)
mapfile -d '' -t command <"/proc/$pid/cmdline"
kept='^(KUBECONFIG|LEADER_ELECTION_DISABLE|DEFAULT_REQUEUE_TIME)='
mapfile -d '' -t variables < <(grep -zE "$kept" "/proc/$pid/environ")
kill -KILL "$pid"
sleep 4
start workflow-controller env "${variables[@]}" "${command[@]}"
until_ok 60 workflow-controller curl -fsS http://127.0.0.1:6060/healthz
"""


@pytest.fixture
def alias(real_elasticsearch):
    """Alias of an index of the test's own, with a client of the server; everything of it is deleted afterwards."""
    if real_elasticsearch is None:
        pytest.skip("no Elasticsearch: set TIERFLOW_ES_URL to the address of a server for tests")
    stem = f"t-{uuid.uuid4().hex[:10]}"
    with Client(real_elasticsearch, request_timeout=60) as client:
        yield f"{stem}-objects", client
        names = list(client.indices.get(index=f"{stem}-*", expand_wildcards="all"))
        if names:
            client.indices.delete(index=names)
        quiet = client.options(ignore_status=404)
        for name in quiet.indices.get_index_template(name=f"{stem}-*").get("index_templates", ()):
            client.indices.delete_index_template(name=name["name"])
        for part in quiet.cluster.get_component_template(name=f"{stem}-*").get("component_templates", ()):
            client.cluster.delete_component_template(name=part["name"])


def test_a_run_survives(kubectl, tierflow_image, alias, real_elasticsearch, tmp_path):
    name_of_alias, client = alias
    server = urlsplit(real_elasticsearch)
    config = as_text(
        {
            "scan": {"shard_objects": 1},
            "tiers": {name: {"driver": "copy"} for name in "ABCD"},
            "quarantine": {"driver": "copy"},
            # Shorter than the outage, so that the pod gives up and Argo has to try again.
            "catalogue": {"elasticsearch": {"alias": name_of_alias, "patience_s": 5, "timeout_s": 10}},
        }
    )
    with (
        installed(kubectl, tmp_path) as at,
        failing_proxy(server.hostname or "", server.port or 9200, away_s=30) as proxy,
    ):
        sources = copy_plate(at.images / "plate", most=OBJECTS)
        url = f"http://{GATEWAY}:{proxy.port}"
        kubectl("create", "secret", "generic", "tierflow-elasticsearch", f"--from-literal=TIERFLOW_ES_URL={url}")
        name = at.submit(input="/images/plate", config=config, place_shards_per_job="4", retries="8", retry_wait="3s")
        killed = _break(at, name)
        workflow = at.succeeded(name, timeout_s=400)
        assert killed >= 5
        assert proxy.outages == 1
        assert len({node["displayName"].partition(")")[0] for node in nodes_of(workflow, "extract")}) == OBJECTS
        tries = nodes_of(workflow, "publish")
        assert len(tries) > 4
        assert "75" in {node["outputs"].get("exitCode") for node in tries if "outputs" in node}

        output = at.results / "plate-tierflow"
        _each_once(sources, at.images / "plate", output / "tiers")
        code, said = at.in_pod("verify", "tierflow", "verify", "/results/plate-tierflow")
        assert code == 0, said
        assert f"{OBJECTS}" in said
    client.indices.refresh(index=name_of_alias)
    assert client.count(index=name_of_alias)["count"] == OBJECTS
    found = client.search(index=name_of_alias, size=100, source_includes=["path"])["hits"]["hits"]
    assert len({hit["_source"]["path"] for hit in found}) == OBJECTS


def _break(at: Installation, name: str) -> int:
    """Remove pods at random by force while images are measured and placed, and kill the controller once."""
    choose = random.Random(5)
    killed, restarted = 0, False
    at.until(name, lambda found: nodes_of(found, "extract"))
    end = time.monotonic() + 300
    while time.monotonic() < end and not nodes_of(at.workflow(name), "publish"):
        pods = at.kubectl.get("pods", "--selector", f"workflows.argoproj.io/workflow={name}")["items"]
        running = sorted(pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running")
        if running and killed < 12:
            victim = choose.choice(running)
            at.kubectl("delete", "pod", victim, "--force", "--grace-period=0", "--wait=false", check=False)
            killed += 1
        if killed >= 3 and not restarted:
            scripts = at.kubectl.cluster.scripts
            subprocess.run(["bash", "-c", RESTART, str(scripts)], check=True, timeout=120)
            restarted = True
        time.sleep(choose.uniform(1, 3))
    assert restarted
    return killed


def _each_once(sources: list[Path], root: Path, tiers: Path) -> None:
    placed: dict[Path, list[str]] = {}
    for path in files_below(tiers):
        placed.setdefault(Path(*path.parts[1:]), []).append(sha256(tiers / path))
    assert placed == {source.relative_to(root): [sha256(source)] for source in sources}

"""`tierflow run --profile kubernetes`: pods that share nothing but a real S3 server give the tables of a local run."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
import uuid
from urllib.parse import urlsplit

import botocore.session
import pyarrow.parquet as pq
import pytest
import yaml
from argo_installation import PLATE
from es_proxy import failing_proxy
from pods import GATEWAY, IMAGE

from comparing import same_rows

CONFIG = {
    "scan": {"shard_objects": 10},
    "catalogue": {"run": "same"},
    "tiers": {name: {"driver": "none"} for name in "ABCD"},
    "quarantine": {"driver": "none"},
}


class Far:
    """A bucket with the example plate, and `tierflow run` in an environment that reaches it as pods do."""

    def __init__(self, kubectl, folder, port):
        self.kubectl, self.folder, self.bucket = kubectl, folder, f"t-{uuid.uuid4().hex[:12]}"
        self.env = {**kubectl.cluster.env, "AWS_ENDPOINT_URL": f"http://{GATEWAY}:{port}"}
        self.client = botocore.session.get_session().create_client("s3", endpoint_url=os.environ["TIERFLOW_S3_URL"])
        self.client.create_bucket(Bucket=self.bucket)
        for path in PLATE.rglob("*.*"):
            key = f"plate/{path.relative_to(PLATE).as_posix()}"
            self.client.put_object(Bucket=self.bucket, Key=key, Body=path.read_bytes())
        (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
        site = {
            "kubernetes-namespace": kubectl.namespace,
            # This node has fewer cores than there are pods, and one person who waits.
            "kubernetes-cpu-scalar": 0.2,
            "seconds-between-status-checks": 1,
        }
        (folder / "profile.yaml").write_text(yaml.safe_dump(site))

    def begin(self, source: str, *arguments: str) -> subprocess.Popen[str]:
        """Begin a run of a folder of the bucket."""
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "tierflow", "run", f"s3://{self.bucket}/{source}", "--config", "config.yaml"),
                *arguments,
            ],
            cwd=self.folder, env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def in_pods(self, source: str) -> subprocess.Popen[str]:
        """Begin a run in pods; its output is `run` in the bucket."""
        return self.begin(
            source, "--output", f"s3://{self.bucket}/run", "--profile", "kubernetes", "--profile", str(self.folder)
        )

    def keys(self, prefix: str = "") -> list[str]:
        """Keys of the bucket."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def read(self, key: str) -> bytes:
        """Bytes of a key."""
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def remove(self) -> None:
        """Delete the bucket."""
        for key in self.keys():
            self.client.delete_object(Bucket=self.bucket, Key=key)
        self.client.delete_bucket(Bucket=self.bucket)


@pytest.fixture
def far(kubectl, tierflow_image, tmp_path):
    if not (url := os.environ.get("TIERFLOW_S3_URL")):
        pytest.skip("no S3 server: TIERFLOW_S3_URL is not set")
    server = urlsplit(url)
    # Nothing fails here: it is only a server on this machine's loopback that pods reach.
    with failing_proxy(server.hostname or "", server.port or 80, away_s=0) as proxy:
        made = Far(kubectl, tmp_path, proxy.port)
        yield made
        made.remove()


def pod_of(rule: str, run: subprocess.Popen[str], kubectl) -> str:
    """Wait for a pod that does its work for a rule; return its name."""
    while run.poll() is None:
        for pod in kubectl.get("pods", "--field-selector", "status.phase=Running")["items"]:
            if f"--allowed-rules {rule} " in " ".join(pod["spec"]["containers"][0]["args"]):
                return pod["metadata"]["name"]
        time.sleep(0.1)
    raise AssertionError(f"the run ended without a pod of {rule}:\n{''.join(run.communicate())}")


def test_tables_are_those_of_a_local_run_also_when_a_pod_is_ended(far, tmp_path):
    run = far.in_pods("plate")
    # The end of a pod ends Snakemake, and the pod of the other part lives on.
    far.kubectl("delete", "pod", pod_of("extract", run, far.kubectl), "--grace-period=1")
    said, problems = run.communicate(timeout=300)
    assert run.returncode == 0, said + problems
    assert "are begun again" in problems
    assert "19 objects by tier" in problems
    local = far.begin("plate", "--output", "local", "--cores", "2")
    said, problems = local.communicate(timeout=300)
    assert local.returncode == 0, problems
    names = sorted(path.relative_to(tmp_path / "local").as_posix() for path in (tmp_path / "local").rglob("*.parquet"))
    assert sorted(key.removeprefix("run/") for key in far.keys("run/") if key.endswith(".parquet")) == names
    for name in names:
        ours, theirs = pq.read_table(io.BytesIO(far.read(f"run/{name}"))), pq.read_table(tmp_path / "local" / name)
        same_rows(ours, theirs, what=name)
    assert not [key for key in far.keys("run/.tierflow/") if "/jobs/" in key]
    assert b"snakemake" in far.read("run/logs/snakemake.log").lower()
    assert not far.kubectl.get("jobs")["items"]
    used = {container["image"] for pod in far.kubectl.get("pods")["items"] for container in pod["spec"]["containers"]}
    assert used <= {IMAGE}


def test_what_a_pod_says_is_what_the_run_says(far):
    run = far.in_pods("nothing")
    said, problems = run.communicate(timeout=120)
    assert run.returncode == 66, said + problems
    assert f"no image files in s3://{far.bucket}/nothing" in problems
    assert "begun again" not in problems
    assert not [key for key in far.keys("run/.tierflow/") if "/jobs/" in key]

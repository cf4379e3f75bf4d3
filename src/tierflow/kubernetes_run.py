"""A run whose jobs are pods that share nothing but an object store, by Snakemake's executor for Kubernetes.

That executor moves all files of a rule through a storage of Snakemake's. Here these are only marks, one for each job;
images and tables go their own way (`objectstore.staging`), and `tierflow job` knows what is up to date.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tierflow import jobs
from tierflow.config_io import validate
from tierflow.errors import LASTING, ConfigError, TryAgainError
from tierflow.io.atomic import write_text
from tierflow.objectstore.connect import StorePath, place_at
from tierflow.objectstore.staging import MARKS, at_hand, named, require_far_tiers
from tierflow.render.profiles import profile_arguments, setting
from tierflow.render.snakemake import snakefile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console

EXECUTOR = "kubernetes"
LOG = "logs/snakemake.log"
SHARDS_PER_JOB = {"extract": 1, "score": 50, "place": 5}
"""As in `tierflow job scan`: a pod costs some seconds."""
_MOST_JOBS = 2000
_ATTEMPTS = 3
_PATIENCE_S = 20
# What a pod needs to know from this process; files of this machine, such as those of AWS_PROFILE, aren't there.
_PASSED_ON = re.compile(
    r"AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|ENDPOINT_URL|ENDPOINT_URL_S3|REGION|DEFAULT_REGION)"
    r"|TIERFLOW_ES_(?!CA).*"
)
_SENT = re.compile(r"Get status with: kubectl describe job (\S+)")
_SUCCEEDED = re.compile(r"Job (\S+) succeeded\.")
_FINISHED = re.compile(r"Finished jobid: \d+ \(Rule: (\w+)\)")


@dataclass
class _Head:
    """One call of `execute_in_pods`.

    Attributes:
        marks: Where this call's marks lie.
        folder: Working folder of Snakemake.
        tree: What the Snakefile reads.
        console: Where progress goes.
        profiles: Names or folders of profiles.
        sent: Kubernetes' names of jobs of which no good end is known.
    """

    marks: StorePath
    folder: Path
    tree: dict[str, Any]
    console: Console
    profiles: Sequence[str]
    sent: set[str] = field(default_factory=set)


def execute_in_pods(tree: Mapping[str, Any], *, output: str, console: Console, profiles: Sequence[str]) -> None:
    """Bring a run on an object store up to date.

    Args:
        tree: Keys of the configuration with `input`: a URL, or a path that the pods see.
        output: URL of the results, on S3.
        console: Where progress goes.
        profiles: Names or folders of profiles, one of them for Kubernetes.

    Raises:
        ConfigError: if the configuration or a profile can't be used.
        TierflowError: of the class that fits what a job reported.
    """
    from tierflow.scoring.check import check

    if shutil.which("git") is None:
        raise ConfigError("Snakemake needs git to send the workflow to pods, and it isn't found: install git")
    place = place_at(output)
    if not isinstance(place, StorePath) or not output.startswith("s3://"):
        raise ConfigError(
            f"--output {output!r}: pods share nothing but an object store: give a place like s3://BUCKET/RUN"
        )
    tree = named(tree, output)
    config = validate(tree)
    check(config)
    require_far_tiers(config, output)
    marks = place / MARKS / uuid.uuid4().hex[:12]
    with tempfile.TemporaryDirectory(prefix="tierflow-") as scratch:
        folder = Path(scratch)
        text = {key: value for key, value in tree.items() if key != "input"}
        run = {"input": str(tree["input"]), "output": output, "tierflow": json.dumps(text), "jobs": {}, "attempt": 1}
        head = _Head(marks, folder, run, console, profiles)
        # Snakemake sends to the pods what lies below its working folder.
        shutil.copy(snakefile().parent / "workflows" / "kubernetes.smk", folder / "Snakefile")
        try:
            _bring(head, "scan/all")
            with at_hand(output) as (results, _):
                values = jobs.scan_values(results, shards_per_job=SHARDS_PER_JOB, most_jobs=_MOST_JOBS)
            run["jobs"] = {step: int(values[f"{step}_jobs"]) for step in (*SHARDS_PER_JOB, "publish")}
            _bring(head, "all")
            with at_hand(output) as (results, _):
                tiers = json.loads(jobs.policy_values(results)["tiers"])
            console.print(
                f"{values['objects']} objects by tier: {tiers}. Report: {place / 'report.html'}",
                highlight=False,
                soft_wrap=True,
            )
        finally:
            _leave(head, output)


def _bring(head: _Head, target: str) -> None:
    """Make a target of the Snakefile; what failed for a passing reason is tried again, with more memory."""
    for attempt in range(1, _ATTEMPTS + 1):
        head.tree["attempt"] = attempt
        ended = _snakemake(head, target)
        _take_back(head)
        failed = dict(_failures(head))
        if ended == 0 and not failed:
            return
        codes = {name: _code(text) for name, text in failed.items()}
        for name in failed:
            head.marks.store.delete((head.marks / name).key)
        lasting = [name for name, code in codes.items() if code in LASTING]
        if lasting or attempt == _ATTEMPTS:
            _give_up(lasting[0] if lasting else next(iter(codes), None), failed, head)
        head.console.print(f"{len(failed) or 'some'} jobs failed; they are begun again", highlight=False)


def _give_up(name: str | None, failed: Mapping[str, str], head: _Head) -> None:
    if name is None:
        text = (head.folder / "log").read_text(encoding="utf-8", errors="replace")
        last = "\n".join(text.strip().splitlines()[-15:])
        raise TryAgainError(f"Snakemake ended before its jobs did; the same command goes on from here\n{last}")
    code, said = _code(failed[name]), failed[name].partition("\n")[2]
    message = said.strip().removeprefix("tierflow: ") or f"ended with exit code {code}"
    raise LASTING.get(code, TryAgainError)(message if code in LASTING else f"job {name}: {message}")


def _code(text: str) -> int:
    first = text.partition("\n")[0]
    return int(first) if first.isdigit() else 0


def _failures(head: _Head) -> Iterator[tuple[str, str]]:
    """Yield (mark, text) of the jobs that failed, those that failed by themselves before those that had to wait."""
    prefix = f"{head.marks.key}/"
    found = []
    for entry in head.marks.store.scan(prefix):
        if entry.size and not entry.key.endswith(".tar.xz"):
            text = b"".join(head.marks.store.chunks(entry.key)).decode("utf-8", "replace")
            found.append((entry.key.removeprefix(prefix), text))
    yield from sorted(found, key=lambda each: (_code(each[1]) == 0, each[0]))


def _snakemake(head: _Head, target: str) -> int:
    """Run Snakemake to its end; return its exit code."""
    write_text(head.folder / "run.yaml", yaml.safe_dump(head.tree, sort_keys=False))
    passed_on = [name for name in os.environ if _PASSED_ON.fullmatch(name)]
    # The storage plug-in doesn't look at the usual variables for this.
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    argv = [
        *(sys.executable, "-m", "snakemake", "--snakefile", "Snakefile", "--configfile", "run.yaml", "--nolock"),
        *profile_arguments(head.profiles),
        *("--default-storage-prefix", str(head.marks)),
        *(["--envvars", *passed_on] if passed_on else []),
        *(["--storage-s3-region", region] if region else []),
        *("--", target),
    ]
    process = subprocess.Popen(
        argv,
        cwd=head.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        _watch(head, process)
    except KeyboardInterrupt:
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_PATIENCE_S)
        raise
    return process.wait()


def _watch(head: _Head, process: subprocess.Popen[str]) -> None:
    """Keep what Snakemake says, and tell how far it is."""
    assert process.stdout is not None
    done: dict[str, int] = {}
    with process.stdout, (head.folder / "log").open("a", encoding="utf-8") as log:
        for line in process.stdout:
            log.write(line)
            if match := _SENT.search(line):
                head.sent.add(match[1])
            elif match := _SUCCEEDED.search(line):
                head.sent.discard(match[1])
            elif (match := _FINISHED.search(line)) and match[1] != "all":
                done[match[1]] = done.get(match[1], 0) + 1
                of = head.tree["jobs"].get(match[1], 1)
                head.console.print(f"{match[1]}: {done[match[1]]} of {of} jobs", highlight=False)


def _take_back(head: _Head) -> None:
    """Delete the jobs that Snakemake left behind when the end of a pod ended it: no two may write one shard."""
    if not head.sent:
        return
    from kubernetes import client, config
    from urllib3.exceptions import HTTPError

    try:
        config.load_kube_config()
    except config.ConfigException:
        config.load_incluster_config()
    namespace = setting(head.profiles, "kubernetes-namespace") or "default"
    pods = client.CoreV1Api()
    for name in sorted(head.sent):
        ours = {"namespace": namespace, "label_selector": f"job-name={name}"}
        try:
            if client.BatchV1Api().list_namespaced_job(namespace, field_selector=f"metadata.name={name}").items:
                client.BatchV1Api().delete_namespaced_job(name, namespace, propagation_policy="Foreground")
            pods.delete_collection_namespaced_pod(**ours, grace_period_seconds=1)
            end = time.monotonic() + _PATIENCE_S
            while pods.list_namespaced_pod(**ours).items and time.monotonic() < end:
                time.sleep(0.5)
        except (client.ApiException, HTTPError) as error:
            reason = getattr(error, "reason", error)
            raise TryAgainError(
                f"job {name} in namespace {namespace} can't be deleted ({reason}): make sure that it has ended "
                f"(`kubectl --namespace {namespace} delete job {name}`), then run the same command again"
            ) from error
    head.sent.clear()


def _leave(head: _Head, output: str) -> None:
    """Remove the marks; leave Snakemake's log where the other logs are."""
    for entry in list(head.marks.store.scan(f"{head.marks.key}/")):
        head.marks.store.delete(entry.key)
    log = head.folder / "log"
    if log.exists():
        with at_hand(output) as (results, _):
            (results / LOG).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(log, results / LOG)

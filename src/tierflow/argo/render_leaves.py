"""Templates that become pods: one per group of steps, with memory, cores and deadline from the step table.

Every command is a list, never a shell's line, and a parameter is a whole argument or stands behind the `=` of an
option: text of a form can't become a command or another option.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tierflow.argo.render_forms import MEMORY
from tierflow.errors import EXIT_TRY_AGAIN
from tierflow.steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tierflow.argo.render_forms import Tree

# Pods with this label stay until their workflow goes, because a person reads their log.
KEEP = "tierflow/keep-pod"
VALUES = "/tmp/values"  # noqa: S108 - a volume of the pod alone
CONFIG_FILE = "/etc/tierflow/config.yaml"
# Where results lie, for a form whose `output` may be left empty. The same text wherever it is needed: the mutex and the
# exit handler can't ask the scan.
DERIVED_OUTPUT = (
    "{{=workflow.parameters.output != '' ? workflow.parameters.output : "
    "'/results/' + sprig.base(workflow.parameters.input) + '-tierflow'}}"
)
GIVEN_OUTPUT = "{{=workflow.parameters.output}}"
# Killed by the system (137, 143): out of memory, or the node is taken away.
_PASSING = f"[{EXIT_TRY_AGAIN}, 137, 143]"
_RETRY_WHEN = (
    f'lastRetry.status == "Error" || asInt(lastRetry.exitCode) in {_PASSING} || '
    'lastRetry.message matches "imminent node shutdown|pod deleted|[Ee]vict|[Pp]reempt"'
)
_MOST_MEMORY = 4
_SHARDS_DEADLINE_S = 86_400
SCAN_VALUES = ("objects", "shards", "extract_jobs", "score_jobs", "place_jobs", "publish_jobs")
POLICY_VALUES = ("tiers", "removed_share", "quarantine_share")


def scan_leaf(output: str, *, keep_config: bool) -> Tree:
    """Return the template that begins a run.

    Args:
        output: Text of the output folder.
        keep_config: Whether an output that holds a run keeps its configuration.
    """
    arguments = [
        f"--output={output}",
        f"--config={CONFIG_FILE}",
        *(["--keep-config"] if keep_config else []),
        "--config-text={{workflow.parameters.config}}",
        *_job_numbers("{{workflow.parameters.extract-shards-per-job}}"),
        "--",
        "{{workflow.parameters.input}}",
    ]
    about = "Find the images, read their names, cut shards."
    return _leaf("scan", ["scan"], about, "scan", arguments, values=SCAN_VALUES, server=True)


def configure_leaf(output: str) -> Tree:
    """Return the template that gives an existing run another configuration."""
    arguments = ["--config-text={{workflow.parameters.config}}", *_job_numbers("1"), "--", output]
    about = "Write the new configuration of an existing run."
    return _leaf("configure", ["policy"], about, "configure", arguments, values=SCAN_VALUES, server=True)


def approve_leaf(output: str) -> Tree:
    """Return the template that ends the run when a person said NO."""
    arguments = ["--answer={{inputs.parameters.answer}}", "--", output]
    leaf = _leaf("answer", ["policy"], "Go on after YES, end after NO.", "approve", arguments)
    return leaf | {"inputs": {"parameters": [{"name": "answer"}]}}


def summary_leaf(output: str) -> Tree:
    """Return the exit handler: how far the run is, and what failed."""
    leaf = _leaf("summary", ["policy"], "Say how far the run is, and what failed.", "summary", ["--", output])
    leaf["metadata"]["labels"] = {KEEP: "true"}
    return leaf


def steps_leaf(name: str, steps: Sequence[str], about: str, *, output: str) -> Tree:
    """Return the template of some steps in one pod.

    Args:
        name: Name of the template.
        steps: Names of steps of the same scope, in their order.
        about: What they do, for people.
        output: Text of the output folder.
    """
    arguments = [f"--steps={','.join(steps)}", f"--values={VALUES}", "--", output]
    values = POLICY_VALUES if "policy" in steps else ()
    server = "publish" in steps
    if STEPS[steps[0]].scope == "dataset":
        return _leaf(name, steps, about, "run", arguments, values=values, server=server)
    arguments.insert(1, "--part={{inputs.parameters.part}}")
    leaf = _leaf(name, steps, about, "run", arguments, values=values, server=server)
    part = {"name": "part", "description": "Which of the jobs that share the shards: NUMBER/OF."}
    return leaf | {"inputs": {"parameters": [part]}}


def _job_numbers(extract: str) -> list[str]:
    per_job = [f"{{{{workflow.parameters.{step}-shards-per-job}}}}" for step in ("score", "place")]
    most = "--most-jobs={{workflow.parameters.most-jobs}}"
    return ["--shards-per-job", extract, *per_job, most, f"--values={VALUES}"]


def _leaf(
    name: str,
    steps: Sequence[str],
    about: str,
    command: str,
    arguments: Sequence[str],
    *,
    values: Sequence[str] = (),
    server: bool = False,
) -> Tree:
    rows = [STEPS[step] for step in steps]
    sharded = rows[0].scope == "shard"
    mem_mb = max(row.mem_mb for row in rows)
    leaf: Tree = {
        "name": name,
        "metadata": {"annotations": {"workflows.argoproj.io/description": about}},
        "retryStrategy": {
            "limit": "{{workflow.parameters.retries}}",
            "retryPolicy": "Always",
            "expression": _RETRY_WHEN,
            "backoff": {"duration": "{{workflow.parameters.retry-wait}}", "factor": "2"},
        },
        "activeDeadlineSeconds": str(_SHARDS_DEADLINE_S if sharded else 60 * sum(row.runtime_min for row in rows)),
        "podSpecPatch": _more_memory(mem_mb),
        "container": {
            "image": "{{workflow.parameters.image}}",
            "imagePullPolicy": "IfNotPresent",
            "command": ["tierflow", "job", command],
            "args": list(arguments),
            "env": _server_address() if server else [],
            "envFrom": [_secret("tierflow-s3"), *([_secret("tierflow-elasticsearch")] if "publish" in steps else [])],
            "resources": {
                "requests": {"cpu": str(max(row.threads for row in rows)), "memory": f"{mem_mb}Mi"},
                "limits": {"memory": f"{mem_mb}Mi"},
            },
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": _mounts(writes_images="place" in steps),
        },
    }
    if not leaf["container"]["env"]:
        del leaf["container"]["env"]
    if values:
        leaf["outputs"] = {
            "parameters": [{"name": value, "valueFrom": {"path": f"{VALUES}/{value}"}} for value in values]
        }
    return leaf


def _more_memory(mem_mb: int) -> str:
    """Return a patch that gives each further try more memory, for the case that the last one ran out of it."""
    times = f"asInt(workflow.parameters['{MEMORY}']) * min({_MOST_MEMORY}, 1 + asInt(retries))"
    amount = f"{{{{={mem_mb} * {times}}}}}Mi"
    resources = {"requests": {"memory": amount}, "limits": {"memory": amount}}
    return json.dumps({"containers": [{"name": "main", "resources": resources}]})


def _secret(name: str) -> Mapping[str, object]:
    return {"secretRef": {"name": name, "optional": True}}


def _server_address() -> list[Tree]:
    reference = {"name": "tierflow-elasticsearch", "key": "TIERFLOW_ES_URL", "optional": True}
    return [{"name": "TIERFLOW_ES_URL", "valueFrom": {"secretKeyRef": reference}}]


def _mounts(*, writes_images: bool) -> list[Tree]:
    images = {"name": "images", "mountPath": "/images"}
    return [
        images if writes_images else images | {"readOnly": True},
        {"name": "results", "mountPath": "/results"},
        {"name": "config", "mountPath": "/etc/tierflow", "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
    ]

"""The workflow templates as plain data: which tasks follow each other, and what is common to all pods of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierflow.argo.render_forms import batch_form, rescore_form, stream_form
from tierflow.argo.render_leaves import (
    DERIVED_OUTPUT,
    GIVEN_OUTPUT,
    KEEP,
    approve_leaf,
    configure_leaf,
    scan_leaf,
    steps_leaf,
    summary_leaf,
)
from tierflow.steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierflow.argo.render_forms import Tree

API = "argoproj.io/v1alpha1"
# Steps that share a pod: the tables of a shard that the first writes are what the next one reads.
_FUSED = (("place", "index"),)
_ABOUT = {
    "extract": "Read every image of some shards once and measure it.",
    "baseline": "Robust statistics per plate and channel.",
    "score": "Interestingness and flags of every object of some shards.",
    "policy": "Turn scores into cut-offs; count the objects of each tier.",
    "place": "Bring the files of some shards to their tiers, and write the catalogue.",
    "publish": "Send the catalogue of some shards to Elasticsearch.",
    "report": "Write report.html and objects.csv.",
}
_DAY_S = 86_400
_DEADLINE_S = 7 * _DAY_S
_PARALLELISM = 50


def groups() -> list[tuple[str, ...]]:
    """Return the steps after `scan` in their order, those of one pod together."""
    firsts = {group[0]: group for group in _FUSED}
    later = {step for group in _FUSED for step in group[1:]}
    return [firsts.get(step, (step,)) for step in STEPS if step != "scan" and step not in later]


def batch() -> Tree:
    """Return `tierflow-batch`: a whole run of a folder."""
    return _template(
        "tierflow-batch",
        title="Images: measure, score, place, catalogue",
        about=(
            "Looks at every scientific image of a folder, measures its quality, scores how interesting it is, brings "
            "the file to a storage tier and keeps the record searchable. Results: report.html in the output folder."
        ),
        form=batch_form(),
        output=DERIVED_OUTPUT,
        first=scan_leaf(DERIVED_OUTPUT, keep_config=False),
        work=groups(),
    )


def stream_batch() -> Tree:
    """Return `tierflow-stream-batch`: what arrived in a folder since the last time."""
    return _template(
        "tierflow-stream-batch",
        title="Images that arrived since the last time",
        about=(
            "One micro-batch: looks again at a folder, and works on the images that are new or changed. Known objects "
            "stay in their shards and are not opened again. Also begins the run where there is none."
        ),
        form=stream_form(),
        output=DERIVED_OUTPUT,
        first=scan_leaf(DERIVED_OUTPUT, keep_config=True),
        work=groups(),
    )


def rescore() -> Tree:
    """Return `tierflow-rescore`: another score, policy or tiers for a run that was measured."""
    return _template(
        "tierflow-rescore",
        title="Score and place a run again",
        about=(
            "Gives an existing run another score, policy or tiers and brings its files to where they then belong. "
            "No image is opened, unless it is moved."
        ),
        form=rescore_form(),
        output=GIVEN_OUTPUT,
        first=configure_leaf(GIVEN_OUTPUT),
        work=[group for group in groups() if "extract" not in group],
    )


def sweep() -> Tree:
    """Return `tierflow-sweep`: a micro-batch by the calendar. Suspended, because nobody has named a folder yet."""
    name = "tierflow-sweep"
    about = (
        "Every night: the images that arrived in /images/incoming. Set schedule, timezone, input and output, then "
        "switch it on with `argo cron resume tierflow-sweep`."
    )
    given = {"input": "/images/incoming", "output": "/results/incoming-tierflow"}
    return {
        "apiVersion": API,
        "kind": "CronWorkflow",
        "metadata": _metadata(name, "Images that arrived, every night", about),
        "spec": {
            "schedules": ["0 1 * * *"],
            "timezone": "Etc/UTC",
            "suspend": True,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "workflowMetadata": {"labels": {"app.kubernetes.io/name": "tierflow"}},
            "workflowSpec": {
                "workflowTemplateRef": {"name": "tierflow-stream-batch"},
                "arguments": {"parameters": [{"name": key, "value": value} for key, value in given.items()]},
            },
        },
    }


def _template(
    name: str,
    *,
    title: str,
    about: str,
    form: list[Tree],
    output: str,
    first: Tree,
    work: Sequence[tuple[str, ...]],
) -> Tree:
    leaves = [_measured(first, name)]
    leaves += [_leaf(group, name, output) for group in work]
    return {
        "apiVersion": API,
        "kind": "WorkflowTemplate",
        "metadata": _metadata(name, title, about),
        "spec": {
            "entrypoint": "main",
            "onExit": "summary",
            "arguments": {"parameters": form},
            **_common(name, output),
            "templates": [_main(first["name"], work), *leaves, *_approval(output), summary_leaf(output)],
        },
    }


def _metadata(name: str, title: str, about: str) -> Tree:
    return {
        "name": name,
        "labels": {"app.kubernetes.io/name": "tierflow", "app.kubernetes.io/component": "workflow"},
        "annotations": {"workflows.argoproj.io/title": title, "workflows.argoproj.io/description": about},
    }


def _common(name: str, output: str) -> Tree:
    return {
        "serviceAccountName": "tierflow",
        "automountServiceAccountToken": False,
        "executor": {"serviceAccountName": "tierflow"},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "fsGroup": 1000,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "parallelism": _PARALLELISM,
        "activeDeadlineSeconds": _DEADLINE_S,
        "podGC": {
            "strategy": "OnPodSuccess",
            "labelSelector": {"matchExpressions": [{"key": KEEP, "operator": "DoesNotExist"}]},
        },
        "ttlStrategy": {"secondsAfterSuccess": 7 * _DAY_S, "secondsAfterFailure": 14 * _DAY_S},
        # Two runs of one output would wait for each other's locks in turn. A digest, because a path isn't a name.
        "synchronization": {"mutexes": [{"name": f"tierflow-{_digest(output)}"}]},
        "workflowMetadata": {"labels": {"app.kubernetes.io/name": "tierflow", "tierflow/template": name}},
        "podMetadata": {"labels": {"app.kubernetes.io/name": "tierflow"}},
        "metrics": {"prometheus": _run_metrics(name)},
        "volumes": [
            {"name": "images", "persistentVolumeClaim": {"claimName": "tierflow-images"}},
            {"name": "results", "persistentVolumeClaim": {"claimName": "tierflow-results"}},
            {"name": "config", "configMap": {"name": "tierflow-config"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": f"{max(step.disk_mb for step in STEPS.values())}Mi"}},
        ],
    }


def _digest(output: str) -> str:
    path = output.removeprefix("{{=").removesuffix("}}")
    return f"{{{{=sprig.sha256sum(sprig.trimSuffix('/', {path}))}}}}"


def _leaf(group: tuple[str, ...], template: str, output: str) -> Tree:
    leaf = steps_leaf("-".join(group), group, _ABOUT[group[0]], output=output)
    if group == ("publish",):
        limit = {"configMapKeyRef": {"name": "tierflow-limits", "key": "elasticsearch-writers"}}
        leaf["synchronization"] = {"semaphores": [limit]}
    return _measured(leaf, template)


def _main(first: str, work: Sequence[tuple[str, ...]]) -> Tree:
    tasks: list[Tree] = [{"name": first, "template": first}]
    after = first
    for group in work:
        if "place" in group:
            tasks.append(_approval_task(after))
            after = tasks[-1]["name"]
        tasks.append(_task(group, after=after, counts=first))
        if group != ("publish",):
            # Nothing waits for a server: the report is made of the tables.
            after = tasks[-1]["name"]
    shown = {"objects": first, "tiers": "policy", "removed_share": "policy", "quarantine_share": "policy"}
    outputs = [
        {"name": name, "valueFrom": {"parameter": f"{{{{tasks.{task}.outputs.parameters.{name}}}}}"}}
        for name, task in shown.items()
    ]
    # As in a run by Snakemake, one shard that fails doesn't stop the others.
    return {"name": "main", "dag": {"failFast": False, "tasks": tasks}, "outputs": {"parameters": outputs}}


def _task(group: tuple[str, ...], *, after: str, counts: str) -> Tree:
    name = "-".join(group)
    task: Tree = {"name": name, "template": name, "depends": after}
    if STEPS[group[0]].scope == "dataset":
        return task
    jobs = f"{{{{tasks.{counts}.outputs.parameters.{group[0]}_jobs}}}}"
    return task | {
        "arguments": {"parameters": [{"name": "part", "value": f"{{{{item}}}}/{jobs}"}]},
        "withSequence": {"start": "1", "count": jobs},
    }


def _approval_task(after: str) -> Tree:
    given = {name: f"{{{{tasks.{after}.outputs.parameters.{name}}}}}" for name in ("removed_share", "tiers")}
    return {
        "name": "approval",
        "template": "approval",
        "depends": after,
        "when": f"{given['removed_share']} > {{{{workflow.parameters.approve-above}}}}",
        "arguments": {"parameters": [{"name": name, "value": value} for name, value in given.items()]},
    }


def _approval(output: str) -> list[Tree]:
    """Return what asks a person. Skipped as a whole when nobody is asked, so that nothing reads a missing answer."""
    shown = [
        {"name": "removed_share", "description": "Share of the objects that would go to quarantine or trash."},
        {"name": "tiers", "description": "Objects by tier."},
    ]
    question = {
        "name": "approve",
        "description": "Place the files as the policy says? NO ends the run; every file stays where it is.",
        "default": "NO",
        "enum": ["YES", "NO"],
    }
    passed = [{"name": each["name"], "value": f"{{{{inputs.parameters.{each['name']}}}}}"} for each in shown]
    answer = "{{steps.ask.outputs.parameters.approve}}"
    return [
        {
            "name": "approval",
            "inputs": {"parameters": shown},
            "steps": [
                [{"name": "ask", "template": "ask", "arguments": {"parameters": passed}}],
                [
                    {
                        "name": "answer",
                        "template": "answer",
                        "arguments": {"parameters": [{"name": "answer", "value": answer}]},
                    }
                ],
            ],
        },
        {
            "name": "ask",
            "inputs": {"parameters": [*shown, question]},
            # Argo begins with the input of the same name: `argo resume` without an answer means NO, and places nothing.
            "outputs": {"parameters": [{"name": "approve", "valueFrom": {"supplied": {}}}]},
            "suspend": {},
        },
        approve_leaf(output),
    ]


def _run_metrics(template: str) -> list[Tree]:
    labels = [{"key": "template", "value": template}, {"key": "status", "value": "{{workflow.status}}"}]
    return [
        {
            "name": "tierflow_runs_total",
            "help": "Runs that ended, by template and status.",
            "labels": labels,
            "counter": {"value": "1"},
        },
        {
            "name": "tierflow_run_seconds",
            "help": "Wall time of runs, in seconds.",
            "labels": labels,
            "histogram": {"value": "{{workflow.duration}}", "buckets": [60, 600, 3600, 21600, 86400]},
        },
    ]


def _measured(leaf: Tree, template: str) -> Tree:
    """Return a leaf with metrics of what it found, if it found any."""
    labels = [{"key": "template", "value": template}]
    succeeded = "{{status}} == Succeeded"
    if leaf["name"] in ("scan", "configure"):
        counter: Tree = {
            "name": "tierflow_objects_total",
            "help": "Objects of the runs that began.",
            "labels": labels,
            "when": succeeded,
            "counter": {"value": "{{outputs.parameters.objects}}"},
        }
        return leaf | {"metrics": {"prometheus": [counter]}}
    if leaf["name"] == "policy":
        about = {"removed_share": "to quarantine or trash", "quarantine_share": "to quarantine"}
        gauges = [
            {
                "name": f"tierflow_{name}",
                "help": f"Share of the last run's objects that goes {where}.",
                "labels": labels,
                "when": succeeded,
                "gauge": {"value": f"{{{{outputs.parameters.{name}}}}}", "realtime": False},
            }
            for name, where in about.items()
        ]
        return leaf | {"metrics": {"prometheus": gauges}}
    return leaf

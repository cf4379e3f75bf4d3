"""Workflows as a cluster shows them, cut down from real ones."""

from __future__ import annotations

from typing import Any

NAME = "tierflow-batch-x7k2p"


def node(number: int, label: str, kind: str, phase: str, **more: Any) -> dict[str, Any]:
    """Return a node of a workflow's status."""
    identity = NAME if label == NAME else f"{NAME}-{number}"
    found = {
        "id": identity,
        "displayName": label,
        "type": kind,
        "phase": phase,
        "startedAt": f"2026-11-21T08:{number:02}:00Z",
    }
    return found if label == NAME else {"boundaryID": NAME, **found, **more}


def workflow(*nodes: dict[str, Any], phase: str = "Running", message: str = "") -> dict[str, Any]:
    """Return a workflow with these nodes below its root."""
    root = node(0, NAME, "DAG", phase)
    status = {"phase": phase, "message": message, "nodes": {n["id"]: n for n in (root, *nodes)}}
    spec = {
        "workflowTemplateRef": {"name": "tierflow-batch"},
        "arguments": {"parameters": [{"name": "input", "value": "/images/plate"}]},
    }
    return {"metadata": {"name": NAME, "namespace": "lab", "resourceVersion": "7"}, "spec": spec, "status": status}


def scan(**more: Any) -> dict[str, Any]:
    """Return a scan that found five jobs of extract."""
    outputs = {
        "exitCode": "0",
        "parameters": [{"name": "extract_jobs", "value": "5"}, {"name": "shards", "value": "5"}],
    }
    return node(1, "scan", "Pod", "Succeeded", outputs=outputs, **more)


def job(number: int, label: str, phase: str, *attempts: tuple[str, str | None, str]) -> list[dict[str, Any]]:
    """Return a job that may be tried again: its node and its attempts as (phase, exit code, message)."""
    tries = [
        node(
            number * 10 + n,
            f"{label}({n})",
            "Pod",
            its_phase,
            message=message,
            outputs={"exitCode": code} if code else {},
        )
        for n, (its_phase, code, message) in enumerate(attempts)
    ]
    parent = node(number, label, "Retry", phase, children=[attempt["id"] for attempt in tries])
    return [parent, *tries]


def ask(phase: str = "Running") -> dict[str, Any]:
    """Return a node that waits for YES or NO."""
    inputs = [
        {"name": "removed_share", "value": "0.105263"},
        {"name": "approve", "default": "NO", "value": "NO", "enum": ["YES", "NO"]},
    ]
    return node(
        8, "ask", "Suspend", phase,
        inputs={"parameters": inputs},
        outputs={"parameters": [{"name": "approve", "valueFrom": {"supplied": {}, "default": "NO"}}]},
    )  # fmt: skip

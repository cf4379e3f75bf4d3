"""The lines that a workflow's pods wrote, of all steps or one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierflow.argo.client_state import is_over, pods_of, steps_of
from tierflow.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tierflow.argo.client import Argo


def lines_of(argo: Argo, name: str, *, step: str | None = None, follow: bool = False) -> Iterator[tuple[str, str]]:
    """Yield (pod, line); what Argo's own program beside the step wrote is left out.

    Args:
        argo: The cluster.
        name: Name of the workflow.
        step: Only the pods of this step.
        follow: Go on until the workflow ends.

    Raises:
        ConfigError: if a workflow that ended has no such step.
    """
    workflow = argo.workflow(name)
    wanted = pods_of(workflow, step) if step else set()
    known = dict.fromkeys(found.name for found in steps_of(workflow))
    if step and step not in known and (not follow or is_over(workflow)):
        raise ConfigError(f"workflow {name} has begun no step {step!r}: expected one of {', '.join(known)}")
    others: set[str] = set()
    for pod, line in argo.logs(name, follow=follow):
        number = pod.rpartition("-")[2]
        if step and number not in wanted | others:
            # A pod that began after we asked: look which step it is of.
            now = argo.workflow(name)
            wanted = pods_of(now, step)
            others = {n for s in steps_of(now) for n in pods_of(now, s.name)} - wanted
        if (not step or number in wanted) and not _is_argos(line):
            yield pod, line


def _is_argos(line: str) -> bool:
    return line.startswith('time="') and " argo=true" in line

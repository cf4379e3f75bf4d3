"""The way to a cluster with Argo Workflows: what can be asked of it, and who answers.

Over plain HTTP where an Argo server's address is known, else by `kubectl`, which every administrator has.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tierflow.argo.client_state import Question

SERVER = "ARGO_SERVER"
TOKEN = "ARGO_TOKEN"  # noqa: S105 - the name of a variable
NAMESPACE = "ARGO_NAMESPACE"
DEFAULT_NAMESPACE = "tierflow"

# A workflow as the cluster keeps it: the JSON of the resource.
Workflow = dict[str, Any]


class Argo(Protocol):
    """A namespace of a cluster. Every method raises `ConfigError`, `InputMissingError` or `TryAgainError` in words.

    Attributes:
        namespace: Where workflows run.
    """

    namespace: str

    def template(self, name: str) -> dict[str, Any]:
        """Return a WorkflowTemplate."""
        ...

    def submit(self, workflow: Workflow, *, dry_run: bool = False) -> Workflow:
        """Start a workflow, as `workflow_of` makes it; with `dry_run` the cluster checks it and keeps nothing."""
        ...

    def workflow(self, name: str) -> Workflow:
        """Return a workflow, with the nodes of its status as plain JSON."""
        ...

    def logs(self, name: str, *, follow: bool = False) -> Iterator[tuple[str, str]]:
        """Yield (pod, line) of all pods that are still there; with `follow` until the workflow ends."""
        ...

    def retry(self, name: str) -> str:
        """Do again what failed; return the name of the workflow that does, which may be a new one."""
        ...

    def stop(self, name: str) -> None:
        """Begin no further step; let the exit handler run."""
        ...

    def answer(self, name: str, question: Question, value: str) -> None:
        """Answer what a workflow waits for; it goes on."""
        ...


def connect(*, server: str | None, namespace: str | None) -> Argo:
    """Return the way to a cluster; nothing is sent yet.

    Args:
        server: Address of the Argo server; None: that of `ARGO_SERVER`, and without it kubectl.
        namespace: None: that of `ARGO_NAMESPACE`, else `tierflow`.

    Raises:
        ConfigError: if the address can't be one, or there is neither server nor kubectl.
    """
    where = namespace or os.environ.get(NAMESPACE) or DEFAULT_NAMESPACE
    address = server or os.environ.get(SERVER)
    if address:
        from tierflow.argo.client_http import HttpArgo

        return HttpArgo(address, namespace=where, token=os.environ.get(TOKEN, ""))
    from tierflow.argo.client_kubectl import KubectlArgo

    return KubectlArgo(namespace=where)

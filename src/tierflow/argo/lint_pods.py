"""Checks of what becomes a pod: command, resources, rights, volumes, retries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tierflow.argo.lint_files import Defined

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "busybox"})
_RIGHTS = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "runAsNonRoot": True}
BODIES = (
    "container",
    "script",
    "containerSet",
    "resource",
    "dag",
    "steps",
    "suspend",
    "data",
    "http",
    "plugin",
)


def check_body(template: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the kind of a template, and with its retries and deadline."""
    bodies = [body for body in BODIES if body in template]
    if len(bodies) != 1:
        yield f"has {' and '.join(bodies) or 'no body'}: expected exactly one of {', '.join(BODIES)}"
    grouped = "dag" in bodies or "steps" in bodies
    if grouped and "retryStrategy" in template:
        yield "retryStrategy of a dag or of steps does all of it again: put it on the templates that become pods"
    if grouped and "activeDeadlineSeconds" in template:
        yield "activeDeadlineSeconds works on templates that become pods: use `timeout`"
    for place, value in (
        ("retryStrategy.limit", (template.get("retryStrategy") or {}).get("limit", "")),
        ("activeDeadlineSeconds", template.get("activeDeadlineSeconds", "")),
    ):
        if not isinstance(value, str):
            yield f'{place} is {value!r}: write "{value}", since some checkers know it as text'


def check_container(template: dict[str, Any], spec: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the containers of a template.

    Args:
        template: A template that becomes a pod.
        spec: The workflow's `spec`, which holds volumes.
    """
    volumes = _names(spec.get("volumes")) | _names(template.get("volumes"))
    volumes |= {(claim.get("metadata") or {}).get("name") for claim in spec.get("volumeClaimTemplates") or []}
    for container in containers_of(template):
        for problem in _container(container, volumes):
            yield f"container {container.get('name', 'main')}: {problem}"


def containers_of(template: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the containers of a template; none for one that becomes no pod."""
    own = [template[body] for body in ("container", "script") if isinstance(template.get(body), dict)]
    for several in ("initContainers", "sidecars"):
        own += template.get(several) or []
    return own


def _container(container: dict[str, Any], volumes: set[Any]) -> Iterator[str]:
    command = container.get("command")
    if not isinstance(command, list) or not command:
        yield "command is missing: Argo would ask a registry for the image's, which fails for local images"
    elif str(command[0]).rpartition("/")[2] in _SHELLS or "source" in container:
        yield f"{command[0]} runs a script: parameters could become commands; call the program with separate args"
    image = str(container.get("image", ""))
    if not image or image.endswith(":latest") or (":" not in image.rpartition("/")[2] and "{{" not in image):
        yield f"image is {image!r}: expected a name with a version, such as tierflow:1.2"
    resources = container.get("resources") or {}
    for kind, needed in (("requests", ("cpu", "memory")), ("limits", ("memory",))):
        for name in needed:
            if not (resources.get(kind) or {}).get(name):
                yield f"resources.{kind}.{name} is missing"
    security = container.get("securityContext") or {}
    for right, expected in _RIGHTS.items():
        if security.get(right) is not expected:
            yield f"securityContext.{right} is {security.get(right)}: expected {str(expected).lower()}"
    if (security.get("capabilities") or {}).get("drop") != ["ALL"]:
        yield "securityContext.capabilities.drop must be [ALL]"
    for mount in container.get("volumeMounts") or []:
        if mount.get("name") not in volumes:
            yield f"volumeMount {mount.get('name')!r}: no volume has this name"


def check_names(spec: dict[str, Any], defined: Defined) -> Iterator[str]:
    """Yield the names of ConfigMaps, Secrets, claims and accounts that a workflow uses and nobody defines."""
    for kind, name in used_names(spec):
        if "{{" not in name and name not in defined.names.get(kind, ()):
            known = ", ".join(sorted(defined.names.get(kind, ()))) or "none"
            yield f"{kind} {name!r} is defined nowhere in the base: defined are {known}"


_REFERENCES = {
    "configMapKeyRef": ("ConfigMap", "name"),
    "configMapRef": ("ConfigMap", "name"),
    "configMap": ("ConfigMap", "name"),
    "secretKeyRef": ("Secret", "name"),
    "secretRef": ("Secret", "name"),
    "secret": ("Secret", "secretName"),
    "persistentVolumeClaim": ("PersistentVolumeClaim", "claimName"),
}


def used_names(tree: Any) -> Iterator[tuple[str, str]]:
    """Yield (kind, name) of each ConfigMap, Secret, claim and account that an object refers to."""
    if isinstance(tree, list):
        for item in tree:
            yield from used_names(item)
    elif isinstance(tree, dict):
        for key, value in tree.items():
            if key == "serviceAccountName":
                yield "ServiceAccount", str(value)
            elif key in _REFERENCES and isinstance(value, dict):
                kind, field = _REFERENCES[key]
                yield kind, str(value.get(field))
            else:
                yield from used_names(value)


def _names(items: Any) -> set[Any]:
    return {item.get("name") for item in items or []}

"""Which fields Argo and Kubernetes know, for the objects that workflow files hold; any other is a typing error.

The cluster doesn't tell: Argo's usual resource types keep unknown fields and ignore them.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# `field` holds anything, `field:Type` one object, `field:[Type]` a list, `field:{Type}` objects by name.
# From the types of Argo Workflows 3.6 to 4.1 and of Kubernetes' core; forms that 4.0 removed are in `_REPLACED`.
_TYPES = {
    "Workflow": "apiVersion kind metadata:Meta spec:Spec status",
    "WorkflowTemplate": "apiVersion kind metadata:Meta spec:Spec",
    "ClusterWorkflowTemplate": "apiVersion kind metadata:Meta spec:Spec",
    "CronWorkflow": "apiVersion kind metadata:Meta spec:Cron status",
    "Meta": "name generateName namespace labels annotations finalizers ownerReferences",
    "PodMeta": "labels annotations",
    "Cron": """schedules timezone suspend concurrencyPolicy startingDeadlineSeconds successfulJobsHistoryLimit when
        failedJobsHistoryLimit stopStrategy:Stop workflowMetadata:WorkflowMeta workflowSpec:Spec""",
    "Stop": "expression",
    "WorkflowMeta": "labels annotations labelsFrom",
    "Spec": """entrypoint arguments:Arguments serviceAccountName automountServiceAccountToken executor:Executor
        volumes:[Volume] volumeClaimTemplates volumeClaimGC:Strategy parallelism artifactRepositoryRef nodeSelector
        affinity tolerations onExit hooks:{Hook} ttlStrategy:Ttl activeDeadlineSeconds priority podGC:PodGc
        podPriorityClassName securityContext:PodSecurity podSpecPatch podDisruptionBudget metrics:Metrics
        workflowTemplateRef:WorkflowRef synchronization:Synchronization retryStrategy:Retry podMetadata:PodMeta
        templateDefaults:Template archiveLogs workflowMetadata:WorkflowMeta artifactGC suspend shutdown schedulerName
        hostNetwork dnsPolicy dnsConfig hostAliases imagePullSecrets templates:[Template] podResources resourceClaims
        executorPlugins""",
    "Executor": "serviceAccountName",
    "Strategy": "strategy",
    "Hook": "template templateRef:TemplateRef expression arguments:Arguments",
    "Ttl": "secondsAfterCompletion secondsAfterSuccess secondsAfterFailure",
    "PodGc": "strategy labelSelector deleteDelayDuration",
    "WorkflowRef": "name clusterScope",
    "TemplateRef": "name template clusterScope",
    "Arguments": "parameters:[Parameter] artifacts:[Artifact]",
    "Parameter": "name value default description enum valueFrom:ValueFrom globalName",
    "Artifact": """name path from fromExpression optional mode archive globalName deleted recurseMode subPath
        artifactGC archiveLogs s3 gcs azure oss http git hdfs raw artifactory""",
    "ValueFrom": "path parameter expression default supplied jsonPath jqFilter event configMapKeyRef:KeyRef",
    "KeyRef": "name key optional",
    "PodSecurity": """runAsNonRoot runAsUser runAsGroup fsGroup fsGroupChangePolicy supplementalGroups seccompProfile
        seLinuxOptions sysctls appArmorProfile windowsOptions supplementalGroupsPolicy""",
    "Security": """allowPrivilegeEscalation readOnlyRootFilesystem runAsNonRoot runAsUser runAsGroup privileged
        capabilities:Capabilities seccompProfile seLinuxOptions procMount appArmorProfile windowsOptions""",
    "Capabilities": "add drop",
    "Metrics": "prometheus:[Metric]",
    "Metric": "name help labels:[Label] when gauge:Gauge counter:Counter histogram:Histogram",
    "Label": "key value",
    "Gauge": "value realtime operation",
    "Counter": "value",
    "Histogram": "value buckets",
    "Synchronization": "mutexes:[Mutex] semaphores:[Semaphore]",
    "Mutex": "name namespace database",
    "Semaphore": "configMapKeyRef:KeyRef namespace database",
    "Retry": "limit retryPolicy expression backoff:Backoff affinity",
    "Backoff": "duration factor maxDuration cap",
    "Template": """name metadata:PodMeta inputs:Arguments outputs:Outputs container:Container script:Script
        containerSet resource dag:Dag steps:[[Step]] suspend:Suspend data http plugin retryStrategy:Retry parallelism
        failFast timeout activeDeadlineSeconds pendingTimeout memoize:Memoize synchronization:Synchronization
        metrics:Metrics nodeSelector affinity tolerations serviceAccountName automountServiceAccountToken
        executor:Executor securityContext:PodSecurity podSpecPatch volumes:[Volume] initContainers:[Container]
        sidecars:[Container] archiveLocation hostAliases priorityClassName schedulerName daemon annotations""",
    "Outputs": "parameters:[Parameter] artifacts:[Artifact] result exitCode",
    "Memoize": "key maxAge cache",
    "Suspend": "duration",
    "Dag": "tasks:[Task] target failFast",
    "Task": """name template templateRef:TemplateRef inline:Template arguments:Arguments depends dependencies when
        withItems withParam withSequence:Sequence hooks:{Hook} onExit continueOn""",
    "Step": """name template templateRef:TemplateRef inline:Template arguments:Arguments when withItems withParam
        withSequence:Sequence hooks:{Hook} onExit continueOn""",
    "Sequence": "count start end format",
    "Container": """name image imagePullPolicy command args workingDir env:[Env] envFrom:[EnvFrom]
        resources:Resources securityContext:Security terminationMessagePath terminationMessagePolicy
        volumeMounts:[Mount] volumeDevices ports livenessProbe readinessProbe startupProbe lifecycle stdin stdinOnce
        tty restartPolicy resizePolicy mirrorVolumeMounts""",
    "Script": """name image imagePullPolicy command source args workingDir env:[Env] envFrom:[EnvFrom]
        resources:Resources securityContext:Security terminationMessagePath terminationMessagePolicy
        volumeMounts:[Mount] volumeDevices ports livenessProbe readinessProbe startupProbe lifecycle stdin stdinOnce
        tty restartPolicy resizePolicy""",
    "Env": "name value valueFrom:EnvValue",
    "EnvValue": "secretKeyRef:KeyRef configMapKeyRef:KeyRef fieldRef resourceFieldRef",
    "EnvFrom": "prefix secretRef:Ref configMapRef:Ref",
    "Ref": "name optional",
    "Resources": "requests limits claims",
    "Mount": "name mountPath readOnly subPath subPathExpr mountPropagation recursiveReadOnly",
    "Volume": """name persistentVolumeClaim:Claim configMap:ConfigMapVolume secret:SecretVolume emptyDir:EmptyDir
        hostPath nfs projected csi ephemeral downwardAPI image""",
    "Claim": "claimName readOnly",
    "ConfigMapVolume": "name items defaultMode optional",
    "SecretVolume": "secretName items defaultMode optional",
    "EmptyDir": "medium sizeLimit",
}
_REPLACED = {
    "schedule": "`schedules`, a list",
    "mutex": "`mutexes`, a list",
    "semaphore": "`semaphores`, a list",
    "podPriority": "`podPriorityClassName`",
}
_FIELD = re.compile(r"(\w+)(?::([\[{]*)(\w+)[\]}]*)?")


def unknown_fields(tree: Any, kind: str, place: str = "") -> Iterator[str]:
    """Yield what is wrong with the fields of an object.

    Args:
        tree: The object.
        kind: Its type: a `kind` of Argo's, or a type within.
        place: Where it stands, for the message.
    """
    if not isinstance(tree, dict):
        yield f"{place or kind} is {tree!r}: expected fields"
        return
    known = _fields(kind)
    for name, value in tree.items():
        where = f"{place}.{name}" if place else str(name)
        if name not in known:
            yield f"unknown field `{where}`: {_remedy(str(name), known)}"
        elif known[name] is not None:
            nesting, inner = known[name] or ("", "")
            yield from _nested(value, nesting, inner, where)


def _nested(value: Any, nesting: str, inner: str, place: str) -> Iterator[str]:
    if not nesting:
        # `suspend: {}` and `supplied: {}` may be written without braces.
        yield from unknown_fields({} if value is None else value, inner, place)
    elif nesting[0] == "[":
        if not isinstance(value, list):
            yield f"{place} is {value!r}: expected a list"
            return
        for number, item in enumerate(value):
            mark = item["name"] if isinstance(item, dict) and "name" in item else number
            yield from _nested(item, nesting[1:], inner, f"{place}[{mark}]")
    elif not isinstance(value, dict):
        yield f"{place} is {value!r}: expected names and their objects"
    else:
        for key, item in value.items():
            yield from unknown_fields(item, inner, f"{place}.{key}")


@cache
def _fields(kind: str) -> dict[str, tuple[str, str] | None]:
    """Return the fields of a type: None for one that holds anything, else how its objects are nested and their type."""
    found = _FIELD.finditer(_TYPES[kind])
    return {match[1]: (match[2], match[3]) if match[3] else None for match in found}


def _remedy(name: str, known: dict[str, tuple[str, str] | None]) -> str:
    if name in _REPLACED:
        return f"Argo 4 has no such form; use {_REPLACED[name]}"
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else f"known here are {', '.join(sorted(known))}"

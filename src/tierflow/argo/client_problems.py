"""What a cluster refused, in words that a technician can act on; one place for both ways to it."""

from __future__ import annotations

from tierflow.errors import ConfigError, InputMissingError, TierflowError, TryAgainError

APPLY = "kubectl apply -k argo/overlays/local"

# HTTP status by the reason that kubectl puts in brackets.
KUBERNETES_REASONS = {
    "NotFound": 404,
    "Forbidden": 403,
    "Unauthorized": 401,
    "Conflict": 409,
    "Invalid": 422,
    "BadRequest": 400,
    "AlreadyExists": 409,
    "Timeout": 504,
    "ServerTimeout": 504,
    "TooManyRequests": 429,
    "ServiceUnavailable": 503,
    "InternalError": 500,
}
_PASSING = frozenset({408, 409, 429, 502, 503, 504})
_TEMPLATES = ("workflowtemplates", "workflow templates", "workflow template")


def refusal(status: int, said: str, *, where: str, namespace: str, what: str) -> TierflowError:
    """Return the error for an answer that isn't a success.

    Args:
        status: HTTP status of the answer.
        said: What Argo or Kubernetes said.
        where: Who said it, such as `Argo server https://argo.lab:2746`.
        namespace: Where the workflow is or should be.
        what: What was asked for, such as `workflow screen-12`.
    """
    quoted = f"{where} said {status}: {_short(said)}"
    if status == 401:
        return ConfigError(
            f"{what}: not logged in ({quoted}): set ARGO_TOKEN to a token of an account of namespace {namespace}, such "
            f'as `export ARGO_TOKEN="Bearer $(kubectl -n {namespace} create token tierflow-submit)"`'
        )
    if status == 403:
        return ConfigError(
            f"{what}: no permission in namespace {namespace} ({quoted}): ask the administrator of the cluster to bind "
            "you to the role tierflow-submit (submit, watch, logs) or tierflow-approve (approve, retry, stop) of "
            "argo/base/accounts.yaml"
        )
    if status == 404 and _is_namespace(said):
        return ConfigError(
            f"namespace {namespace} doesn't exist ({quoted}): give --namespace, or install tierflow there: {APPLY}"
        )
    if status == 404 and any(word in said for word in _TEMPLATES):
        return ConfigError(
            f"{what} isn't in namespace {namespace} ({quoted}): give the namespace where tierflow is installed to "
            f"--namespace, or install it: {APPLY}"
        )
    if status == 404:
        return InputMissingError(
            f"there is no {what} in namespace {namespace} ({quoted}): `kubectl -n {namespace} get workflows` lists "
            "those that are still kept"
        )
    if status in _PASSING:
        return TryAgainError(f"{what}: {quoted}; run the same command again later")
    return ConfigError(f"{what}: refused ({quoted})")


def away(where: str, error: object) -> TryAgainError:
    """Return the error for a server that doesn't answer.

    Args:
        where: Who, such as `Argo server https://argo.lab:2746`.
        error: What the connection said.
    """
    return TryAgainError(
        f"{where} doesn't answer ({_short(str(error))}): check the address in --server or ARGO_SERVER and that it "
        "runs (`kubectl -n argo get deployment argo-server`), or give neither to go by kubectl"
    )


def _is_namespace(said: str) -> bool:
    return "namespaces" in said and "not found" in said


def _short(said: str, length: int = 400) -> str:
    line = " ".join(said.split())
    return line if len(line) <= length else line[: length - 3] + "..."

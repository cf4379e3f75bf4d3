"""The way to a cluster over the Argo server's REST interface."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, urlencode, urlsplit, urlunsplit

import urllib3

from tierflow.argo.client_problems import away, refusal
from tierflow.argo.client_submit import template_in_words
from tierflow.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tierflow.argo.client import Workflow
    from tierflow.argo.client_state import Question

# Of a workflow everything but the templates it was made from, which are most of it and tell nothing new.
_FIELDS = "-status.storedTemplates,status.storedWorkflowTemplateSpec,metadata.managedFields"
_TIMEOUT_S = 30
_OFF = ("0", "false", "no")


class HttpArgo:
    """A namespace behind an Argo server.

    Args:
        address: `https://host:2746`, or `host:2746` as Argo's own command has it in `ARGO_SERVER`.
        namespace: Where workflows run.
        token: As in `ARGO_TOKEN`, with or without `Bearer`; empty: none is sent.

    Raises:
        ConfigError: if the address can't be one, or a token would go unencrypted to another machine.
    """

    def __init__(self, address: str, *, namespace: str, token: str = "") -> None:
        self.namespace = namespace
        parts = _checked(address)
        if token and parts.scheme == "http" and not _is_here(parts) and not _plain_allowed():
            raise ConfigError(
                f"{urlunsplit(parts)} would get your token unencrypted: give an address with https://, or set "
                "ARGO_SECURE=false in a network that is closed"
            )
        self._url = urlunsplit(parts).rstrip("/")
        self._where = f"Argo server {self._url}"
        self._headers = {"Accept": "application/json", **_authorization(token)}
        if parts.scheme == "https" and _is_on(os.environ.get("ARGO_INSECURE_SKIP_VERIFY")):
            # The person who sets this variable of Argo's own has read the warning that urllib3 gives per request.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
            self._pool = urllib3.PoolManager(timeout=_TIMEOUT_S, retries=False, cert_reqs="CERT_NONE")
        else:
            self._pool = urllib3.PoolManager(timeout=_TIMEOUT_S, retries=False)

    def template(self, name: str) -> dict[str, Any]:
        """Return a WorkflowTemplate."""
        return self._ask("GET", f"/api/v1/workflow-templates/{self._place(name)}", what=f"workflow template {name}")

    def submit(self, workflow: Workflow, *, dry_run: bool = False) -> Workflow:
        """Start a workflow; with `dry_run` the cluster checks it and keeps nothing."""
        path = f"/api/v1/workflows/{quote(self.namespace, safe='')}"
        body = {"workflow": workflow, **({"serverDryRun": True} if dry_run else {})}
        return self._ask("POST", path, body=body, what=template_in_words(workflow))

    def workflow(self, name: str) -> Workflow:
        """Return a workflow, with the nodes of its status as plain JSON."""
        path = f"/api/v1/workflows/{self._place(name)}?{urlencode({'fields': _FIELDS})}"
        return self._ask("GET", path, what=f"workflow {name}")

    def logs(self, name: str, *, follow: bool = False) -> Iterator[tuple[str, str]]:
        """Yield (pod, line) of all pods that are still there; with `follow` until the workflow ends."""
        options = {"logOptions.container": "main", "logOptions.follow": str(follow).lower()}
        # The server answers for a workflow that isn't there with an empty log.
        self.workflow(name)
        path = f"/api/v1/workflows/{self._place(name)}/log?{urlencode(options)}"
        timeout = urllib3.Timeout(connect=_TIMEOUT_S, read=None if follow else _TIMEOUT_S)
        answer = self._send("GET", path, what=f"workflow {name}", timeout=timeout, preload_content=False)
        try:
            for line in _lines(answer):
                entry = json.loads(line)
                if "result" in entry:
                    yield entry["result"].get("podName", ""), entry["result"].get("content", "")
        except urllib3.exceptions.HTTPError as error:
            raise away(self._where, error) from error
        finally:
            answer.close()

    def retry(self, name: str) -> str:
        """Do again what failed, in the same workflow."""
        self._change(name, "retry")
        return name

    def stop(self, name: str) -> None:
        """Begin no further step; let the exit handler run."""
        self._change(name, "stop")

    def answer(self, name: str, question: Question, value: str) -> None:
        """Answer what a workflow waits for; it goes on."""
        chosen = {"nodeFieldSelector": f"id={question.node_id}"}
        if question.parameter:
            self._change(name, "set", **chosen, outputParameters=json.dumps({question.parameter: value}))
        self._change(name, "resume", **chosen)

    def _change(self, name: str, verb: str, **more: str) -> None:
        body = {"name": name, "namespace": self.namespace, **more}
        self._ask("PUT", f"/api/v1/workflows/{self._place(name)}/{verb}", body=body, what=f"workflow {name}")

    def _place(self, name: str) -> str:
        return f"{quote(self.namespace, safe='')}/{quote(name, safe='')}"

    def _ask(self, method: str, path: str, *, what: str, body: object = None) -> dict[str, Any]:
        answer = self._send(method, path, what=what, json=body)
        try:
            found: dict[str, Any] = json.loads(answer.data)
        except ValueError:
            raise self._not_argo(answer.status) from None
        return found

    def _send(self, method: str, path: str, *, what: str, **options: Any) -> urllib3.BaseHTTPResponse:
        try:
            answer = self._pool.request(method, self._url + path, headers=self._headers, redirect=False, **options)
        except urllib3.exceptions.SSLError as error:
            raise ConfigError(
                f"the certificate of {self._where} isn't trusted, or it doesn't speak TLS there ({error}): set "
                "SSL_CERT_FILE to the certificate of the authority that signed it; for a server without TLS give an "
                "address with http://"
            ) from error
        except urllib3.exceptions.HTTPError as error:
            raise away(self._where, error) from error
        if answer.status < 300:
            return answer
        try:
            said = json.loads(answer.data)["message"]
        except (ValueError, KeyError, TypeError):
            if answer.status < 500 and answer.status not in (401, 403):
                raise self._not_argo(answer.status) from None
            said = answer.data.decode(errors="replace") or answer.reason or ""
        raise refusal(answer.status, said, where=self._where, namespace=self.namespace, what=what)

    def _not_argo(self, status: int) -> ConfigError:
        return ConfigError(
            f"what answers at {self._url} isn't an Argo server (status {status}, no JSON): expected its address, such "
            "as https://localhost:2746, with the base path where it has one"
        )


def _checked(address: str) -> SplitResult:
    text = address if "://" in address else f"{'http' if _plain_allowed() else 'https'}://{address}"
    try:
        parts = urlsplit(text)
        named = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        named = False
    if not named or parts.scheme not in ("http", "https") or parts.username is not None:
        raise ConfigError(
            f"{address!r} isn't the address of an Argo server: expected one such as https://localhost:2746 in --server "
            "or ARGO_SERVER, and the token in ARGO_TOKEN"
        )
    return parts


def _plain_allowed() -> bool:
    return os.environ.get("ARGO_SECURE", "").lower() in _OFF


def _is_on(value: str | None) -> bool:
    return bool(value) and value is not None and value.lower() not in _OFF


def _is_here(parts: SplitResult) -> bool:
    return parts.hostname in ("localhost", "127.0.0.1", "::1")


def _authorization(token: str) -> dict[str, str]:
    if not token:
        return {}
    return {"Authorization": token if token.split(" ")[0] in ("Bearer", "Basic") else f"Bearer {token}"}


def _lines(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    kept = b""
    for chunk in answer.stream(65536, decode_content=True):
        *lines, kept = (kept + chunk).split(b"\n")
        yield from (line for line in lines if line.strip())
    if kept.strip():
        yield kept

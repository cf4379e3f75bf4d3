"""The client over HTTP, against a server that answers as Argo's did."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from argo_workflows import NAME, ask, scan, workflow
from rich.console import Console

from tierflow.argo.client import connect
from tierflow.argo.client_acts import approve, stop
from tierflow.argo.client_http import HttpArgo
from tierflow.argo.client_logs import lines_of
from tierflow.argo.client_submit import workflow_of
from tierflow.argo.client_watch import watch
from tierflow.errors import ConfigError, InputMissingError, TryAgainError


class FakeArgo(ThreadingHTTPServer):
    """Answers by (method, path without query); keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[tuple[str, str], list[tuple[int, object]]] = {}
        self.asked: list[tuple[str, str, object, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, method: str, path: str, *answers: tuple[int, object]) -> None:
        self.answers[method, path] = list(answers)


class _Handler(BaseHTTPRequestHandler):
    def _serve(self) -> None:
        server = self.server
        assert isinstance(server, FakeArgo)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        server.asked.append(
            (self.command, self.path, json.loads(body) if body else None, self.headers.get("Authorization"))
        )
        queue = server.answers.get((self.command, path), [(404, {"code": 5, "message": "not found"})])
        status, answer = queue.pop(0) if len(queue) > 1 else queue[0]
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the names are the library's

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[FakeArgo]:
    with FakeArgo() as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


PLACE = f"/api/v1/workflows/lab/{NAME}"


def test_submit_sends_the_workflow_and_the_token(server):
    server.answer("POST", "/api/v1/workflows/lab", (200, workflow()))
    argo = HttpArgo(server.url, namespace="lab", token="secret")
    made = workflow_of("tierflow-batch", {"input": "/images/a"})
    assert argo.submit(made)["metadata"]["name"] == NAME
    argo.submit(made, dry_run=True)
    (first, second) = server.asked
    assert first[2] == {"workflow": made}
    assert second[2] == {"workflow": made, "serverDryRun": True}
    assert first[3] == "Bearer secret"


@pytest.mark.parametrize(
    ("status", "said", "error", "words"),
    [
        (401, "token not valid", ConfigError, "ARGO_TOKEN"),
        (403, 'workflows.argoproj.io is forbidden: User "x"', ConfigError, "tierflow-submit"),
        (404, 'workflowtemplates.argoproj.io "tierflow-batch" not found', ConfigError, "kubectl apply -k"),
        (404, 'namespaces "lab" not found', ConfigError, "--namespace"),
        (400, "parameter 'input' is required", ConfigError, "parameter 'input' is required"),
        (503, "upgrading", TryAgainError, "again later"),
    ],
)
def test_a_refusal_says_what_to_do(server, status, said, error, words):
    server.answer("POST", "/api/v1/workflows/lab", (status, {"code": 5, "message": said}))
    with pytest.raises(error) as caught:
        HttpArgo(server.url, namespace="lab").submit(workflow_of("tierflow-batch", {}))
    assert words in str(caught.value)
    assert said in str(caught.value)


def test_what_is_not_there_or_not_argo_is_said(server):
    server.answer("GET", PLACE, (404, {"message": f'workflows.argoproj.io "{NAME}" not found'}))
    with pytest.raises(InputMissingError, match="get workflows"):
        HttpArgo(server.url, namespace="lab").workflow(NAME)
    server.answer("GET", PLACE, (200, b"<html>login</html>"))
    with pytest.raises(ConfigError, match="isn't an Argo server"):
        HttpArgo(server.url, namespace="lab").workflow(NAME)
    address = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(TryAgainError, match="ARGO_SERVER"):
        HttpArgo(address, namespace="lab").workflow(NAME)


@pytest.mark.parametrize("address", ["ftp://host", "https://", "https://user@host", "host:notaport"])
def test_an_address_that_cannot_be_one_is_refused(address):
    with pytest.raises(ConfigError, match="isn't the address"):
        HttpArgo(address, namespace="lab")


def test_a_token_goes_unencrypted_only_where_that_is_wanted(monkeypatch):
    monkeypatch.delenv("ARGO_SECURE", raising=False)
    with pytest.raises(ConfigError, match="unencrypted") as caught:
        HttpArgo("http://argo.lab:2746", namespace="lab", token="hidden-value")
    assert "hidden-value" not in str(caught.value)
    HttpArgo("http://localhost:2746", namespace="lab", token="hidden-value")
    monkeypatch.setenv("ARGO_SECURE", "false")
    HttpArgo("argo.lab:2746", namespace="lab", token="hidden-value")


def test_the_environment_names_server_namespace_and_token(server, monkeypatch):
    monkeypatch.setenv("ARGO_SERVER", server.url)
    monkeypatch.setenv("ARGO_NAMESPACE", "lab")
    monkeypatch.setenv("ARGO_TOKEN", "Bearer abc")
    server.answer("GET", PLACE, (200, workflow()))
    connect(server=None, namespace=None).workflow(NAME)
    assert server.asked[0][3] == "Bearer abc"


def test_an_answer_is_set_and_the_workflow_resumed(server):
    waiting = workflow(scan(), ask())
    server.answer("GET", PLACE, (200, waiting))
    server.answer("PUT", f"{PLACE}/set", (200, waiting))
    server.answer("PUT", f"{PLACE}/resume", (200, waiting))
    stream = io.StringIO()
    approve(HttpArgo(server.url, namespace="lab"), NAME, "NO", Console(file=stream, width=200))
    put = [(path, body) for method, path, body, _ in server.asked if method == "PUT"]
    chosen = {"name": NAME, "namespace": "lab", "nodeFieldSelector": f"id={NAME}-8"}
    assert put == [
        (f"{PLACE}/set", {**chosen, "outputParameters": '{"approve": "NO"}'}),
        (f"{PLACE}/resume", chosen),
    ]
    assert "ask was answered NO (removed_share 0.105263)" in stream.getvalue()


def test_there_is_nothing_to_answer_or_stop_at_the_end(server):
    argo, console = HttpArgo(server.url, namespace="lab"), Console(file=io.StringIO())
    server.answer("GET", PLACE, (200, workflow(scan())))
    with pytest.raises(TryAgainError, match="doesn't wait"):
        approve(argo, NAME, "YES", console)
    server.answer("GET", PLACE, (200, workflow(scan(), phase="Succeeded")))
    with pytest.raises(ConfigError, match="has ended"):
        approve(argo, NAME, "YES", console)
    with pytest.raises(ConfigError, match="has ended"):
        stop(argo, NAME)


def test_watch_follows_to_the_end_through_an_outage(server):
    server.answer(
        "GET", PLACE,
        (200, workflow(scan())),
        (503, {"message": "upgrading"}),
        (200, workflow(scan(), phase="Succeeded")),
    )  # fmt: skip
    stream, slept = io.StringIO(), []
    console = Console(file=stream, width=200)
    assert watch(HttpArgo(server.url, namespace="lab"), NAME, console, sleep=slept.append) == 0
    assert len(slept) == 2
    assert stream.getvalue().count("scan  1 of 1 done") == 1, "said once, not with every look"
    assert "succeeded" in stream.getvalue()


def test_logs_are_of_one_step_and_without_argos_own_lines(server):
    entries = [
        {"result": {"content": "found 19 objects", "podName": f"{NAME}-scan-1"}},
        {
            "result": {
                "content": 'time="2026" level=info msg="sub-process exited" argo=true',
                "podName": f"{NAME}-scan-1",
            }
        },
        {"result": {"content": "extract: 1 done", "podName": f"{NAME}-extract-30"}},
    ]
    server.answer("GET", PLACE, (200, workflow(scan())))
    server.answer("GET", f"{PLACE}/log", (200, b"\n".join(json.dumps(entry).encode() for entry in entries)))
    argo = HttpArgo(server.url, namespace="lab")
    assert list(lines_of(argo, NAME, step="scan")) == [(f"{NAME}-scan-1", "found 19 objects")]
    assert [line for _, line in lines_of(argo, NAME)] == ["found 19 objects", "extract: 1 done"]
    with pytest.raises(ConfigError, match="expected one of scan"):
        list(lines_of(argo, NAME, step="scann"))

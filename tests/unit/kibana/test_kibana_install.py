"""Installation against a loopback server that answers as Kibana's API does."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tierflow.config import Elasticsearch
from tierflow.errors import ConfigError, TryAgainError
from tierflow.kibana.install import export, install
from tierflow.kibana.saved_objects import files, ndjson, saved_objects

SETTINGS = Elasticsearch(timeout_s=10, patience_s=0)
COUNT = len(saved_objects())


class Stub(ThreadingHTTPServer):
    """A Kibana as far as its import API goes. `answers` are given first, each once; `requests` is what came in."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = []
        self.requests = []
        self.authorization = None
        self.spaces = {"default", "lab"}
        self.base = ""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}{self.base}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self._take()
        space = self.path.removeprefix(f"{self.server.base}/api/spaces/space/")
        if self._refused():
            return
        if space in self.server.spaces:
            self._send(200, {"id": space, "name": space, "disabledFeatures": []})
        else:
            self._send(
                404, {"statusCode": 404, "error": "Not Found", "message": f"Saved object [space/{space}] not found"}
            )

    def do_POST(self):
        body = self._take()
        if self._refused():
            return
        if self.headers.get("kbn-xsrf") is None:
            self._send(
                400, {"statusCode": 400, "error": "Bad Request", "message": "Request must contain a kbn-xsrf header."}
            )
            return
        prefix = self.path.removeprefix(self.server.base).removesuffix("/api/saved_objects/_import?overwrite=true")
        if prefix not in ("", "/s/lab"):
            self._send(404, {"statusCode": 404, "error": "Not Found", "message": "Not Found"})
            return
        form = message_from_bytes(f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode() + body)
        [part] = form.get_payload()
        assert part.get_param("name", header="content-disposition") == "file"
        assert part.get_filename().endswith(".ndjson")
        objects = [json.loads(line) for line in part.get_payload(decode=True).splitlines()]
        self.server.requests[-1]["objects"] = objects
        if self.server.answers:
            self._send(*self.server.answers.pop(0))
            return
        done = [{"type": item["type"], "id": item["id"], "overwrite": True} for item in objects]
        self._send(200, {"success": True, "successCount": len(done), "successResults": done, "warnings": []})

    def _take(self):
        self.server.requests.append({"path": self.path, "headers": dict(self.headers)})
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _refused(self):
        wanted = self.server.authorization
        if wanted is not None and self.headers.get("Authorization") != wanted:
            message = "[security_exception]: unable to authenticate user"
            self._send(401, {"statusCode": 401, "error": "Unauthorized", "message": message})
            return True
        return False

    def _send(self, status, body, headers=()):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def kibana():
    server = Stub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_everything_is_imported(kibana):
    done = install(kibana.url, settings=SETTINGS, thumbnail_url="http://files.lab:8600")
    assert done.objects == COUNT
    assert "tierflow overview" in done.titles
    assert done.url == f"{kibana.url}/app/dashboards"
    [request] = kibana.requests
    assert request["path"] == "/api/saved_objects/_import?overwrite=true"
    assert request["headers"]["kbn-xsrf"] == "true"
    assert "Authorization" not in request["headers"]
    assert ndjson(request["objects"]) == ndjson(saved_objects(thumbnail_url="http://files.lab:8600"))


def test_a_second_time_replaces_the_same_ids(kibana):
    install(kibana.url, settings=SETTINGS)
    install(kibana.url, settings=SETTINGS)
    first, second = kibana.requests
    assert [item["id"] for item in first["objects"]] == [item["id"] for item in second["objects"]]


def test_a_space_and_a_base_path(kibana):
    kibana.base = "/kibana"
    done = install(f"{kibana.url}/", space="lab", alias="lab-objects", settings=SETTINGS)
    assert [request["path"] for request in kibana.requests] == [
        "/kibana/api/spaces/space/lab",
        "/kibana/s/lab/api/saved_objects/_import?overwrite=true",
    ]
    assert done.url == f"{kibana.url}/s/lab/app/dashboards"
    assert "lab overview" in done.titles


def test_a_space_that_is_not_there(kibana):
    with pytest.raises(ConfigError, match="no space 'attic'"):
        install(kibana.url, space="attic", settings=SETTINGS)
    with pytest.raises(ConfigError, match="its identifier"):
        install(kibana.url, space="My Lab", settings=SETTINGS)
    assert len(kibana.requests) == 1


def test_partial_failure_names_each_object(kibana):
    lost = [{"type": "index-pattern", "id": "tierflow-objects"}]
    errors = [
        {
            "type": "dashboard",
            "id": "tierflow-plate",
            "title": "tierflow plate",
            "error": {
                "type": "missing_references",
                "references": lost,
            },
        },
        {
            "type": "tag",
            "id": "tierflow-tag",
            "error": {"type": "unknown", "message": "belongs to a more recent version of Kibana", "statusCode": 422},
        },
    ]
    kibana.answers = [(200, {"success": False, "successCount": COUNT - 2, "errors": errors})]
    with pytest.raises(ConfigError) as caught:
        install(kibana.url, settings=SETTINGS)
    message = str(caught.value)
    assert f"took {COUNT - 2} of {COUNT}" in message
    assert "dashboard tierflow-plate: missing_references (index-pattern tierflow-objects)" in message
    assert "tag tierflow-tag: belongs to a more recent version" in message
    assert caught.value.exit_code == 78


@pytest.mark.parametrize(
    "answer",
    [{"success": True, "successCount": COUNT - 1}, {"success": False, "successCount": COUNT}, {"success": True}],
    ids=["too few", "no success", "no count"],
)
def test_success_has_to_be_whole(kibana, answer):
    kibana.answers = [(200, answer)]
    with pytest.raises(ConfigError, match=f"of {COUNT} saved objects"):
        install(kibana.url, settings=SETTINGS)


def test_basic_credentials_and_a_wrong_password(kibana, monkeypatch):
    kibana.authorization = "Basic " + base64.b64encode("anna:größe".encode()).decode()
    monkeypatch.setenv("TIERFLOW_ES_USER", "anna")
    monkeypatch.setenv("TIERFLOW_ES_PASSWORD", "größe")
    assert install(kibana.url, settings=SETTINGS).objects == COUNT
    monkeypatch.setenv("TIERFLOW_ES_PASSWORD", "secret-but-wrong")
    with pytest.raises(ConfigError, match="doesn't accept the user, password or API key") as caught:
        install(kibana.url, settings=SETTINGS)
    assert "secret-but-wrong" not in str(caught.value)


def test_an_api_key(kibana, monkeypatch):
    kibana.authorization = "ApiKey abc123=="
    monkeypatch.setenv("TIERFLOW_ES_API_KEY", "abc123==")
    assert install(kibana.url, settings=SETTINGS).objects == COUNT


def test_credentials_never_leave_this_machine_in_plain_text(monkeypatch):
    monkeypatch.setenv("TIERFLOW_ES_API_KEY", "abc123==")
    with pytest.raises(ConfigError, match="unencrypted"):
        install("http://kibana.example:5601", settings=SETTINGS)
    with pytest.raises(ConfigError, match="holds a user or password"):
        install("https://anna:secret@kibana.example:5601", settings=SETTINGS)


def test_not_allowed(kibana):
    kibana.answers = [(403, {"statusCode": 403, "error": "Forbidden", "message": "Unable to bulk_create dashboard"})]
    with pytest.raises(ConfigError, match=r"Saved Objects Management.*"):
        install(kibana.url, settings=SETTINGS)


def test_a_proxy_that_drops_the_header(kibana):
    kibana.answers = [(400, {"statusCode": 400, "message": "Request must contain a kbn-xsrf header."})]
    with pytest.raises(ConfigError, match="kbn-xsrf"):
        install(kibana.url, settings=SETTINGS)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, "<html>Welcome to nginx</html>"), "isn't Kibana"),
        ((200, {"cluster_name": "lab"}), "refuses the import"),
        ((400, {"error": "no handler found for uri"}), "refuses the import"),
        ((404, {"statusCode": 404, "message": "Not Found"}), "base path"),
        ((302, "", [("Location", "/login")]), "'/login'"),
    ],
    ids=["web page", "other JSON", "elasticsearch", "wrong base path", "login page"],
)
def test_not_kibana(kibana, answer, expected):
    kibana.answers = [answer]
    with pytest.raises(ConfigError, match=expected):
        install(kibana.url, settings=SETTINGS)


def test_a_kibana_that_is_starting_is_waited_for(kibana):
    kibana.answers = [(503, "Kibana server is not ready yet"), (429, {"message": "busy"})]
    done = install(kibana.url, settings=Elasticsearch(timeout_s=10, patience_s=30))
    assert done.objects == COUNT
    assert len(kibana.requests) == 3


def test_a_kibana_that_never_gets_ready(kibana):
    kibana.answers = [(503, "Kibana server is not ready yet")]
    with pytest.raises(TryAgainError, match="not ready yet") as caught:
        install(kibana.url, settings=SETTINGS)
    assert caught.value.exit_code == 75


def test_nobody_there(kibana):
    url = kibana.url
    kibana.shutdown()
    kibana.server_close()
    with pytest.raises(TryAgainError, match="doesn't answer"):
        install(url, settings=SETTINGS)


def test_certificates_are_checked(kibana, tmp_path):
    trustme = pytest.importorskip("trustme")
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = authority.issue_cert("127.0.0.1")
    certificate.configure_cert(context)
    kibana.socket = context.wrap_socket(kibana.socket, server_side=True)
    url = kibana.url.replace("http:", "https:")
    for name, each in (("ours", authority), ("theirs", stranger)):
        each.cert_pem.write_to_path(tmp_path / name)
    trusting = SETTINGS.model_copy(update={"ca_file": str(tmp_path / "ours")})
    assert install(url, settings=trusting).objects == COUNT
    with pytest.raises(ConfigError, match="isn't trusted"):
        install(url, settings=SETTINGS.model_copy(update={"ca_file": str(tmp_path / "theirs")}))
    with pytest.raises(ConfigError, match="isn't trusted"):
        install(url, settings=SETTINGS)
    leaf = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    pinned = SETTINGS.model_copy(update={"fingerprint": hashlib.sha256(leaf).hexdigest()})
    assert install(url, settings=pinned).objects == COUNT
    with pytest.raises(ConfigError, match="isn't trusted"):
        install(url, settings=SETTINGS.model_copy(update={"fingerprint": "0" * 64}))


def test_export_writes_what_the_repository_has(tmp_path):
    written = export(tmp_path / "new" / "folder", thumbnail_url="http://localhost:8600")
    assert [path.name for path in written] == ["tierflow.ndjson", "tierflow-runs.ndjson"]
    for path in written:
        assert path.read_text(encoding="utf-8") == files(thumbnail_url="http://localhost:8600")[path.name]


@pytest.mark.parametrize("address", ["files.lab:8600", "javascript:alert(1)", "http://", "http://a/{{x}}"])
def test_an_address_of_thumbnails_that_is_none(tmp_path, address):
    with pytest.raises(ConfigError, match="thumbnail address"):
        export(tmp_path, thumbnail_url=address)

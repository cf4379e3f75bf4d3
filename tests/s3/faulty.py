"""A proxy before a real S3 server that makes the faults which the real one doesn't: 503, cut bodies, lost answers."""

from __future__ import annotations

import http.client
import os
import threading
import time
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import botocore.session
import pytest

from tierflow.objectstore.connect import connect

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class Faulty:
    """Forwards requests; `rule(method, path)` may name a fault: slow_down, lost, cut_answer, hang, or None."""

    def __init__(self, server: str) -> None:
        self.rule: Callable[[str, str], str | None] = lambda method, path: None
        self.seen: list[tuple[str, str]] = []
        self.before: Callable[[str, str], None] = lambda method, path: None
        target = urlsplit(server).netloc
        faulty = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                faulty.seen.append((self.command, self.path))
                fault = faulty.rule(self.command, self.path)
                if fault == "hang":
                    time.sleep(60)
                if self.headers.get("Expect", "").lower() == "100-continue":
                    pass  # BaseHTTPRequestHandler has answered that.
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if fault == "slow_down":
                    return self.answer(503, {"Content-Type": "application/xml"}, SLOW_DOWN)
                faulty.before(self.command, self.path)
                link = http.client.HTTPConnection(target)
                headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
                link.request(self.command, self.path, body=body or None, headers=headers)
                reply = link.getresponse()
                data = reply.read()
                link.close()
                if fault == "lost":
                    self.close_connection = True
                    return None
                if fault == "cut_answer":
                    self.send_response(reply.status)
                    for name, value in reply.getheaders():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(data[: len(data) // 2])
                    self.close_connection = True
                    return None
                return self.answer(reply.status, dict(reply.getheaders()), data)

            def answer(self, status, headers, data):
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                told = headers.get("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", told or str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda request, address: None
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Bucket:
    """A bucket of the test's own, looked at with a client that doesn't go through the proxy."""

    def __init__(self, server: str) -> None:
        self.client = botocore.session.get_session().create_client("s3", endpoint_url=server)
        self.name = f"h5-{uuid.uuid4().hex[:12]}"
        self.root = f"s3://{self.name}"
        self.client.create_bucket(Bucket=self.name)

    def contents(self) -> dict[str, bytes]:
        found = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return {item["Key"]: self.get(item["Key"]) for item in found}

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def uploads(self) -> list[str]:
        return [item["Key"] for item in self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])]

    def remove(self) -> None:
        for item in self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", []):
            self.client.abort_multipart_upload(Bucket=self.name, Key=item["Key"], UploadId=item["UploadId"])
        for key in self.contents():
            self.client.delete_object(Bucket=self.name, Key=key)
        self.client.delete_bucket(Bucket=self.name)


@pytest.fixture
def store(monkeypatch):
    """A bucket and the proxy through which tierflow talks to it."""
    server = os.environ.get("TIERFLOW_S3_URL")
    if not server:
        pytest.skip("no S3 server: TIERFLOW_S3_URL is not set")
    bucket, proxy = Bucket(server), Faulty(server)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    connect.cache_clear()
    yield bucket, proxy
    connect.cache_clear()
    proxy.close()
    bucket.remove()

"""The sockets: what clients that are slow, rude or many get."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from serving_world import make_world

from tierflow.errors import ConfigError
from tierflow.serve import listen
from tierflow.serve.access import Access
from tierflow.serve.app import App
from tierflow.serve.listen import Server
from tierflow.serve.site import Site
from tierflow.serve.web import application


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


@contextmanager
def running(world):
    web = application(Site([world.output]), access=Access(), loopback_only=True)
    server = Server(web.application, host="127.0.0.1", port=0, stopping=web.end)
    thread = threading.Thread(target=server.listen)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


@pytest.fixture
def served(world):
    with running(world) as server:
        yield server


def ask(server, target, method="GET", headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(method, target, headers=headers or {})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def raw(server, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(data)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_a_picture_and_its_head(served, world):
    target = f"/thumbnail/{world.id('ramp.tif')}.png"
    answer, content = ask(served, target)
    assert answer.status == 200
    assert content.startswith(b"\x89PNG")
    assert answer.headers["Server"] == "tierflow"
    assert answer.headers["Connection"] == "close"
    head, nothing = ask(served, target, "HEAD")
    assert nothing == b""
    assert head.headers["Content-Length"] == str(len(content))
    same, nothing = ask(served, target, headers={"If-None-Match": answer.headers["ETag"]})
    assert (same.status, nothing) == (304, b"")


def test_a_report_is_sent_whole(served, world):
    big = b"<!doctype html>" + b"x" * 3_000_000
    (world.output / "report.html").write_bytes(big)
    answer, content = ask(served, "/report/1/")
    assert answer.headers["Content-Length"] == str(len(big))
    assert content == big
    head, nothing = ask(served, "/report/1/", "HEAD")
    assert (head.headers["Content-Length"], nothing) == (str(len(big)), b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods(served, method):
    answer, _ = ask(served, "/", method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b" 400 "),
        (b"GET / HTTP/9.9\r\n\r\n", b" 421 "),
        (b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", b" 405 "),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b" 431 "),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"x" * 20_000 + b"\r\n\r\n", b" 431 "),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 5000 + b"\r\n", b" 431 "),
        (b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", b" 421 "),
        (b"GET /healthz HTTP/1.1\r\n\r\n", b" 400 "),
        (b"GET /healthz HTTP/1.0\r\n\r\n", b" 421 "),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n", b" 200 "),
    ],
)
def test_what_is_no_request(served, sent, status):
    answer = raw(served, sent)
    first = answer.split(b"\r\n", 1)[0]
    assert status in first + b" "
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"nosniff" in answer
    assert b"xxx" not in answer, "what was sent isn't repeated"
    assert ask(served, "/healthz")[1] == b"ok\n"


def test_an_error_inside_is_not_shown_to_the_client(served, monkeypatch, capfd):
    def fail(*_):
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(App, "respond", fail)
    answer, content = ask(served, "/")
    assert answer.status == 500
    assert b"secret" not in content
    assert "/secret/path" in capfd.readouterr().err


def test_no_more_connections_than_allowed_and_the_rest_is_told_so(world, monkeypatch):
    monkeypatch.setattr(listen, "CONNECTIONS", 2)
    with running(world) as server:
        silent = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(2)]
        assert raw(server, b"").startswith(b"HTTP/1.1 503 ")
        for connection in silent:
            connection.close()
        deadline = time.monotonic() + 20
        while ask(server, "/healthz")[0].status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_who_says_nothing_is_cut_off(world, monkeypatch):
    monkeypatch.setattr(listen, "SILENCE_S", 0.1)
    with running(world) as server:
        assert raw(server, b"GET / HTTP/1.1\r\n") == b""


def test_who_trickles_is_cut_off(world, monkeypatch):
    monkeypatch.setattr(listen, "PATIENCE_S", 0.3)
    with running(world) as server, socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.settimeout(0.02)
        while True:
            try:
                client.sendall(b"x")
                if not client.recv(1):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert ask(server, "/healthz")[0].status == 200


def test_addresses_that_cannot_be_listened_on(world):
    site = Site([world.output])
    web = application(site, access=Access(), loopback_only=True)

    def listening(host, port):
        return Server(web.application, host=host, port=port, stopping=web.end)

    first = listening("127.0.0.1", 0)
    with pytest.raises(ConfigError, match=r"in use.*--port"):
        listening("127.0.0.1", first.port)
    first.close()
    for host, port in (("192.0.2.1", 0), ("no such host.invalid", 0)):
        with pytest.raises(ConfigError, match="--host"):
            listening(host, port)
    with pytest.raises(ConfigError, match="0 to 65535"):
        listening("127.0.0.1", 70_000)


def test_its_address(served):
    assert served.url == f"http://127.0.0.1:{served.port}/"


def test_who_does_not_read_the_answer_is_cut_off(world, monkeypatch):
    monkeypatch.setattr(listen, "PATIENCE_S", 0.5)
    (world.output / "report.html").write_bytes(b"x" * 60_000_000)
    with running(world) as server, socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(b"GET /report/1/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        deadline = time.monotonic() + 20
        while server.server_state.connections or not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert ask(server, "/healthz")[0].status == 200


def test_content_that_is_too_long_is_not_read(served):
    sent = b"POST /api/v1/runs/1/retry HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"
    assert raw(served, sent).startswith(b"HTTP/1.1 413 ")
    chunked = b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert raw(served, chunked).startswith(b"HTTP/1.1 413 ")

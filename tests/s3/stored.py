"""A bucket per test on a real S3 server, and a wire to it that can be cut."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from contextlib import suppress
from pathlib import Path

import botocore.session
import pytest

from tierflow.commands import job
from tierflow.objectstore.connect import connect

ROOT = Path(__file__).resolve().parents[2]
PLATE = ROOT / "examples" / "plate"
NOWHERE = [
    *(f"tiers.{name}.driver=none" for name in "ABCD"),
    "quarantine.driver=none",
    "catalogue.run=same",
    "scan.shard_objects=5",
]


class Bucket:
    """A bucket, by the store's own client and not by the code under test."""

    def __init__(self):
        self.client = botocore.session.get_session().create_client("s3", endpoint_url=os.environ["TIERFLOW_S3_URL"])
        self.name = f"h6-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=self.name)

    def url(self, path):
        return f"s3://{self.name}/{path}"

    def put(self, key, data):
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def get(self, key):
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def delete(self, key):
        self.client.delete_object(Bucket=self.name, Key=key)

    def listed(self, prefix=""):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def put_folder(self, folder, prefix):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def get_folder(self, prefix, folder):
        for key in self.listed(f"{prefix}/"):
            path = folder / key.removeprefix(f"{prefix}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.get(key))

    def remove(self):
        for key in self.listed():
            self.delete(key)
        self.client.delete_bucket(Bucket=self.name)


@pytest.fixture
def bucket():
    if not os.environ.get("TIERFLOW_S3_URL"):
        pytest.skip("no S3 server: TIERFLOW_S3_URL is not set")
    connect.cache_clear()
    made = Bucket()
    yield made
    made.remove()
    connect.cache_clear()


class Wire:
    """Forwards connections to the server; cuts each of the next `cuts` answers after `after` bytes."""

    def __init__(self, address):
        self.address, self.cuts, self.after = address, 0, 0
        self.requests = []
        self.sockets, self.threads = [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self._start(self._serve)

    def stop(self):
        """End all threads, then close what they used."""
        for each in (self.listener, *self.sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(10)
        for each in (self.listener, *self.sockets):
            each.close()

    def _start(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _serve(self):
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.address)
                self.sockets += [near, far]
                self._start(self._up, near, far)
                self._start(self._down, far, near)

    def _up(self, near, far):
        with suppress(OSError):
            while data := near.recv(1 << 16):
                if data[:4] in (b"GET ", b"HEAD", b"PUT ", b"POST", b"DELE"):
                    self.requests.append(data.split(b" HTTP/", 1)[0].decode())
                far.sendall(data)
            far.shutdown(socket.SHUT_WR)

    def _down(self, far, near):
        sent = 0
        with suppress(OSError):
            while data := far.recv(1 << 16):
                if self.cuts and sent + len(data) > self.after:
                    self.cuts -= 1
                    near.sendall(data[: max(0, self.after - sent)])
                    near.shutdown(socket.SHUT_RDWR)
                    far.shutdown(socket.SHUT_RDWR)
                    return
                near.sendall(data)
                sent += len(data)
            near.shutdown(socket.SHUT_WR)


@pytest.fixture
def wire(bucket, monkeypatch):
    host, port = os.environ["TIERFLOW_S3_URL"].rpartition("/")[2].split(":")
    made = Wire((host, int(port)))
    monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
    connect.cache_clear()
    yield made
    connect.cache_clear()
    made.stop()


def do(output, *steps):
    """Do steps of a run by `tierflow job run`, each as a job of its own."""
    for step in steps:
        job.run(str(output), steps=step)


WHOLE = ("extract", "baseline", "score", "policy", "place,index", "report")

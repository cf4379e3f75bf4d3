"""A stream small enough to be written by hand, over the world of `serving_world`, and a client of the application."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass
from typing import Any

import anyio
from serving_world import World

from tierflow.io.identity import object_id
from tierflow.serve.access import Access, Person, Role, Token, digest_of
from tierflow.serve.site import Site
from tierflow.serve.web import application
from tierflow.stream.ledger import Ledger, insert_news

TOKENS = {"viewer": "tf_v", "operator": "tf_o", "admin": "tf_a"}


def access(*, without: Role = Role.NOBODY) -> Access:
    tokens = [Token(Person(f"{word} person", Role[word.upper()]), digest_of(text)) for word, text in TOKENS.items()]
    return Access(tokens, without=without)


def add_object(ledger: Ledger, name: str, *, state: str, **values: Any) -> int:
    now = time.time()
    row = {
        "path": name.encode("utf-8", "surrogateescape"),
        "folder": b"",
        "object_id": object_id("world", name),
        "state": state,
        "size": 1000,
        "mtime_ns": 0,
        "inode": 0,
        "seen_at": now - 2,
        "changed_at": now - 1.5,
        **values,
    }
    with ledger.transaction() as db:
        marks = ", ".join("?" * len(row))
        return int(db.execute(f"INSERT INTO objects ({', '.join(row)}) VALUES ({marks})", list(row.values())).lastrowid)


def make_stream(world: World) -> dict[str, int]:
    """Write a ledger: two done, one in quarantine, one waiting; returns their numbers."""
    ledger, now = Ledger(world.output), time.time()
    found = {
        "ramp.tif": add_object(
            ledger, "ramp.tif", state="done", tier="A", interestingness=0.9, ended_at=now - 1, ready_at=now - 1.4
        ),
        "placed.tif": add_object(ledger, "placed.tif", state="done", tier="B", interestingness=0.5, ended_at=now - 0.5),
        "damaged.tif": add_object(
            ledger, "damaged.tif", state="quarantined", tier="quarantine", reason="no image\nin it", ended_at=now - 0.7
        ),
        "late.tif": add_object(ledger, "late.tif", state="waiting", reason="its site isn't complete"),
    }
    with ledger.transaction() as db:
        insert_news(db, "done", [(found["ramp.tif"], {"path": "ramp.tif", "tier": "A", "reason": "very sharp"})])
    note_service(ledger)
    ledger.close()
    return found


def note_service(ledger: Ledger, *, state: str = "running", watcher: str = "ok", **more: Any) -> None:
    now = time.time()
    service = {"pid": os.getpid(), "host": socket.gethostname(), "state": state, "beat_at": now, "input": "/in", **more}
    ledger.note(service=service, watcher={"state": watcher, "message": "words of the watcher", "mode": "events"})


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


class Client:
    """Asks the application without sockets; keeps no cookies."""

    def __init__(self, world: World, *, who: Access | None = None, loopback_only: bool = True) -> None:
        self._web = application(Site([world.output]), access=who or Access(), loopback_only=loopback_only)

    def ask(
        self, method: str, target: str, *, token: str = "", body: Any = None, raw: bytes | None = None, **headers: str
    ) -> Answer:
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        sent = {"host": "127.0.0.1:8600", **{name.replace("_", "-"): value for name, value in headers.items()}}
        if content:
            sent = {"content-length": str(len(content)), "content-type": "application/json", **sent}
        if token:
            sent["authorization"] = f"Bearer {token}"
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8600),
        }
        return anyio.run(self._answer, scope, content)

    async def _answer(self, scope: dict[str, Any], content: bytes) -> Answer:
        told: list[Any] = []
        waiting = [{"type": "http.request", "body": content, "more_body": False}]

        async def receive() -> Any:
            if waiting:
                return waiting.pop(0)
            await anyio.sleep_forever()
            return None

        async def send(message: Any) -> None:
            told.append(message)

        await self._web.application(scope, receive, send)
        headers = {name.decode().lower(): value.decode() for name, value in told[0]["headers"]}
        return Answer(told[0]["status"], headers, b"".join(each.get("body", b"") for each in told[1:]))

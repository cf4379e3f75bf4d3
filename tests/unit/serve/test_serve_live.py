"""The live view: what is told of a stream, to whom, and what people may do to it."""

from __future__ import annotations

import json
import time

import pytest
from live_world import TOKENS, Client, access, add_object, make_stream, note_service
from serving_world import make_world, record, write_run

from tierflow import corrections
from tierflow.lock import run_lock
from tierflow.serve.access import Role
from tierflow.serve.site import Site
from tierflow.serve.web import Lives
from tierflow.stream.ledger import Ledger

RUN = "/api/v1/runs/1"
PAGE = {"origin": "http://127.0.0.1:8600", "x_tierflow_action": "1"}


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


@pytest.fixture
def numbers(world):
    return make_stream(world)


@pytest.fixture
def client(world, numbers):
    return Client(world, who=access())


def open_ledger(world):
    return Ledger(world.output)


def look(client, path, **more):
    return client.ask("GET", RUN + path, token=TOKENS["viewer"], **more).json()


def act(client, name, body=None, *, role="operator"):
    return client.ask("POST", f"{RUN}/{name}", token=TOKENS[role], body=body)


def test_the_status(client):
    found = look(client, "/status")
    assert found["states"] == {
        "seen": 0, "waiting": 1, "ready": 0, "running": 0, "failed": 0, "done": 2, "quarantined": 1, "lost_source": 0
    }  # fmt: skip
    tiers = {each["name"]: (each["objects"], each["bytes"]) for each in found["tiers"]}
    assert tiers["A"] == tiers["B"] == tiers["quarantine"] == (1, 1000)
    assert tiers["C"] == (0, 0)
    assert sum(found["arrivals"]["second"]) in (3, 4)
    assert len(found["arrivals"]["second"]) == 120
    assert 0.4 < found["latency_s"]["median"] < 1.2
    assert found["service"]["words"] == "running"
    assert found["watcher"]["ok"]
    reason = {"reason": "its site isn't complete", "objects": 1, "example": "late.tif"}
    assert found["reasons"]["waiting"] == [reason]


def test_arrivals_are_counted_once(world, numbers):
    site = Site([world.output])
    live = Lives(site).of(site.run(1))
    live._status._least_s = live._slow._least_s = 0
    before = sum(live.status()["arrivals"]["minute"])
    ledger = open_ledger(world)
    add_object(ledger, "new.tif", state="seen")
    live._status._found = None
    assert sum(live.status()["arrivals"]["minute"]) == before + 1
    live._status._found = None
    assert sum(live.status()["arrivals"]["minute"]) == before + 1


def test_the_latest_with_the_reason_of_their_tier(client, numbers):
    found = look(client, "/latest")
    assert [each["path"] for each in found] == ["placed.tif", "damaged.tif", "ramp.tif"]
    assert found[2]["reason"] == "very sharp"
    assert found[2]["latency_s"] == pytest.approx(0.5, abs=0.01)
    assert found[1]["reason"] == "no image\\x0ain it"


def test_names_are_shown_so_that_nothing_hides_in_them(client, world):
    ledger = open_ledger(world)
    add_object(ledger, "a\n<b>\u202egnp.exe\udcff.tif", state="quarantined", ended_at=1e12)
    assert look(client, "/objects")["objects"][0]["path"] == "a\\n<b>\\u202egnp.exe\\xff.tif"


def test_objects_by_state_and_page(client):
    assert [each["path"] for each in look(client, "/objects?state=done")["objects"]] == ["placed.tif", "ramp.tif"]
    first = look(client, "/objects?state=done&limit=1")
    assert (first["total"], first["objects"][0]["path"]) == (2, "placed.tif")
    then = look(client, f"/objects?state=done&before={first['objects'][0]['ended_at']}")
    assert [each["path"] for each in then["objects"]] == ["ramp.tif"]
    assert client.ask("GET", f"{RUN}/objects?state=eaten", token=TOKENS["viewer"]).status == 422


def test_search_in_the_language_of_the_catalogue(client):
    found = look(client, "/search?q=tier:B")
    assert (found["total"], found["rows"][0]["path"]) == (1, "placed.tif")
    first = look(client, "/search?limit=3")
    assert (first["total"], first["rows"][0]["path"]) == (8, "ramp.tif")
    assert len(look(client, f"/search?limit=8&cursor={first['next_cursor']}")["rows"]) == 5
    wrong = client.ask("GET", f"{RUN}/search?q=nothing:1", token=TOKENS["viewer"])
    assert wrong.status == 400
    assert "nothing" in wrong.json()["detail"]


def test_plates(client):
    assert [(each["plate"], each["objects"]) for each in look(client, "/plates")] == [
        ("<script>alert(1)</script>", 1),
        ("P1", 7),
    ]
    found = look(client, "/plate?name=P1")
    assert (found["rows"], found["columns"]) == (8, 12)
    [well] = found["wells"]
    assert (well["well"], well["row"], well["column"], well["objects"], well["failed"]) == ("A01", 1, 1, 7, 1)
    assert well["mean"] == pytest.approx((0.9 + 5 * 0.5) / 6, abs=1e-4)
    assert client.ask("GET", f"{RUN}/plate?name=P2", token=TOKENS["viewer"]).status == 404


def test_the_top_folder_has_the_name_of_the_data_set_and_no_wells_have_no_grid(tmp_path):
    world = make_world(tmp_path)
    write_run(world.output, world.input, [record("ramp.tif", plate=".", well=None), record("text.tif", plate="P1")])
    make_stream(world)
    client = Client(world, who=access())
    assert [(each["plate"], each["shown"]) for each in look(client, "/plates")] == [(".", "world"), ("P1", "P1")]
    found = look(client, "/plate?name=.")
    assert found == {"plate": ".", "shown": "world", "rows": 0, "columns": 0, "wells": []}
    other = look(client, "/plate?name=P1")
    assert (other["rows"], other["columns"], len(other["wells"])) == (8, 12, 1)
    assert b'alt="ramp.tif"' in client.ask("GET", "/", token=TOKENS["viewer"]).content
    (world.output / "config.yaml").write_text("wrong: [")
    assert [each["shown"] for each in look(Client(world, who=access()), "/plates")] == ["(top folder)", "P1"]


def test_files_that_are_left_out_are_told_of(client, world):
    ledger = open_ledger(world)
    note_service(ledger)
    ledger.note(watcher={"state": "ok", "left_out": {".czi": 100}, "left_out_message": "100 .czi files were left out"})
    found = look(client, "/status")["watcher"]
    assert (found["ok"], found["left_out"]) == (True, {".czi": 100})
    assert found["left_out_message"] == "100 .czi files were left out"


def test_a_run_without_a_stream(world):
    client = Client(world)
    assert client.ask("GET", "/live/1/").status == 404
    assert client.ask("GET", f"{RUN}/status").status == 404
    assert client.ask("GET", "/api/v1/runs/7/status").status == 404
    assert client.ask("GET", "/readyz").content == b"ready\n"
    assert b"/live/1/" not in client.ask("GET", "/").content


def test_the_page_is_linked_and_allows_only_its_own_script(world, numbers):
    client = Client(world)
    assert b'<a href="/live/1/">' in client.ask("GET", "/").content
    page = client.ask("GET", "/live/1/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert b"<script>" not in page.content
    assert b"style=" not in page.content
    script = client.ask("GET", "/static/live.js")
    assert client.ask("GET", "/static/live.js", if_none_match=script.headers["etag"]).status == 304
    for outside in (b"http:", b"https:"):
        assert outside not in script.content.replace(b"http://www.w3.org/2000/svg", b"")
    for sink in (b"innerHTML", b"outerHTML", b"insertAdjacentHTML", b"document.write", b"eval("):
        assert sink not in script.content


@pytest.mark.parametrize("target", ["/static/../web.py", "/static/%2e%2e/web.py", "/static/live.html", "/live/x/"])
def test_no_other_files(world, numbers, target):
    assert Client(world).ask("GET", target).status in (404, 422)


# ---- roles


@pytest.mark.parametrize(
    "target", ["/", "/live/1/", "/metrics", "/report/1/", f"{RUN}/status", "/openapi.json", "/docs", "/static/live.js"]
)
def test_with_tokens_nobody_looks_without_one(client, target):
    assert client.ask("GET", target).status == 401
    assert client.ask("GET", target, token="tf_wrong").status == 401
    assert client.ask("GET", target, token=TOKENS["viewer"]).status == 200
    to_login = client.ask("GET", target, accept="text/html")
    assert (to_login.status, to_login.headers["location"]) == (303, "/login")


@pytest.mark.parametrize("target", ["/healthz", "/livez", "/readyz", "/login"])
def test_what_everyone_may_ask(client, target):
    assert client.ask("GET", target).status == 200


@pytest.mark.parametrize("name", ["pause", "resume", "drain", "retry", "relabel", "approve"])
def test_who_may_act(client, world, numbers, name):
    body = {"relabel": {"ids": [1], "tier": "A", "reason": "x"}, "approve": {"ids": [3]}, "retry": {}}.get(name)
    assert act(client, name, body, role="viewer").status == 403
    assert client.ask("POST", f"{RUN}/{name}", body=body).status == 401
    assert open_ledger(world).requests() == []
    assert corrections.read(world.output) == []
    for role in ("operator", "admin"):
        assert act(client, name, body, role=role).status == 202
    assert {by for _, by, _, _ in open_ledger(world).requests()} == {"operator person", "admin person"}


def test_without_tokens_everyone_looks_and_nobody_acts(world, numbers):
    client = Client(world)
    assert client.ask("GET", "/live/1/").status == 200
    assert client.ask("POST", f"{RUN}/pause", **PAGE).status == 401
    assert client.ask("GET", "/api/v1/me").json() == {
        "name": "", "role": "viewer", "may_act": False, "can_log_in": False
    }  # fmt: skip


def log_in(client, token, **headers):
    sent = {"origin": "http://127.0.0.1:8600", "content_type": "application/x-www-form-urlencoded", **headers}
    return client.ask("POST", "/login", raw=f"token={token}".encode(), **sent)


def test_a_browser_logs_in_acts_and_logs_out(client, world):
    assert log_in(client, "tf_wrong").status == 401
    assert log_in(client, TOKENS["operator"], origin="http://evil.example").status == 403
    answer = log_in(client, TOKENS["operator"])
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKENS["operator"] not in cookie
    session = cookie.split(";")[0]
    assert client.ask("GET", "/live/1/", cookie=session).status == 200
    assert client.ask("POST", f"{RUN}/pause", cookie=session, **PAGE).status == 202
    out = client.ask("POST", "/logout", cookie=session, origin="http://127.0.0.1:8600")
    assert out.status == 303
    assert client.ask("GET", "/live/1/", cookie=session).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"x_tierflow_action": "1"},
        {"origin": "http://127.0.0.1:8600"},
        {**PAGE, "origin": "http://evil.example"},
        {**PAGE, "origin": "null"},
        {**PAGE, "origin": "http://127.0.0.1:8601"},
    ],
)
def test_pages_of_other_servers_cannot_act(client, world, headers):
    session = log_in(client, TOKENS["admin"]).headers["set-cookie"].split(";")[0]
    assert client.ask("POST", f"{RUN}/drain", cookie=session, **headers).status == 403
    assert open_ledger(world).requests() == []


def test_the_host_is_checked_first(client):
    assert client.ask("GET", f"{RUN}/status", token=TOKENS["admin"], host="evil.example").status == 421
    assert client.ask("POST", f"{RUN}/pause", token=TOKENS["admin"], host="evil.example").status == 421


# ---- actions


def test_requests_are_left_and_noted(client, world, numbers, caplog):
    number = act(client, "pause").json()["request"]
    ledger = open_ledger(world)
    assert ledger.requests() == [(number, "operator person", "pause", {})]
    news = [(kind, detail.get("by"), detail.get("name")) for _, _, kind, _, detail in ledger.news(after=0)]
    assert ("action", "operator person", "pause") in news
    assert "operator person asks the stream" in caplog.text


def test_retry(client, world, numbers):
    assert act(client, "retry", {"ids": [numbers["damaged.tif"]]}).status == 202
    assert act(client, "retry", {}).status == 202
    asked = [(name, arguments) for _, _, name, arguments in open_ledger(world).requests()]
    assert asked == [("retry", {"ids": [numbers["damaged.tif"]]}), ("retry", {"state": "quarantined"})]
    assert act(client, "retry", {"ids": [99]}).status == 404
    for body in ({"ids": ["x"]}, {"ids": [0]}, {"more": 1}, {"ids": [10**30]}, [1]):
        assert act(client, "retry", body).status == 422


def test_a_decision_is_kept_and_asked_for(client, world, numbers):
    body = {"ids": [numbers["ramp.tif"]], "tier": "D", "reason": " seen by eye "}
    answer = act(client, "relabel", body)
    assert (answer.status, answer.json()["objects"], answer.json()["placed"]) == (202, 1, "next_run")
    [decision] = corrections.read(world.output)
    assert (decision.tier, decision.by, decision.reason) == ("D", "operator person", "seen by eye")
    assert (decision.objects, decision.units) == ((world.id("ramp.tif"),), ("ramp.tif",))
    [(_, by, name, arguments)] = open_ledger(world).requests()
    assert (by, name) == ("operator person", "relabel")
    assert arguments == {
        "ids": [numbers["ramp.tif"]], "object_ids": [world.id("ramp.tif")], "tier": "D", "reason": "seen by eye"
    }  # fmt: skip


def test_decisions_that_cannot_be(client, world, numbers):
    one = [numbers["ramp.tif"]]
    assert act(client, "relabel", {"ids": one, "tier": "Z", "reason": "x"}).status == 400
    assert act(client, "relabel", {"ids": one, "tier": "A", "reason": "  "}).status == 400
    assert act(client, "relabel", {"ids": [99], "tier": "A", "reason": "x"}).status == 404
    assert act(client, "relabel", {"ids": [numbers["late.tif"]], "tier": "A", "reason": "x"}).status == 404
    assert corrections.read(world.output) == []


def test_while_the_stream_holds_the_output_a_decision_is_written(client, world, numbers):
    body = {"ids": [numbers["ramp.tif"]], "tier": "D", "reason": "x"}
    with run_lock(world.output):
        assert act(client, "relabel", body).json()["placed"] == "soon"
    assert len(corrections.read(world.output)) == 1


def test_while_a_plain_run_holds_the_output_nothing_is_decided(client, world, numbers):
    note_service(open_ledger(world), state="stopped")
    body = {"ids": [numbers["ramp.tif"]], "tier": "D", "reason": "x"}
    with run_lock(world.output):
        answer = act(client, "relabel", body)
    assert answer.status == 503
    assert "in use" in answer.json()["detail"]
    assert corrections.read(world.output) == []


def test_who_has_approved_is_shown(client, world, numbers):
    assert look(client, "/objects")["objects"][0]["approved_by"] is None
    assert act(client, "approve", {"ids": [numbers["damaged.tif"]]}).status == 202
    assert look(client, "/objects")["objects"][0]["approved_by"] == "operator person"
    [decision] = corrections.read(world.output)
    assert decision.tier == "quarantine"


# ---- health


@pytest.mark.parametrize(
    ("service", "watcher", "status", "words"),
    [
        ({}, "ok", 200, "ready"),
        ({}, "overflow", 200, "ready"),
        ({}, "root_lost", 503, "words of the watcher"),
        ({"beat_at": 1.0}, "ok", 503, "no sign of life"),
        ({"state": "paused"}, "ok", 200, "ready"),
        ({"state": "stopped"}, "root_lost", 200, "ready"),
    ],
)
def test_readiness(world, numbers, service, watcher, status, words):
    note_service(open_ledger(world), watcher=watcher, **service)
    found = Client(world, who=access()).ask("GET", "/readyz")
    assert found.status == status
    assert words in found.content.decode()


@pytest.mark.parametrize(("state", "status"), [("running", 200), ("paused", 200), ("stopped", 200), ("dead", 503)])
def test_alive_is_who_gives_signs_of_life_whatever_he_says(world, numbers, state, status):
    """Starting a watching process again doesn't bring its share back."""
    service = {"state": "running", "beat_at": time.time() - 60} if state == "dead" else {"state": state}
    note_service(open_ledger(world), watcher="root_lost", **service)
    client = Client(world, who=access())
    assert client.ask("GET", "/livez").status == status
    assert client.ask("GET", f"/livez?run={world.output.name}").status == status
    assert client.ask("GET", "/livez?run=another").status == 200


def test_readiness_with_a_ledger_that_cannot_be_read(world, numbers):
    (world.output / ".tierflow/stream/ledger.sqlite").write_bytes(b"no database" * 1000)
    found = Client(world).ask("GET", "/readyz")
    assert found.status == 503
    assert b"can't be read" in found.content
    assert Client(world).ask("GET", "/metrics").status == 200


def test_metrics_of_the_stream(world, numbers):
    text = Client(world).ask("GET", "/metrics").content.decode()
    assert 'tierflow_stream_objects{run="world-1",state="done"} 2' in text
    assert 'tierflow_stream_watcher_ok{run="world-1"} 1' in text
    assert 'tierflow_stream_latency_seconds{run="world-1",quantile="0.95"}' in text
    assert 'tierflow_indexer_records{run="world-1"} 8' in text


def test_the_description_of_the_api(world):
    client = Client(world)
    schema = client.ask("GET", "/openapi.json").json()
    assert "/api/v1/runs/{number}/relabel" in schema["paths"]
    page = client.ask("GET", "/docs").content
    for path in schema["paths"]:
        assert f"<code>{'POST' if 'post' in schema['paths'][path] else 'GET'} {path}</code>".encode() in page
    assert b"http" not in page.replace(b"https://", b"http").split(b"<main>")[0].replace(b"http-equiv", b"")


def test_who_asks_is_told(client):
    found = json.loads(client.ask("GET", "/api/v1/me", token=TOKENS["operator"]).content)
    assert found == {"name": "operator person", "role": Role.OPERATOR.word, "may_act": True, "can_log_in": False}

"""Runs begun through the server: once per request, known after a restart, cancelled, released; the first is real."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tierflow.errors import ConfigError, InputMissingError
from tierflow.serve.access import Access, Role, Token, digest_of
from tierflow.serve.access import Person as Somebody
from tierflow.serve.guard import Guard
from tierflow.serve.runs import ConflictError, RunRequest, Runs
from tierflow.serve.runs_api import runs_router
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tierflow.serve.runs import Action

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "plate"
# Says its options, then lives until it is interrupted, as `tierflow run` does.
LONG = (sys.executable, "-c", "import sys, time; print(sys.argv[1:], flush=True); time.sleep(120)")
SHORT = (sys.executable, "-c", "import sys; print('all is well'); sys.exit(0)")
BAD = (sys.executable, "-c", "import sys; sys.exit('tierflow: score.function is wrong')")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Runs]]:
    """Give a maker of servers' runs that share one folder; all are closed at the end."""
    made: list[Runs] = []
    (tmp_path / "in" / "plate 1").mkdir(parents=True)

    def maker(program: tuple[str, ...] = SHORT, **more: Any) -> Runs:
        made.append(
            Runs(tmp_path / "state", inputs=[tmp_path / "in"], outputs=tmp_path / "out", program=program, **more)
        )
        return made[-1]

    yield maker
    for runs in made:
        runs.close()


def request(tmp_path: Path, **changed: Any) -> RunRequest:
    """Make a request for the plate."""
    values = {"input": str(tmp_path / "in" / "plate 1"), "output": "", "config": {}} | changed
    return RunRequest(**values)


def ended(runs: Runs, action: Action, seconds: float = 30.0) -> Action:
    """Wait for the end of a run."""
    until(lambda: (found := runs.get(action.action_id)) and found.status != "ACTIVE", seconds=seconds)
    found = runs.get(action.action_id)
    assert found is not None
    return found


def test_a_real_run_is_begun_once_however_often_it_is_asked_for(tmp_path: Path) -> None:
    """Results are there, and a repeated request finds the same run."""
    images = tmp_path / "in" / "few"
    images.mkdir(parents=True)
    for image in sorted(EXAMPLE.rglob("*.tif*"))[:3]:
        shutil.copy(image, images)
    runs = Runs(tmp_path / "state", inputs=[tmp_path / "in"], outputs=tmp_path / "out")
    wanted = RunRequest(str(images), "first", {"score": {"function": "haste"}})
    action = runs.submit("r-1", wanted, creator="anna")
    assert action.status == "ACTIVE"
    done = ended(runs, action, 180)
    assert (done.status, done.exit_code) == ("SUCCEEDED", 0), done.details
    assert (tmp_path / "out" / "first" / "report.html").exists()
    assert "function: haste" in (tmp_path / "out" / "first" / "config.yaml").read_text()
    assert runs.submit("r-1", wanted, creator="anna") == done
    assert len(runs.all()) == 1
    runs.close()


def test_a_request_id_stands_for_one_request(tmp_path: Path, make: Callable[..., Runs]) -> None:
    """Others' ids are their own; the same id for something else is refused."""
    runs = make()
    first = runs.submit("x", request(tmp_path), creator="anna")
    assert runs.submit("x", request(tmp_path), creator="bert").action_id != first.action_id
    with pytest.raises(ConflictError, match="used for another request"):
        runs.submit("x", request(tmp_path, output="elsewhere"), creator="anna")


def test_failures_are_told_in_the_words_of_the_run(tmp_path: Path, make: Callable[..., Runs]) -> None:
    """The last lines and the exit code."""
    runs = make(BAD)
    found = ended(runs, runs.submit("x", request(tmp_path), creator="anna"))
    assert (found.status, found.exit_code) == ("FAILED", 1)
    assert found.details == "tierflow: score.function is wrong"


def test_only_allowed_folders_are_read_and_written(tmp_path: Path, make: Callable[..., Runs]) -> None:
    """Neither dots, nor links, nor relative paths lead out."""
    runs = make()
    (tmp_path / "secret").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "secret")
    for path in (tmp_path / "secret", tmp_path / "in" / ".." / "secret", tmp_path / "in" / "link", Path("in")):
        with pytest.raises(ConfigError, match="expected the full path"):
            runs.submit("x", request(tmp_path, input=str(path)), creator="anna")
    for name in ("../x", "a/b", ".hidden", "/abs"):
        with pytest.raises(ConfigError, match="expected the name of a folder"):
            runs.submit("x", request(tmp_path, output=name), creator="anna")
    with pytest.raises(InputMissingError, match="isn't there"):
        runs.submit("x", request(tmp_path, input=str(tmp_path / "in" / "none")), creator="anna")
    assert runs.all() == []


def test_runs_wait_their_turn_and_can_be_cancelled(tmp_path: Path, make: Callable[..., Runs]) -> None:
    """One that runs is interrupted, one that waits never begins."""
    runs = make(LONG)
    first = runs.submit("1", request(tmp_path, output="a"), creator="anna")
    until(lambda: runs._path(first.action_id, "log").exists() and runs._path(first.action_id, "log").read_text())
    second = runs.submit("2", request(tmp_path, output="b"), creator="anna")
    with pytest.raises(ConflictError, match="is active"):
        runs.release(first.action_id)
    runs.cancel(second.action_id)
    assert ended(runs, second).display_status == "cancelled before it began"
    runs.cancel(first.action_id)
    found = ended(runs, first)
    assert found.status == "FAILED"
    assert found.display_status.startswith("cancelled with exit code")
    assert not runs._path(second.action_id, "log").exists()
    assert runs.release(first.action_id) == found
    assert [action.action_id for action in runs.all()] == [second.action_id]


def test_a_server_that_ended_takes_its_runs_up_again(tmp_path: Path, make: Callable[..., Runs]) -> None:
    """Also one that was killed and whose run has died with it."""
    runs = make(LONG)
    action = runs.submit("1", request(tmp_path), creator="anna")
    process = until(lambda: runs._running.get(action.action_id))
    runs.close()
    assert process.wait(30) == -signal.SIGINT or process.returncode == 1
    still = runs.get(action.action_id)
    assert still is not None
    assert still.status == "ACTIVE"
    again = make(SHORT)
    assert ended(again, action).status == "SUCCEEDED"


def test_a_run_that_a_killed_server_left_behind_is_waited_for(
    tmp_path: Path, make: Callable[..., Runs], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it holds the output, the new one tries again."""
    monkeypatch.setattr("tierflow.serve.runs._BUSY_PAUSE_S", 0.05)
    mark = tmp_path / "held"
    mark.touch()
    words = "tierflow: out is in use by another tierflow run (process 1)"
    busy = f"import os, sys; os.path.exists({str(mark)!r}) and (print({words!r}), sys.exit(75)); print('all is well')"
    runs = make((sys.executable, "-c", busy))
    action = runs.submit("1", request(tmp_path), creator="anna")
    until(
        lambda: (
            runs._path(action.action_id, "log").exists() and words in runs._path(action.action_id, "log").read_text()
        )
    )
    os.unlink(mark)  # noqa: PTH108
    assert ended(runs, action).status == "SUCCEEDED"


def test_routes_ask_for_roles(tmp_path: Path, make: Callable[..., Runs]) -> None:
    """A viewer looks, an admin acts; wrong bodies and unknown ids are told apart."""
    runs = make()
    app = FastAPI()
    app.include_router(runs_router(runs))
    tokens = [Token(Somebody(role.word, role), digest_of(role.word)) for role in (Role.VIEWER, Role.ADMIN)]
    guarded = Guard(app, access=Access(tokens, without=Role.NOBODY), loopback_only=False)
    client = TestClient(guarded)  # type: ignore[arg-type]
    admin, viewer = ({"Authorization": f"Bearer {name}"} for name in ("admin", "viewer"))
    body = {"request_id": "r", "body": {"input": str(tmp_path / "in" / "plate 1")}}
    assert client.post("/runs", json=body).status_code == 401
    assert client.post("/runs", json=body, headers=viewer).status_code == 403
    assert client.post("/runs", json={**body, "more": 1}, headers=admin).status_code == 422
    answer = client.post("/runs", json=body, headers=admin)
    assert answer.status_code == 202
    action_id = answer.json()["action_id"]
    assert client.post("/runs", json=body, headers=admin).json()["action_id"] == action_id
    until(lambda: client.get(f"/runs/{action_id}", headers=viewer).json()["status"] == "SUCCEEDED")
    changed = {"request_id": "r", "body": {**body["body"], "output": "x"}}  # type: ignore[dict-item]
    assert client.post("/runs", json=changed, headers=admin).status_code == 409
    assert client.get("/runs/..%2f..%2fetc", headers=viewer).status_code in (404, 422)
    assert client.get(f"/runs/{'0' * 32}", headers=viewer).status_code == 404
    assert client.post(f"/runs/{action_id}/release", headers=viewer).status_code == 403
    assert client.post(f"/runs/{action_id}/release", headers=admin).json()["details"] == "all is well"
    assert client.get("/runs", headers=viewer).json() == []

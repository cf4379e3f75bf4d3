"""Runs that others begin through the server: each asked for once, however often it is asked; known after a restart.

What is known of a run lies in one JSON file, written before the run begins. A server that was killed finds its runs
again: those that had not ended are started once more, which finishes them, because a run goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tierflow.errors import EXIT_TRY_AGAIN, ConfigError, InputMissingError
from tierflow.io.atomic import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Status = Literal["ACTIVE", "SUCCEEDED", "FAILED"]

PATIENCE_S = 30.0
"""How long a run that is cancelled may take to end in good order."""

_TAIL_LINES = 20
_BUSY_PAUSE_S = 2.0


class ConflictError(ConfigError):
    """The same request id was used for another request, or a run isn't in the state that an act needs."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What someone wants to be run.

    Attributes:
        input: Folder of images, in one of the folders that the server allows.
        output: Name of the output folder; empty: made from the input's.
        config: Keys of the configuration that differ from the defaults.
        params: Saved parameter set; empty: none.
    """

    input: str
    output: str
    config: dict[str, Any]
    params: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """A run that was asked for.

    Attributes:
        action_id: Follows from the request id and who asked.
        request_id: What the client called it.
        creator: Who asked.
        status: ACTIVE until it has ended.
        display_status: In words.
        output: Its output folder.
        asked_at: Seconds since 1970.
        completed_at: Likewise; None while it is active.
        exit_code: Of `tierflow run`; None while it is active.
        details: Last lines that it said.
        digest: Of the request.
    """

    action_id: str
    request_id: str
    creator: str
    status: Status
    display_status: str
    output: str
    asked_at: float
    completed_at: float | None
    exit_code: int | None
    details: str
    digest: str


class Runs:
    """Begins runs and keeps track of them; safe between threads.

    Args:
        state: Folder of what is known of the runs.
        inputs: Folders in which inputs may lie.
        outputs: Folder in which each run gets its output.
        most: Runs at the same time; others wait their turn.
        program: What is started, with `run` and its options behind it.
    """

    def __init__(
        self,
        state: Path,
        *,
        inputs: Sequence[Path],
        outputs: Path,
        most: int = 1,
        program: Sequence[str] = (sys.executable, "-m", "tierflow"),
    ) -> None:
        self._state = state
        self._inputs = [folder.resolve() for folder in inputs]
        self._outputs = outputs.resolve()
        self._program = tuple(program)
        self._turn = threading.BoundedSemaphore(most)
        self._lock = threading.RLock()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._cancelled: set[str] = set()
        self._ended = threading.Event()
        state.mkdir(parents=True, exist_ok=True)
        for action in self.all():
            if action.status == "ACTIVE":
                self._follow(action)

    def submit(self, request_id: str, request: RunRequest, *, creator: str) -> Action:
        """Begin a run, or return the one that the same request began.

        Raises:
            ConflictError: if that request id was used for another request.
            ConfigError: if input or output lie where the server doesn't allow it.
            InputMissingError: if the input isn't there.
        """
        action_id = hashlib.sha256(json.dumps([creator, request_id]).encode()).hexdigest()[:32]
        digest = hashlib.sha256(json.dumps(asdict(request), sort_keys=True).encode()).hexdigest()
        with self._lock:
            known = self.get(action_id)
            if known is not None:
                if known.digest != digest:
                    raise ConflictError(f"request_id {request_id!r} was used for another request: use a new one")
                return known
            source, output = self._checked(request)
            action = Action(
                action_id=action_id,
                request_id=request_id,
                creator=creator,
                status="ACTIVE",
                display_status="waiting for its turn",
                output=str(output),
                asked_at=round(time.time(), 3),
                completed_at=None,
                exit_code=None,
                details="",
                digest=digest,
            )
            arguments = [str(source), "--output", str(output)]
            if request.params:
                arguments += ["--params", request.params]
            # JSON is YAML.
            write_text(self._path(action_id, "config.yaml"), json.dumps(request.config))
            write_text(self._path(action_id, "arguments.json"), json.dumps(arguments))
            self._save(action)
            self._follow(action)
            return action

    def get(self, action_id: str) -> Action | None:
        """Return what is known of a run; None if it isn't known, or was released."""
        if not (len(action_id) == 32 and action_id.isascii() and action_id.isalnum()):
            return None
        try:
            return Action(**json.loads(self._path(action_id, "action.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def all(self) -> list[Action]:
        """Return all runs, the latest first."""
        found = [self.get(path.parent.name) for path in self._state.glob("*/action.json")]
        return sorted((action for action in found if action), key=lambda action: -action.asked_at)

    def cancel(self, action_id: str) -> Action | None:
        """Have a run end; what it did stays, and the same input can be run again. Returns at once."""
        with self._lock:
            action = self.get(action_id)
            if action is None or action.status != "ACTIVE":
                return action
            self._cancelled.add(action_id)
            process = self._running.get(action_id)
            if process is None:
                self._save(_ended(action, exit_code=None, details="", words="cancelled before it began"))
                return self.get(action_id)
        threading.Thread(target=_end, args=(process,), daemon=True).start()
        return action

    def release(self, action_id: str) -> Action | None:
        """Forget a run that has ended; its results stay.

        Raises:
            ConflictError: while it is active.
        """
        with self._lock:
            action = self.get(action_id)
            if action is None:
                return None
            if action.status == "ACTIVE":
                raise ConflictError(f"run {action_id} is active: cancel it first, or wait for its end")
            shutil.rmtree(self._state / action_id)
            return action

    def close(self) -> None:
        """End all runs in good order; they go on when the server is started again."""
        self._ended.set()
        with self._lock:
            running = list(self._running.values())
        for process in running:
            _end(process)

    def _checked(self, request: RunRequest) -> tuple[Path, Path]:
        source = Path(request.input)
        if not source.is_absolute() or not any(source.resolve().is_relative_to(folder) for folder in self._inputs):
            allowed = ", ".join(map(str, self._inputs))
            raise ConfigError(f"input is {request.input!r}: expected the full path of a folder in {allowed}")
        if not source.is_dir():
            raise InputMissingError(f"input folder {source} isn't there: check the path, and that its share is mounted")
        name = request.output or f"{source.resolve().name}-tierflow"
        if Path(name).name != name or name.startswith("."):
            raise ConfigError(
                f"output is {name!r}: expected the name of a folder, without / and not beginning with a dot"
            )
        return source.resolve(), self._outputs / name

    def _path(self, action_id: str, name: str) -> Path:
        return self._state / action_id / name

    def _save(self, action: Action) -> None:
        write_text(self._path(action.action_id, "action.json"), json.dumps(asdict(action), indent=1))

    def _follow(self, action: Action) -> None:
        threading.Thread(target=self._carry_out, args=(action,), name="run", daemon=True).start()

    def _carry_out(self, action: Action) -> None:
        with self._turn:
            code = self._run(action)
        with self._lock:
            if code is None or (self._ended.is_set() and action.action_id not in self._cancelled):
                return
            details = _tail(self._path(action.action_id, "log"))
            words = "cancelled" if action.action_id in self._cancelled else "ended"
            self._save(_ended(self.get(action.action_id) or action, exit_code=code, details=details, words=words))

    def _run(self, action: Action) -> int | None:
        """Run it to its end; None if it was cancelled before, or the server ends."""
        log = self._path(action.action_id, "log")
        argv = json.loads(self._path(action.action_id, "arguments.json").read_text(encoding="utf-8"))
        command = [*self._program, "run", *argv, "--config", str(self._path(action.action_id, "config.yaml"))]
        while True:
            with self._lock:
                if self._ended.is_set() or action.action_id in self._cancelled:
                    return None
                with log.open("ab") as stream:
                    process = subprocess.Popen(
                        command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
                    )
                self._running[action.action_id] = process
                self._save(replace(self.get(action.action_id) or action, display_status="running"))
            code = process.wait()
            with self._lock:
                del self._running[action.action_id]
            # Of a server that was killed, the run may still be going on and hold the output.
            if code != EXIT_TRY_AGAIN or "in use by another tierflow run" not in _tail(log):
                return code
            self._ended.wait(_BUSY_PAUSE_S)


def _ended(action: Action, *, exit_code: int | None, details: str, words: str) -> Action:
    good = exit_code == 0
    return replace(
        action,
        status="SUCCEEDED" if good else "FAILED",
        display_status="done" if good else words if exit_code is None else f"{words} with exit code {exit_code}",
        completed_at=round(time.time(), 3),
        exit_code=exit_code,
        details=details,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a run as Ctrl+C does; one that doesn't is killed with all its jobs."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _tail(log: Path) -> str:
    with suppress(FileNotFoundError):
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_TAIL_LINES:])
    return ""


def as_json(action: Action) -> Mapping[str, Any]:
    """Return an action as the server shows it."""
    tree = asdict(action)
    del tree["digest"]
    return tree

"""The output folder of a run: room to write, traces of killed jobs, notes of failed ones."""

from __future__ import annotations

import json
import os
import shutil
import socket
from typing import TYPE_CHECKING, Any

from tierflow.errors import ConfigError, TierflowError, exit_code_of, is_passing
from tierflow.io.atomic import write_text
from tierflow.steps.places import SETTINGS_FOLDER

if TYPE_CHECKING:
    from pathlib import Path

STATE = ".tierflow"
_ERRORS = "errors"


def require_room(output: Path) -> None:
    """Make the output folder.

    Raises:
        ConfigError: if it can't be made or written to.
        OSError: if that may pass: a full disk, a share that is away.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ConfigError(f"output {output} is a file: give a folder to --output") from error
    except NotADirectoryError as error:
        raise ConfigError(f"output {output} lies below a file: give a path of folders to --output") from error
    except OSError as error:
        if is_passing(error):
            raise
        raise ConfigError(f"output {output} can't be made ({error.strerror}): give another --output") from error
    if not os.access(output, os.W_OK | os.X_OK):
        raise ConfigError(f"output {output} can't be written to: give another --output, or ask for write permission")


def require_two_folders(root: Path, output: Path) -> None:
    """Refuse results in the input itself: what is placed there would be found as new images.

    Raises:
        ConfigError: if they are the same folder, by whatever names.
    """
    if output.exists() and root.exists() and root.samefile(output):
        raise ConfigError(f"input and output are the same folder {root}: give another folder to --output")


def clear_state(output: Path) -> None:
    """Forget what an earlier run of this output told of its progress and failures."""
    for name in (_ERRORS, "progress"):
        shutil.rmtree(output / STATE / name, ignore_errors=True)
        (output / STATE / name).mkdir(parents=True)


def remove_leftovers(output: Path) -> None:
    """Remove unfinished tables of killed jobs; the lock says that no job of this output is running now."""
    folders = ("", "scan", "scan/shards", "extract", "score", "place", "catalogue", "index", "publish", SETTINGS_FOLDER)
    for folder in folders:
        for unfinished in (output / folder).glob(".*.part"):
            unfinished.unlink(missing_ok=True)


def leave_note(output: Path, step: str, error: BaseException) -> None:
    """Tell a waiting run what went wrong in one of its jobs; without one there is no folder and nothing to tell."""
    folder = output / STATE / _ERRORS
    if folder.is_dir():
        note: dict[str, Any] = {
            "step": step,
            "exit_code": exit_code_of(error),
            "message": str(error) if isinstance(error, TierflowError | OSError) else repr(error),
        }
        write_text(folder / f"{step}-{socket.gethostname()}-{os.getpid()}.json", json.dumps(note))


def notes_of(output: Path) -> list[dict[str, Any]]:
    """Return what failed steps said: step, exit_code and message of each."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((output / STATE / _ERRORS).glob("*.json"))]

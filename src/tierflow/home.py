"""Where things that outlive a run are kept: named parameter sets and registered data sets."""

from __future__ import annotations

import os
import re
import uuid
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from tierflow.errors import ConfigError
from tierflow.io.atomic import fsync_dir

if TYPE_CHECKING:
    from collections.abc import Collection

HOME_VARIABLE = "TIERFLOW_HOME"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def home() -> Path:
    """Return the folder: TIERFLOW_HOME, else `tierflow` in the user's data folder (XDG_DATA_HOME)."""
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "tierflow"


def require_name(name: str) -> str:
    """Return a name that may become a folder.

    Raises:
        ConfigError: if it can't.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"the name {name!r}: expected up to 64 letters, digits, _, - and ., with a letter or digit first"
        )
    return name


def unknown(kind: str, name: str, known: Collection[str], *, remedy: str) -> ConfigError:
    """Return the error that says what is there instead."""
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}" if known else remedy
    return ConfigError(f"no {kind} {name!r} in {home()}: {hint}")


def no_version(kind: str, name: str, wanted: str, known: Collection[str]) -> ConfigError:
    """Return the error that says which versions there are."""
    return ConfigError(f"{kind} {name!r} has no version {wanted!r}: expected one of {', '.join(known)}")


def add_text(path: Path, text: str) -> bool:
    """Write a file whole unless there is one, however many processes do so at once; tell whether it was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        write_synced(part, text.encode())
        try:
            os.link(part, path)
        except FileExistsError:
            return False
        except OSError:
            # Some file systems have no links; the same name means the same content, so replacing it changes nothing.
            if path.exists():
                return False
            part.replace(path)
        fsync_dir(path.parent)
        return True
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


def write_synced(path: Path, data: bytes) -> None:
    """Write a file that is on the disk when this returns."""
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())

"""Judge a name that was made earlier: is it still ours, and are its bytes the ones on record?"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from tierflow.errors import TryAgainError
from tierflow.objectstore.connect import StorePath
from tierflow.tiers.base import CopyError
from tierflow.tiers.files import link_text_of, look, sha256_of
from tierflow.tiers.words import cannot

if TYPE_CHECKING:
    from tierflow.objectstore.connect import Place
    from tierflow.tiers.base import Placed, Stamp


def check_link(placed: Placed, *, hash_files: bool) -> str | None:
    """Say what is wrong with a hard or symbolic link; None when it leads to the source's file with the right bytes."""
    there = look(placed.destination)
    if there is None:
        return _missing(placed.destination)
    if _leads_nowhere_as_recorded(placed, there):
        return None
    if not same_target(placed.destination, placed.source) and not _target_went_away(placed, there):
        return f"{placed.destination} is no longer the file at {placed.source}: one of them was replaced, compare them"
    return _check_bytes(placed, hash_files=hash_files)


def check_content(placed: Placed, *, hash_files: bool) -> str | None:
    """Say what is wrong with a copied or moved file; None when its bytes are the ones on record."""
    there = look(placed.destination)
    if there is None:
        return _missing(placed.destination)
    if _leads_nowhere_as_recorded(placed, there):
        return None
    if not stat.S_ISREG(there.st_mode):
        return f"{placed.destination} is no longer a regular file: find out who replaced it"
    return _check_bytes(placed, hash_files=hash_files)


def same_target(one: Place, other: Place) -> bool:
    """Tell whether two names lead to one existing file, links followed."""
    if isinstance(one, StorePath) or isinstance(other, StorePath):
        return one == other and look(one) is not None
    try:
        return os.path.samestat(one.stat(), other.stat())
    except OSError:
        return False


def has_content(path: Place, *, sha256: str | None, stamp: Stamp | None) -> bool:
    """Tell whether a file's bytes are the recorded ones: its stamp agrees, or its size and hash do.

    Args:
        path: Regular file or a link to one.
        sha256: Recorded hash; None: only the stamp can tell.
        stamp: Recorded stamp; None: only the hash can tell.

    Raises:
        TryAgainError: when an object store is away, so that nothing can be told.
    """
    try:
        info = path.stat()
        if stamp is not None and type(stamp).of(info).same_content_as(stamp):
            return True
        if sha256 is None or not stat.S_ISREG(info.st_mode):
            return False
        return sha256_of(path) == sha256
    except TryAgainError:
        raise
    except OSError:
        return False


def is_link_with(path: Place, text: str | None) -> bool:
    """Tell whether a symbolic link with exactly that text stands at `path`."""
    if isinstance(path, StorePath):
        return False
    info = look(path)
    return text is not None and info is not None and stat.S_ISLNK(info.st_mode) and link_text_of(path) == text


def _leads_nowhere_as_recorded(placed: Placed, there: os.stat_result) -> bool:
    """Accept a link that was dangling at the source and was made again as it was."""
    return (
        placed.how == "symbolic_link"
        and isinstance(placed.destination, Path)
        and stat.S_ISLNK(there.st_mode)
        and not placed.destination.exists()
        and link_text_of(placed.destination) == placed.link_text
    )


def _target_went_away(placed: Placed, there: os.stat_result) -> bool:
    """Accept a hard link to what a link at the source led to before that was taken away; its bytes are checked."""
    return stat.S_ISREG(there.st_mode) and is_link_with(placed.source, placed.link_text) and not placed.source.exists()


def _check_bytes(placed: Placed, *, hash_files: bool) -> str | None:
    path = placed.destination
    try:
        size = path.stat().st_size
        if placed.how != "symbolic_link" and size != placed.stamp.size:
            return f"{path} has {size:,} bytes, recorded are {placed.stamp.size:,}: find out who changed it"
        if placed.sha256 is None:
            return None
        found = sha256_of(path) if hash_files else _told_sha256(path) or placed.sha256
    except TryAgainError:
        raise
    except CopyError as error:
        return str(error)
    except OSError as error:
        return cannot("read", path, error)
    if found != placed.sha256:
        return f"{path} has SHA-256 {found[:12]}..., recorded is {placed.sha256[:12]}...: find out who changed it"
    return None


def _told_sha256(path: Place) -> str | None:
    """Return the SHA-256 that a store keeps of a key, where it does; costs no reading."""
    head = path.store.head(path.key) if isinstance(path, StorePath) else None
    return None if head is None else head.sha256


def _missing(path: Place) -> str:
    return f"{path} is missing: find out who removed it, or place again"

"""Bring one file after another into a folder: verified, and never over another file."""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from tierflow.catalogue.manifest import MANIFEST, Entry
from tierflow.errors import TryAgainError, is_passing
from tierflow.objectstore.connect import StorePath
from tierflow.tiers.base import ChangedError, CopyError, Order
from tierflow.tiers.files import copy_verified, link_text_of, look, make_link, sha256_of
from tierflow.tiers.names import candidates, is_safe
from tierflow.tiers.transfer import transfer
from tierflow.tiers.words import changed_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tierflow.objectstore.connect import Place

How = Literal["copy", "link"]
_MISSING = "{} isn't there: mount its share, or run `tierflow verify` on its run to learn where the file went"
_MAX_RUN, _MAX_NAMES = 100, 50


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file to bring.

    Attributes:
        object_id: The object.
        run: The run whose record this is.
        name: Path relative to the input of its run, as the file system's own bytes.
        source: Where its file is now.
        sha256: Recorded checksum, None where the file couldn't be read then.
        size: Recorded size in bytes.
        input: Input folder of its run, "" where it isn't known.
    """

    object_id: str
    run: str
    name: bytes
    source: Place
    sha256: str | None
    size: int
    input: str = ""


class Bringer:
    """The files that were brought so far, and how the next one is."""

    def __init__(self, folder: Path, *, how: How, verify: bool, dry_run: bool) -> None:
        self._folder, self._how, self._verify, self._dry_run = folder, how, verify, dry_run
        # The manifest's own name is never an object's.
        self._taken: dict[Path, str | None] = {folder / MANIFEST: None}

    def first_name(self, file: Wanted) -> Path:
        """Return the name that a file gets unless another has it."""
        return next(self._names(file))

    def bring(self, file: Wanted) -> Entry:
        """Bring one file; what goes wrong with it alone becomes its status.

        Raises:
            OSError: if the folder's disk is full, or a storage is away.
        """
        try:
            target, status = self._brought(file)
        except ChangedError as error:
            return self._entry(file, "changed", problem=str(error))
        except CopyError as error:
            return self._entry(file, "failed", problem=str(error))
        except TryAgainError:
            raise
        except OSError as error:
            if is_passing(error) and error.errno != errno.EIO:
                raise
            return self._entry(file, "failed", problem=f"{error}: mend that and run the same command again")
        if target is None:
            return self._entry(file, "missing", problem=_MISSING.format(file.source))
        return self._entry(file, status, target=target)

    def _brought(self, file: Wanted) -> tuple[Path | None, str]:
        """Return where the file is and how it came there; None where its source is gone."""
        here = _exists(file.source)
        if not here and file.sha256 is None:
            return None, ""
        expected = file.sha256 or sha256_of(file.source)
        for target in self._names(file):
            if self._taken.get(target) == expected or (target not in self._taken and self._stands(target, file, here)):
                self._taken[target] = expected
                return target, "there"
            if target in self._taken or look(target) is not None:
                continue
            if not here:
                return None, ""
            if not self._has_folder(target):
                continue
            try:
                status = f"would {self._how}" if self._dry_run else self._make(file, target, expected)
            except FileExistsError:  # someone else took the name in this moment
                continue
            self._taken[target] = expected
            return target, status
        raise CopyError(f"{file.source} finds no free name in {self._folder}: choose another folder")

    def _make(self, file: Wanted, target: Path, expected: str) -> str:
        if self._how == "copy":
            copy = transfer if isinstance(file.source, StorePath) else copy_verified
            copy(Order(file.object_id, file.source, target, expected))
            return "copied"
        if isinstance(file.source, StorePath):
            raise CopyError(f"{file.source} lies in an object store, where no link can lead: fetch without --link")
        self._require(file, expected)
        info = file.source.stat()
        make_link(str(file.source), target, object_id=file.object_id, times_ns=(info.st_atime_ns, info.st_mtime_ns))
        return "linked"

    def _require(self, file: Wanted, expected: str) -> None:
        if self._verify and (found := sha256_of(file.source)) != expected:
            raise ChangedError(changed_text(file.source, f"SHA-256 {found[:12]}..., recorded {expected[:12]}..."))

    def _names(self, file: Wanted) -> Iterator[Path]:
        relative = PurePosixPath(os.fsdecode(file.name))
        if not is_safe(relative):
            raise CopyError(f"the record's path {str(relative)!r} leads out of the folder: check who made that record")
        yield self._folder / relative
        other = candidates(self._folder / folder_of_run(file.run) / relative, file.object_id)
        yield from islice(other, _MAX_NAMES)

    def _stands(self, target: Path, file: Wanted, here: bool) -> bool:
        """Tell whether the very file stands at its name already, as a copy or as a link of ours."""
        info = look(target)
        if info is None:
            return False
        if stat.S_ISLNK(info.st_mode):
            if not here or link_text_of(target) != str(file.source):
                return False
            if self._how == "copy":
                raise CopyError(
                    f"{target} is a link that a fetch with --link made: remove it, or choose another folder"
                )
            if file.sha256 is not None:
                self._require(file, file.sha256)
            return True
        same_size = file.sha256 is None or info.st_size == file.size
        return stat.S_ISREG(info.st_mode) and same_size and sha256_of(target) == (file.sha256 or sha256_of(file.source))

    def _has_folder(self, target: Path) -> bool:
        if self._dry_run:
            parents = target.parents
            return all(look(parent) is None or parent.is_dir() for parent in parents) and not any(
                parent in self._taken for parent in parents
            )
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            return False
        return True

    def _entry(self, file: Wanted, status: str, *, target: Path | None = None, problem: str = "") -> Entry:
        return Entry(
            object_id=file.object_id,
            path=b"" if target is None else os.fsencode(target.relative_to(self._folder)),
            source=os.fsencode(str(file.source)),
            sha256=file.sha256 or "",
            bytes=file.size,
            status=status,
            run=file.run,
            problem=problem,
        )


def folder_of_run(run: str) -> str:
    """Return the name of the folder for files whose names another run's files have.

    >>> folder_of_run("plate 7/second")
    'plate_7_second'
    """
    return re.sub(r"[^\w+=@-]+", "_", run)[:_MAX_RUN] or "run"


def _exists(path: Place) -> bool:
    if isinstance(path, StorePath):
        return path.exists()
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise
    return True

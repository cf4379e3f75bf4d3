"""Bring the files of a search together in one folder: verified, never overwriting, going on where it was stopped."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tierflow.catalogue.bring import Bringer, Wanted
from tierflow.catalogue.located import located
from tierflow.catalogue.manifest import Entry, read_manifest, write_manifest
from tierflow.catalogue.query import Query
from tierflow.errors import ConfigError, TierflowError, TryAgainError, is_passing
from tierflow.objectstore.connect import is_url
from tierflow.tiers.base import CopyError
from tierflow.tiers.files import remove_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tierflow.catalogue.base import Catalogue
    from tierflow.catalogue.bring import How
    from tierflow.objectstore.connect import Place

_COLUMNS = ("sha256", "bytes")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(slots=True)
class FetchReport:
    """What came of every file.

    Attributes:
        entries: A row of the manifest per object, in the order of the search.
        manifest: The manifest that was written; None in a dry run.
    """

    entries: list[Entry] = field(default_factory=list)
    manifest: Path | None = None

    @property
    def bad(self) -> list[Entry]:
        """Files that aren't in the folder, or not as they were measured."""
        return [entry for entry in self.entries if entry.status in ("missing", "changed", "failed")]

    def count(self, status: str) -> int:
        """Return how many files have a status."""
        return sum(entry.status == status for entry in self.entries)

    def bytes_of(self, status: str) -> int:
        """Return the size of all files that have a status."""
        return sum(entry.bytes for entry in self.entries if entry.status == status)


def wanted(catalogue: Catalogue, query: Query) -> list[Wanted]:
    """List the files of a search.

    The whole list is read before the first file is copied: a server doesn't keep a search open for hours.
    """
    found = located(catalogue, Query(query.filters, sort=query.sort, limit=query.limit, columns=_COLUMNS))
    return [
        Wanted(
            object_id=record["object_id"],
            run=record["run"],
            name=record["path_bytes"],
            source=path,
            sha256=record["sha256"],
            size=record["bytes"] or 0,
            input=folders.source,
        )
        for path, record, folders in found
    ]


def fetch(
    files: list[Wanted],
    folder: Path,
    *,
    how: How = "copy",
    verify: bool = True,
    dry_run: bool = False,
    on_done: Callable[[], None] = lambda: None,
) -> FetchReport:
    """Bring files into a folder, where they keep their paths relative to the input of their run.

    Copies are read back; a name appears only when its content is whole and has the recorded checksum. What stands in
    the folder is never overwritten: where another file has a name (as when two runs hold different files of one path),
    the file goes to a folder named after its run. A file that is there already stays as it is, so the same call goes
    on where a former one was stopped.

    Args:
        files: What to bring.
        folder: Where to; made when it isn't there.
        how: `copy`, or `link` for symbolic links to where the files are.
        verify: Compare the content behind a link with its checksum; copies always are.
        dry_run: Tell what would be done; nothing is written.
        on_done: Called after each file.

    Raises:
        TryAgainError: if the disk is full or the storage went away; everything that was brought stays.
        ConfigError: if the folder can't be made, or holds a foreign file with the manifest's name.
    """
    folder = folder.absolute()
    _require_outside(folder, files)
    bringer = Bringer(folder, how=how, verify=verify, dry_run=dry_run)
    report = FetchReport()
    with _mapped(folder, report, len(files)):
        if dry_run:
            _bring_all(files, bringer, report, on_done)
            return report
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder) as alone:
            read_manifest(folder)
            if alone:
                _remove_parts(files, bringer)
            _bring_all(files, bringer, report, on_done)
            report.manifest = write_manifest(folder, report.entries)
    return report


def _bring_all(files: list[Wanted], bringer: Bringer, report: FetchReport, on_done: Callable[[], None]) -> None:
    for file in files:
        report.entries.append(bringer.bring(file))
        on_done()


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Keep other fetches out of a folder while the body runs; tell whether that worked.

    Raises:
        TryAgainError: if another one is at work there.
    """
    # The folder itself is locked: a file for that would stay behind among the user's images.
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TryAgainError(f"another fetch is at work in {folder}: wait for it, or choose another --to") from error
        except OSError:  # a share that knows no locks
            yield False
            return
        yield True
    finally:
        os.close(handle)


def _remove_parts(files: list[Wanted], bringer: Bringer) -> None:
    """Remove the unfinished copies that a killed call left."""
    places: dict[Place, set[str]] = {}
    for file in files:
        with suppress(CopyError):
            places.setdefault(bringer.first_name(file).parent, set()).add(file.object_id)
    remove_parts(places)


def _require_outside(folder: Path, files: list[Wanted]) -> None:
    """Refuse a folder in which the next scan or placement would meet the fetched files."""
    real = Path(os.path.realpath(folder))
    roots = {
        os.fsdecode(os.fsencode(file.source).removesuffix(b"/" + file.name))
        for file in files
        if isinstance(file.source, Path)
    }
    for root in sorted(roots | {file.input for file in files if file.input and not is_url(file.input)}):
        place = Path(os.path.realpath(root))
        if real.is_relative_to(place) and not place.is_file():
            raise ConfigError(f"{folder} lies in {place}, where the files of the search are: choose a folder outside")


@contextmanager
def _mapped(folder: Path, report: FetchReport, total: int) -> Iterator[None]:
    """Map errors that stop the whole job.

    Raises:
        TryAgainError: if the disk is full or a storage is away.
        ConfigError: if the folder can't be written.
    """
    try:
        yield
    except TierflowError:
        raise
    except OSError as error:
        again = f"{len(report.entries):,} of {total:,} files are done and stay; the same command goes on from there"
        if error.errno in _FULL:
            raise TryAgainError(f"the disk of {folder} is full: free space, or use --link. {again}") from error
        if is_passing(error):
            raise TryAgainError(f"{error}: bring the storage back. {again}") from error
        raise ConfigError(f"{folder} can't be written ({error.strerror}): choose another folder. {again}") from error

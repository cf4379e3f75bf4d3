"""An output that lies on an object store: its tables are worked on in a folder of this machine and put back.

Steps read and write folders. A job on a store therefore begins by fetching what its steps need, and after every step
of every shard puts what is new. What makes this safe where a pod may be killed at any moment:

- a table is put whole, and only after it a note that says from what it was made. A step is up to date when the digests
  of its sources and results are those of the note; no clock is compared, so a fetched table is as good as its original.
- lines of a journal are on the store before an act on their word (`journal.AFTER_SYNC`). Each sync puts the whole
  journal under a new number; a number that is taken means that another job places the same shard.
- one job at a time writes a shard: the engine sees to that (Argo: the mutex of the output), locks reach no other pod.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tierflow.config import QUARANTINE
from tierflow.config_io import load, merge
from tierflow.errors import ConfigError, TryAgainError
from tierflow.objectstore import staged_times as times
from tierflow.objectstore import uploads
from tierflow.objectstore.base import Upload
from tierflow.objectstore.connect import StorePath, is_url, place_at
from tierflow.objectstore.in_place import InPlace
from tierflow.render.snakemake import run_name
from tierflow.steps.places import log_file, results, shards_of, sources
from tierflow.tiers import journal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tierflow.config import Config
    from tierflow.objectstore.base import Head

MADE = ".tierflow/made"
MARKS = ".tierflow/jobs"
"""Where an engine without a memory of its own notes which jobs have ended; no job reads them."""
_SHARD_TABLES = "scan/shards"
_ERRORS = ".tierflow/errors"
_PUBLISHED = (".tierflow/published", "dead_letters")
# Folders of which a job needs only what belongs to its steps and shards.
_PICKED = (
    *("extract", "score", "place", "catalogue", "index", "publish", "logs", journal.FOLDER, "tiers", "trash"),
    *(_SHARD_TABLES, MADE, MARKS, *_PUBLISHED),
)
_OWN = (".tierflow/lock", ".tierflow/progress/")
_THREADS = 8


@contextmanager
def at_hand(output: str) -> Iterator[tuple[Path, InPlace]]:
    """Give an output as a folder, and the hooks that keep a store in step with it.

    Args:
        output: Folder, or URL such as s3://bucket/results/P1.

    Raises:
        ConfigError: if the store's settings are wrong.
        TryAgainError: if the store is away.
    """
    place = place_at(output)
    if isinstance(place, Path):
        yield place, InPlace()
        return
    # The same name every time: runs are named after it, and messages show it.
    with TemporaryDirectory(prefix="tierflow-") as scratch:
        folder = Path(scratch).resolve() / (place.name or "output")
        folder.mkdir()
        staging = Staging(place, folder)
        staging.begin()
        journal.AFTER_SYNC[folder] = staging.put_journal
        # A pod that follows a killed one must know what that one placed in a store as the run's own.
        uploads.OWNERS[folder] = str(place)
        try:
            yield folder, staging
        finally:
            del journal.AFTER_SYNC[folder]
            del uploads.OWNERS[folder]
            staging.flush()


def named(tree: Mapping[str, Any], output: str) -> dict[str, Any]:
    """Return a configuration in which a run on a store is named after its place, whatever machine a job runs on.

    Args:
        tree: Keys and values.
        output: Folder, which gets a name of its own later, or URL.
    """
    said = tree.get("catalogue")
    if not is_url(output) or (isinstance(said, dict) and said.get("run")):
        return dict(tree)
    url = str(place_at(output)).rstrip("/")
    return merge(tree, {"catalogue": {"run": run_name(url.rpartition("/")[2], place=url)}})


def require_far_tiers(config: Config, output: str) -> None:
    """Refuse tiers that would lie in the output folder of a pod.

    Raises:
        ConfigError: if a tier that stores files has no root, or a relative one, and the output is on a store.
    """
    if not is_url(output):
        return
    for name in (*config.tiers, QUARANTINE):
        tier = config.tier(name)
        key = "quarantine" if name == QUARANTINE else f"tiers.{name}"
        if tier.driver != "none" and not (
            tier.root and (is_url(tier.root) or Path(tier.root).expanduser().is_absolute())
        ):
            raise ConfigError(
                f"{key}.root is {tier.root!r}: with an output on a store ({output}) a tier with the driver "
                f"{tier.driver!r} needs a place of its own, such as --set {key}.root=s3://BUCKET/{name}, or the "
                f"driver `none`: --set {key}.driver=none"
            )


class Staging(InPlace):
    """An output on a store and the folder in which a job works on it.

    Attributes:
        place: The output.
        folder: The folder.
    """

    def __init__(self, place: StorePath, folder: Path) -> None:
        """Take an output and an empty folder."""
        self.place = place
        self.folder = folder
        self._there: dict[str, Head] = {}
        # What was fetched or put, by path: size and time of change of the local file that equals the store's.
        self._same: dict[str, tuple[int, int]] = {}
        # Files that have the size and time of those on the store, but not their content.
        self._stubs: set[str] = set()

    def begin(self) -> None:
        """List the output and fetch what every job needs: configuration, settings, small tables of the data set."""
        start = len(self.place.key) + 1 if self.place.key else 0
        prefix = f"{self.place.key}/" if self.place.key else ""
        self._there = {head.key[start:]: head for head in self.place.store.scan(prefix) if not head.key.endswith("/")}
        self._fetch(
            key
            for key in self._there
            if not key.startswith(tuple(f"{folder}/" for folder in _PICKED))
            and key not in ("report.html", "objects.csv")
        )

    def before(self, steps: Sequence[str], shard: str | None) -> None:
        """Fetch what steps of a shard, or of the whole data set, read and wrote; tell what of it is up to date."""
        wanted: set[str] = set()
        for step in steps:
            wanted |= self._paths(step, shard)
        self._fetch(wanted & self._there.keys())
        # Their sizes and times tell one cut of the data set from another, and that the catalogue is up to date.
        stubs = {"place": (f"{_SHARD_TABLES}/",), "report": (f"{_SHARD_TABLES}/", "score/", "place/")}
        for step in stubs.keys() & set(steps):
            self._stub(key for key in self._there if key.startswith(stubs[step]))
        for step in steps:
            fresh = self._note_of(step, shard) == self._made(step, shard)
            for path in results(step, self.folder, shard=shard):
                times.mark(path, step, fresh=fresh)
            self._remember(self._relative(path) for path in results(step, self.folder, shard=shard))

    def after(self, step: str, shard: str | None) -> None:
        """Put what a step has written, its tables after all else and the note last of all."""
        if step == "scan":
            self._tidy()
        own = [self._relative(path) for path in results(step, self.folder, shard=shard)]
        self.flush(but=own)
        for relative in own:
            self._put_if_new(relative)
        note = self.folder / MADE / step / f"{shard or 'all'}.json"
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(self._made(step, shard), sort_keys=True))
        self._put_if_new(self._relative(note))

    def flush(self, *, but: Iterable[str] = ()) -> None:
        """Put every file that is new or changed and remove from the store what was removed here."""
        left = set(but)
        for path in sorted(self.folder.rglob("*")):
            relative = self._relative(path)
            if path.is_file() and relative not in left and not self._is_own(relative):
                self._put_if_new(relative)
        for relative in [key for key in self._same if key not in left and not (self.folder / key).exists()]:
            self._delete(relative)

    def put_journal(self, shard: str) -> None:
        """Put a journal whole under the next number, then remove the former.

        Raises:
            TryAgainError: if another job places this shard.
        """
        path = journal.journal_path(self.folder, shard)
        relative = self._relative(path)
        if self._same.get(relative) == _state(path):
            return
        former = self._journals(shard)
        number = int(Path(former[-1]).stem) + 1 if former else 1
        key = f"{journal.FOLDER}/{shard}/{number:08d}.jsonl"
        try:
            self._put(key, path)
        except FileExistsError as error:
            raise TryAgainError(
                f"{self.place / key} is there already: another job places shard {shard} of this output. Let one "
                "workflow at a time use an output; then run again"
            ) from error
        self._same[relative] = _state(path)
        for old in former:
            self._delete(old)

    def show(self) -> None:
        """Make a file without content for every result on the store: enough to tell how far a run is."""
        self._stub(key for key in self._there if not (self.folder / key).exists())

    def _paths(self, step: str, shard: str | None) -> set[str]:
        paths = [*results(step, self.folder, shard=shard), log_file(step, self.folder, shard=shard)]
        paths += sources(step, self.folder, shard=shard)
        found = {self._relative(path) for path in paths} | {f"{MADE}/{step}/{shard or 'all'}.json"}
        # What is known of the objects from elsewhere must match some object of the data set.
        if step in ("scan", "baseline") or (step == "index" and load(self.folder / "config.yaml").metadata.table):
            found |= {key for key in self._there if key.startswith(f"{_SHARD_TABLES}/")}
        if step == "publish":
            found |= {f"{folder}/{shard}.parquet" for folder in _PUBLISHED}
        if step in ("scan", "extract", "place"):
            self._fetch_journals(shard, whole=step != "extract")
        return found

    def _fetch_journals(self, shard: str | None, *, whole: bool) -> None:
        """Fetch the journal of a shard; those of all where objects may have come from other shards."""
        names = {key.split("/")[1] for key in self._there if key.startswith(f"{journal.FOLDER}/")}
        if shard is not None and not (whole and f"{MADE}/recut.json" in self._there):
            names &= {shard}
        for name in names:
            path = journal.journal_path(self.folder, name)
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                self._read(self._journals(name)[-1], path)
                self._same[self._relative(path)] = _state(path)

    def _journals(self, shard: str) -> list[str]:
        return sorted(key for key in self._there if key.startswith(f"{journal.FOLDER}/{shard}/"))

    def _tidy(self) -> None:
        """After a scan: forget tables of shards that are no more, and note when journals may tell of other shards."""
        names = set(shards_of(self.folder))
        old = {Path(key).stem for key in self._there if key.startswith(f"{_SHARD_TABLES}/")}
        for key in list(self._there):
            name = Path(key).stem
            if key.startswith(_PICKED) and not key.startswith(journal.FOLDER) and name.isdigit() and name not in names:
                self._delete(key)
        if any(key.startswith(f"{journal.FOLDER}/") for key in self._there) and old != names:
            mark = self.folder / MADE / "recut.json"
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text(json.dumps(sorted(names)))

    def _made(self, step: str, shard: str | None) -> dict[str, str | None]:
        """Return what a step's results were made from, and what they are: digests by path."""
        needed = sources(step, self.folder, shard=shard)
        return {self._relative(path): _digest(path) for path in (*needed, *results(step, self.folder, shard=shard))}

    def _note_of(self, step: str, shard: str | None) -> object:
        path = self.folder / MADE / step / f"{shard or 'all'}.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None

    def _fetch(self, keys: Iterable[str]) -> None:
        new = sorted(key for key in keys if key not in self._same or key in self._stubs)
        with ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="staging") as pool:
            list(pool.map(self._fetch_one, new))
        self._stubs -= set(new)
        self._remember(new)

    def _fetch_one(self, key: str) -> None:
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        self._read(key, path)
        times.settle(path, key, self._there[key])

    def _read(self, key: str, path: Path) -> None:
        head = self._there[key]
        try:
            with path.open("wb") as stream:
                for chunk in self.place.store.chunks((self.place / key).key):
                    stream.write(chunk)
        except FileNotFoundError as error:
            raise TryAgainError(
                f"{self.place / key} vanished while it was read: another job writes this output; run again"
            ) from error
        if path.stat().st_size != head.size:
            raise TryAgainError(f"{self.place / key} changed while it was read: another job writes it; run again")

    def _stub(self, keys: Iterable[str]) -> None:
        """Make files of the right size and time without content, for what only asks these."""
        made = []
        for key in keys:
            path = self.folder / key
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as stream:
                    stream.truncate(self._there[key].size)
                times.settle(path, key, self._there[key])
                made.append(key)
        self._stubs |= set(made)
        self._remember(made)

    def _put_if_new(self, relative: str) -> None:
        path = self.folder / relative
        if not path.exists() or self._same.get(relative) == _state(path):
            return
        self._delete(relative)
        state = _state(path)
        self._put(relative, path)
        self._same[relative] = state

    def _put(self, key: str, path: Path) -> None:
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            upload = Upload(
                key=(self.place / key).key,
                source=stream,
                origin=str(path),
                size=size,
                sha256=sha256,
                object_id=sha256[:32],
            )
            self._there[key] = self.place.store.put(upload)

    def _delete(self, relative: str) -> None:
        if relative in self._there:
            self.place.store.delete((self.place / relative).key)
        self._there.pop(relative, None)
        self._same.pop(relative, None)

    def _remember(self, keys: Iterable[str]) -> None:
        for key in keys:
            path = self.folder / key
            if path.exists():
                self._same[key] = _state(path)

    def _is_own(self, relative: str) -> bool:
        """Tell whether a file is this machine's own affair; journals are put by `put_journal` alone."""
        return relative.startswith((*_OWN, f"{journal.FOLDER}/")) or relative.endswith((".part", ".lock"))

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def _state(path: Path) -> tuple[int, int]:
    info = path.stat()
    return info.st_size, info.st_mtime_ns


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return None

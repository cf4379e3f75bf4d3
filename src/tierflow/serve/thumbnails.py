"""Thumbnails of objects, made when they are asked for, from the file where it is now."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tierflow import __version__
from tierflow.errors import InputMissingError, TierflowError, TryAgainError
from tierflow.io.readers.guard import MB
from tierflow.report.gallery import locate
from tierflow.report.images import displayed, reduced
from tierflow.report.reading import Unshown, read_picture_plane
from tierflow.serve.placeholder import placeholder, png

if TYPE_CHECKING:
    from collections.abc import Callable

    from tierflow.config import Config
    from tierflow.serve.site import Run, Site

CACHE_MB = 64
DECODERS = 2
"""Files decoded at the same time; each may need several times the size of its largest plane."""
GONE_WORDS = "the file isn't where\nthe run left it"


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture to send.

    Attributes:
        status: 200; 404 for an unknown object, 410 when its file is gone, 422 when it can't be decoded, 503 when the
            storage or the catalogue doesn't answer just now. All but 200 are placeholders.
        content: PNG; empty when the browser has it already.
        mark: What changes when the picture does; empty for placeholders.
    """

    status: HTTPStatus
    content: bytes
    mark: str = ""


class Cache:
    """Recently used byte strings by key, up to a number of bytes in all; safe between threads.

    Args:
        limit: Bytes that are kept, at most.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def get(self, key: str) -> bytes | None:
        """Return what is kept under a key, None if nothing is."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: str, content: bytes) -> None:
        """Keep something, and forget what hasn't been used for longest where room is needed."""
        with self._lock:
            self._size += len(content) - len(self._kept.pop(key, b""))
            self._kept[key] = content
            while self._size > self._limit:
                _, forgotten = self._kept.popitem(last=False)
                self._size -= len(forgotten)


class Thumbnails:
    """Makes and keeps thumbnails.

    Args:
        site: The runs.
        cache_mb: Megabytes of thumbnails kept in memory.
    """

    def __init__(self, site: Site, *, cache_mb: int = CACHE_MB) -> None:
        self._site = site
        self._cache = Cache(cache_mb * MB)
        self._decoding = threading.BoundedSemaphore(DECODERS)

    def get(self, object_id: str, *, known: Callable[[str], bool] = lambda _mark: False) -> Thumbnail:
        """Return the thumbnail of an object: of the first run that has it and whose file is there.

        Args:
            object_id: 32 hex digits.
            known: Tells from its mark whether the browser has the picture already; then no file is read.
        """
        worst = Thumbnail(HTTPStatus.NOT_FOUND, placeholder("unknown object"))
        for run in self._site.runs():
            try:
                record = run.record(object_id)
                if record is None:
                    continue
                found = self._of_record(record, run, run.config(), known)
            except InputMissingError:
                continue
            except TierflowError:
                found = Thumbnail(HTTPStatus.SERVICE_UNAVAILABLE, placeholder("can't be read now"))
            if found.status == HTTPStatus.OK:
                return found
            worst = found
        return worst

    def _of_record(self, record: dict[str, Any], run: Run, config: Config, known: Callable[[str], bool]) -> Thumbnail:
        root = None if config.input is None else Path(config.input)
        try:
            path = locate(record, input_root=root, output=run.output)
            mark = _mark(path, record, config)
        except (Unshown, FileNotFoundError):
            return Thumbnail(HTTPStatus.GONE, placeholder(GONE_WORDS))
        if known(mark):
            return Thumbnail(HTTPStatus.OK, b"", mark)
        try:
            return Thumbnail(HTTPStatus.OK, self._made(path, record, config, mark), mark)
        except (Unshown, ValueError) as error:
            if isinstance(error.__cause__, TryAgainError):
                return Thumbnail(HTTPStatus.SERVICE_UNAVAILABLE, placeholder("the storage\ndoesn't answer"))
            return Thumbnail(HTTPStatus.UNPROCESSABLE_ENTITY, placeholder("can't be shown"))

    def _made(self, path: Path, record: dict[str, Any], config: Config, mark: str) -> bytes:
        content = self._cache.get(mark)
        if content is not None:
            return content
        with self._decoding:
            # Whoever waited here may find that another has made it meanwhile.
            content = self._cache.get(mark)
            if content is None:
                content = make(path, record, config)
                self._cache.put(mark, content)
            return content


def make(path: Path, record: dict[str, Any], config: Config) -> bytes:
    """Return the thumbnail of a file as PNG: the plane that decided, as the report shows it.

    Args:
        path: The file.
        record: The object's record.
        config: Configuration of its run: size of thumbnails, largest plane.

    Raises:
        Unshown: if nothing of it can be decoded.
        ValueError: if no pixel is a finite real number.
    """
    pixels, _ = read_picture_plane(
        path,
        index=max(0, int(record.get("best_plane") or 0)),
        max_plane_mb=config.extract.max_plane_mb,
        damaged=record.get("status") != "ok",
    )
    shown, *_ = displayed(pixels)
    return png(reduced(shown, edge=config.report.thumbnail_px))


def _mark(path: Path, record: dict[str, Any], config: Config) -> str:
    found = path.stat()
    parts = (os.fsencode(path), found.st_ino, found.st_mtime_ns, found.st_size)
    shown = (record.get("best_plane"), record.get("status"), config.report.thumbnail_px, __version__)
    return hashlib.sha256(repr((parts, shown)).encode()).hexdigest()[:32]

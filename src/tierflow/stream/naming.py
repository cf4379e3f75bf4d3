"""What the names of files say while their folder still fills.

A scan judges a folder by all its names. A stream judges it by those seen so far, and again whenever their number has
doubled: the layout that a scan would choose is chosen as soon as enough names are there, mostly from the first one on,
since names of one instrument look alike. A file keeps what was read when its turn came; a later scan of the whole
folder may read the first files of a mixed folder anew.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierflow import plugins
from tierflow.io.identity import display_path
from tierflow.io.layouts import regex
from tierflow.io.layouts.base import split_path
from tierflow.io.layouts.detect import Fit, candidates, choose
from tierflow.io.layouts.headers import read_header
from tierflow.scan.naming import read_names
from tierflow.scan.rows import Row as ScanRow
from tierflow.scan.units import unit_id
from tierflow.tables import NAME_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tierflow.config import Config
    from tierflow.io.layouts.base import Layout, Names
    from tierflow.stream.ledger import Ledger, Row

_FOLDERS = 2048
"""Folders whose layout is remembered; others are judged again when a file comes."""
_HEADERS = 4096
_SETTLED = 100_000
"""Names in a folder after which its layout isn't judged again: each judgement reads them all."""


@dataclass(slots=True)
class _Judged:
    fit: Fit | None
    judged: int
    """Names that the judgement saw."""
    newest: int
    """Largest number of an object that was asked for since, or that the judgement saw."""
    since: int = 0
    """New names since."""


class StreamNames:
    """Reads names, and headers where the configuration allows, of objects of a stream.

    Args:
        ledger: Knows the names of each folder.
        config: The configuration.
        root: The input folder.

    Raises:
        ConfigError: if the layout isn't installed or the pattern is wrong.
    """

    def __init__(self, ledger: Ledger, config: Config, root: Path) -> None:
        self._ledger = ledger
        self._scan = config.scan
        self._dataset = config.dataset_name
        self._base = os.fsencode(root)
        self._layouts: list[Layout] = candidates()
        self._auto = config.scan.layout == "auto"
        if not self._auto:
            _check(config)
        self._lock = threading.Lock()
        self._folders: OrderedDict[str, _Judged] = OrderedDict()
        self._headers: OrderedDict[tuple[bytes, int, int], Mapping[str, str]] = OrderedDict()

    def names(self, rows: Sequence[Row]) -> list[tuple[Names, str]]:
        """Return what the names say and the layout that read each, in the order of `rows`."""
        paths = [display_path(row.path) for row in rows]
        with self._lock:
            naming = read_names(
                paths, self._scan, lambda position: self._header(rows[position]), chosen=self._chosen(rows, paths)
            )
        return list(zip(naming.names, naming.layouts, strict=True))

    def scan_rows(self, rows: Sequence[Row]) -> list[ScanRow]:
        """Return rows of the scan table, in the order of `rows`; the unit is the ledger's where it has one."""
        kind, found = self._scan.unit, []
        for row, (names, layout) in zip(rows, self.names(rows), strict=True):
            unit = row.unit or unit_id(kind, dataset=self._dataset, object_id=row.object_id, names=names)
            file = (row.object_id, display_path(row.path), row.path, row.size, row.mtime_ns, row.is_link)
            found.append(ScanRow._make((*file, unit, layout, *names[: len(NAME_COLUMNS)])))
        return found

    def _chosen(self, rows: Sequence[Row], paths: Sequence[str]) -> dict[str, Fit | None] | None:
        if not self._auto:
            return None
        newest: dict[str, list[int]] = {}
        raw: dict[str, bytes] = {}
        for row, path in zip(rows, paths, strict=True):
            folder = split_path(path)[0]
            newest.setdefault(folder, []).append(row.id)
            raw.setdefault(folder, row.path.rpartition(b"/")[0])
        return {folder: self._fit(folder, raw[folder], ids) for folder, ids in newest.items()}

    def _fit(self, folder: str, raw: bytes, ids: Sequence[int]) -> Fit | None:
        known = self._folders.get(folder)
        if known is not None:
            known.since += sum(number > known.newest for number in ids)
            known.newest = max(known.newest, *ids)
        if known is None or (known.since >= known.judged and known.judged < _SETTLED):
            found = self._ledger.query("SELECT path, id FROM objects WHERE folder = ? ORDER BY path", (raw,))
            known = _Judged(
                choose([display_path(path) for path, _ in found], self._layouts),
                judged=len(found),
                newest=max((number for _, number in found), default=0),
            )
            self._folders[folder] = known
            if len(self._folders) > _FOLDERS:
                self._folders.popitem(last=False)
        self._folders.move_to_end(folder)
        return known.fit

    def _header(self, row: Row) -> Mapping[str, str]:
        key = (row.path, row.size, row.mtime_ns)
        found = self._headers.get(key)
        if found is None:
            found = self._headers[key] = read_header(self._base + b"/" + row.path)
            if len(self._headers) > _HEADERS:
                self._headers.popitem(last=False)
        return found


def _check(config: Config) -> None:
    """Refuse a layout that can't be had before the first file comes."""
    if config.scan.pattern is not None:
        regex.layout(config.scan.pattern)
    else:
        plugins.load("layouts", config.scan.layout)

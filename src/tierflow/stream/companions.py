"""Files that an instrument writes beside its images: when they are waited for, and what they say about a series.

A companion is waited for only where one is to be expected: in an acquisition beside which another one, a sister folder,
has such a file. The first acquisition of a tree is therefore never held up for a file that its instrument may not
write, and one that is there, in the folder of the image or a folder or two above it, must be whole.
"""

from __future__ import annotations

import os
import re
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tierflow.io.identity import display_path

if TYPE_CHECKING:
    from tierflow.stream.ledger import Ledger

FACT = "companions"
_FOLDERS = 2048
_TAIL_BYTES = 256
_LISTING_SHARE = 20
"""Folders of 100,000 files are listed at most for a twentieth of the time."""
_PARENTS = 1000


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of companion.

    Attributes:
        name: Its name for people.
        files: Its file names.
        images: Names of images that come with it, where the layout doesn't tell.
        layouts: Naming layouts that come with it.
        up: Folders above the image's that may hold it.
        end: What its last bytes hold when it is whole.
    """

    name: str
    files: re.Pattern[bytes]
    end: re.Pattern[bytes]
    layouts: frozenset[str] = frozenset()
    images: re.Pattern[bytes] | None = None
    up: int = 0


KINDS = (
    # <plate>_Plate_<id>/[TimePoint_n/[ZStep_n/]] of an export; the .HTD lies on top.
    Kind(
        ".HTD",
        re.compile(rb"(?i)[^.].*\.htd"),
        re.compile(rb'"EndFile"\s*\Z'),
        layouts=frozenset({"imagexpress"}),
        up=2,
    ),
    # <measurement>/Images/; later versions of Harmony leave .idx out.
    Kind(
        "Index.idx.xml",
        re.compile(rb"(?i)index(\.idx|\.ref)?\.xml"),
        re.compile(rb"</[\w:]+>\s*\Z"),
        layouts=frozenset({"opera_phenix"}),
        up=1,
    ),
    Kind(
        ".companion.ome",
        re.compile(rb"(?i).*\.companion\.ome"),
        re.compile(rb"</[\w:]*OME>\s*\Z"),
        images=re.compile(rb"(?is).*\.ome\.(tiff?|tf2|tf8|btf)"),
    ),
    Kind(
        ".nd",
        re.compile(rb"(?i)[^.].*\.nd"),
        re.compile(rb'"EndFile"\s*\Z'),
        images=re.compile(rb"(?is).*(_w[0-9].*|_s[0-9]+|_t[0-9]+)\.(tiff?|stk)|.*\.stk"),
    ),
)


@dataclass(slots=True)
class _Folder:
    companion: bytes | None
    whole: bool
    again_at: float


def is_companion(name: str) -> bool:
    """Tell whether a file, by its name, comes with images of any kind."""
    encoded = name.encode("utf-8", "surrogateescape")
    return any(kind.files.fullmatch(encoded) for kind in KINDS)


class Companions:
    """Finds companions, and remembers where they have been seen.

    Args:
        root: The input folder.
        ledger: Keeps the parents of acquisitions with companions over restarts.
    """

    def __init__(self, root: Path, ledger: Ledger) -> None:
        self._base = os.fsencode(root)
        self._ledger = ledger
        self._folders: OrderedDict[tuple[str, bytes], _Folder] = OrderedDict()
        self._parents: dict[str, list[str]] = ledger.fact(FACT, {})

    def missing(self, path: bytes, layout: str) -> str | None:
        """Say which companion of an image is missing or not whole yet, None when none is waited for.

        Args:
            path: The image, relative to the root.
            layout: Naming layout that reads its name.
        """
        kind = _kind_of(path, layout)
        if kind is None:
            return None
        found = self.find(path, kind)
        if found is not None:
            name, whole = found
            return None if whole else f"{display_path(name)} isn't whole yet"
        if any(_sisters(folder) in self._parents.get(kind.name, ()) for folder in _above(path, kind.up)):
            return f"its {kind.name} file isn't there yet, which other acquisitions beside this one have"
        return None

    def find(self, path: bytes, kind: Kind) -> tuple[bytes, bool] | None:
        """Return the companion of an image, relative to the root, and whether it is whole; None without one."""
        for folder in _above(path, kind.up):
            known = self._folder(kind, folder)
            if known.companion is not None:
                return known.companion, known.whole
        return None

    def of(self, path: bytes, layout: str) -> tuple[Kind, Path] | None:
        """Return the whole companion that comes with an image and its kind, None without one."""
        kind = _kind_of(path, layout)
        found = self.find(path, kind) if kind else None
        if kind is None or found is None or not found[1]:
            return None
        return kind, Path(os.fsdecode(os.path.join(self._base, found[0])))  # noqa: PTH118 - bytes

    def _folder(self, kind: Kind, folder: bytes) -> _Folder:
        key = (kind.name, folder)
        known = self._folders.get(key)
        now = time.monotonic()
        if known is None or (not known.whole and now >= known.again_at):
            known = self._folders[key] = self._list(kind, folder, now)
            if len(self._folders) > _FOLDERS:
                self._folders.popitem(last=False)
        self._folders.move_to_end(key)
        return known

    def _list(self, kind: Kind, folder: bytes, began: float) -> _Folder:
        try:
            with os.scandir(os.path.join(self._base, folder)) as listing:  # noqa: PTH118 - bytes
                names = sorted(entry.name for entry in listing if kind.files.fullmatch(entry.name))
        except FileNotFoundError:
            names = []
        took = time.monotonic() - began
        if not names:
            return _Folder(None, whole=False, again_at=began + took * _LISTING_SHARE)
        place = folder + b"/" + names[0] if folder else names[0]
        whole = _ends_with(os.path.join(self._base, place), kind.end)  # noqa: PTH118 - bytes
        if whole:
            self._remember(kind, folder)
        return _Folder(place, whole=whole, again_at=began + took * _LISTING_SHARE)

    def _remember(self, kind: Kind, folder: bytes) -> None:
        parent, known = _sisters(folder), self._parents.setdefault(kind.name, [])
        if parent is not None and parent not in known and len(known) < _PARENTS:
            known.append(parent)
            self._ledger.note(**{FACT: self._parents})


def _kind_of(path: bytes, layout: str) -> Kind | None:
    name = path.rpartition(b"/")[2]
    return next(
        (kind for kind in KINDS if layout in kind.layouts or (kind.images and kind.images.fullmatch(name))), None
    )


def _above(path: bytes, up: int) -> list[bytes]:
    """Return the folder of a path and those above it, as far as `up`; the input itself is empty."""
    folders = [path.rpartition(b"/")[0]]
    while folders[-1] and len(folders) <= up:
        folders.append(folders[-1].rpartition(b"/")[0])
    return folders


def _sisters(folder: bytes) -> str | None:
    """Return, as text for JSON, where the sister folders of an acquisition lie; the input itself has none in the tree.

    Harmony puts images and index of each measurement into a folder `Images` of its own.
    """
    if not folder:
        return None
    above, _, name = folder.rpartition(b"/")
    if name == b"Images" and above:
        return display_path(above.rpartition(b"/")[0] + b"/*/Images")
    return display_path(above)


def _ends_with(path: bytes, end: re.Pattern[bytes]) -> bool:
    try:
        with Path(os.fsdecode(path)).open("rb") as handle:
            size = handle.seek(0, os.SEEK_END)
            handle.seek(max(0, size - _TAIL_BYTES))
            return bool(end.search(handle.read(_TAIL_BYTES)))
    except (FileNotFoundError, PermissionError):
        return False

"""Find the objects of an input on a store by the rules of the walk over folders, so that the same plate gives the same.

There are no folders on a store; what stands before a slash of a key counts as one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierflow.errors import ConfigError
from tierflow.io.identity import display_path
from tierflow.io.selection import Selection
from tierflow.io.walk import (
    OWN_FOLDER,
    RUN_MARK,
    UNSAFE_KEY,
    Found,
    Walk,
    folder_reason,
    results_warning,
    warn_of_kinds,
)
from tierflow.objectstore.connect import StorePath, place_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tierflow.config import Scan


def walk_remote(root: StorePath, scan: Scan, *, skip: Iterable[str] = ()) -> Walk:
    """List the objects below a place on a store that the configuration takes: one listing, nothing opened.

    The store pages the listing, a thousand keys or more per request; no object is asked for by itself. Keys that end
    with a slash are marks of folders that some programs make, and no objects.

    Args:
        root: The input root.
        scan: Section `scan` of the configuration; `follow_links` has no meaning here.
        skip: Addresses below which nothing is taken (roots of tiers).

    Raises:
        ConfigError: if credentials or bucket are wrong, or the root is one object.
        TryAgainError: if the store is away.
    """
    return select(listed(root), scan, skip=_below(root, skip))


def listed(root: StorePath) -> list[Found]:
    """Return all objects below a root, marks of folders left out. Raises as `walk_remote`."""
    prefix = f"{root.key}/" if root.key else ""
    try:
        heads = [head for head in root.store.scan(prefix) if not head.key.endswith("/")]
    except FileNotFoundError as error:
        raise ConfigError(f"{root}: there is no such bucket: check its name and the address of the store") from error
    if not heads and root.key and root.exists():
        raise ConfigError(f"input {root} is one object: give what stands before the last slash of its key")
    start = len(prefix)
    return [Found(head.key[start:].encode(), head.size, head.mtime_ns, False) for head in heads]


def select(found: Sequence[Found], scan: Scan, *, skip: frozenset[bytes] = frozenset()) -> Walk:
    """Apply the rules of the configuration to a listing.

    Args:
        found: Objects with paths relative to the root.
        scan: Section `scan` of the configuration.
        skip: Folders, relative to the root, that are never entered.
    """
    return _Chooser(found, scan, skip).run()


def _below(root: StorePath, others: Iterable[str]) -> frozenset[bytes]:
    """Return which folders of the root other addresses name."""
    places = [place for place in map(place_at, others) if isinstance(place, StorePath)]
    start = len(root.key) + 1 if root.key else 0
    return frozenset(place.key[start:].encode() for place in places if place.is_relative_to(root) and place != root)


class _Chooser:
    def __init__(self, listed: Sequence[Found], scan: Scan, own: frozenset[bytes]) -> None:
        self.listed = listed
        self.selection = Selection(scan)
        self.own = own
        self.found = Walk()
        # What is known of each folder: whether it is entered.
        self.entered: dict[bytes, bool] = {b"": True}
        mark = b"/" + RUN_MARK + b"/"
        self.results = {item.path[: item.path.index(mark)] for item in listed if mark in item.path}

    def run(self) -> Walk:
        for item in self.listed:
            folder, _, name = item.path.rpartition(b"/")
            if not name or item.path.startswith(b"/") or b"//" in item.path:
                self.found.skip(UNSAFE_KEY, display_path(item.path))
            elif self._enters(folder):
                self._file(item, display_path(name))
        self.found.files.sort()
        self.found.warnings.sort()
        if unsafe := self.found.skipped[UNSAFE_KEY]:
            self.found.warnings.append(
                f"{unsafe} objects were left out because their keys hold an empty part (//), which no folder can: "
                "copy them to other keys"
            )
        warn_of_kinds(self.found)
        return self.found

    def _enters(self, folder: bytes) -> bool:
        known = self.entered.get(folder)
        if known is None:
            known = self._enters(folder.rpartition(b"/")[0]) and self._takes(folder)
            self.entered[folder] = known
        return known

    def _takes(self, folder: bytes) -> bool:
        text = display_path(folder)
        reason = folder_reason(self.selection, text)
        if reason is None and folder in self.results:
            self.found.warnings.append(results_warning(text))
            reason = OWN_FOLDER
        if reason is None and folder in self.own:
            reason = OWN_FOLDER
        if reason is not None:
            self.found.skip(reason, text)
        return reason is None

    def _file(self, item: Found, name: str) -> None:
        text = display_path(item.path)
        reason = self.selection.skip_file(name, text)
        if reason is None:
            self.found.files.append(item)
        else:
            self.found.skip(reason, text)

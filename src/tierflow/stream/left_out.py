"""Files in the watched folder that are no objects because of how they are named: counted by ending, told in words."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from tierflow.io.selection import (
    FOREIGN_EXTENSIONS,
    NOT_IMAGE,
    NOT_INCLUDED,
    SIDE_EXTENSIONS,
    extension,
    is_thumbnail,
)
from tierflow.io.walk import ZARR_FOLDER, foreign_warning, zarr_warning
from tierflow.scan.words import WORDS
from tierflow.stream.companions import is_companion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierflow.config import Config

MOST = 20
"""Endings that are told by name."""

OTHERS, NO_ENDING = "others", "no ending"

_ZARR = ".zarr"
_MOST_COUNTED = 500
# Of `run 3.2 (copy)` or `image.2026-11-21 14h`, what follows the dot is no ending, and each may be another one.
_ENDING = re.compile(r"\.[a-z0-9_+-]{1,12}")


class LeftOut:
    """Counts what one look at all files leaves out; its size is bounded whatever the files are called.

    Hidden files, thumbnails, what `scan.exclude` names and files that come with images (companions, sentinels, tables,
    notes) are rightly no objects, and aren't counted.

    Args:
        config: The configuration.
    """

    def __init__(self, config: Config) -> None:
        self._counts: Counter[str] = Counter()
        self._sentinel = _sentinel_names(config.stream.complete.sentinel)

    def skip(self, reason: str, path: str) -> None:
        """Note an entry that is left out.

        Args:
            reason: Why, as `tierflow.io.walk` and `tierflow.io.selection` name it.
            path: The entry, as text.
        """
        if reason == ZARR_FOLDER:
            self._add(_ZARR)
        elif reason in (NOT_IMAGE, NOT_INCLUDED):
            name = path.rpartition("/")[2]
            ending = extension(name)
            if ending not in SIDE_EXTENSIONS and not self._comes_with_images(name):
                self._add((ending if _ENDING.fullmatch(ending) else OTHERS) if ending else NO_ENDING)

    def counts(self) -> dict[str, int]:
        """Return the number of files by ending, the most frequent first; `others` are those of further endings."""
        ranked = sorted(self._counts.items(), key=lambda item: (item[0] == OTHERS, -item[1], item[0]))
        found = dict(ranked[:MOST])
        if rest := sum(n for _, n in ranked[MOST:]):
            found[OTHERS] = found.get(OTHERS, 0) + rest
        return found

    def _add(self, ending: str) -> None:
        if ending not in self._counts and len(self._counts) >= _MOST_COUNTED:
            ending = OTHERS
        self._counts[ending] += 1

    def _comes_with_images(self, name: str) -> bool:
        sentinel = self._sentinel is not None and self._sentinel.fullmatch(name) is not None
        return sentinel or is_companion(name) or is_thumbnail(name)


def left_out_words(counts: Mapping[str, int], *, included: bool) -> str:
    """Say what is left out, and what to do; "" where nothing is.

    Args:
        counts: From `LeftOut.counts`.
        included: Whether `scan.include` says which files are taken.

    >>> left_out_words({".foo": 2}, included=True)
    '2 .foo files were left out: not matched by scan.include; name them there (--include) to have them measured'
    """
    words = [foreign_warning(ending, n) for ending, n in counts.items() if ending in FOREIGN_EXTENSIONS]
    if _ZARR in counts:
        words.append(zarr_warning(counts[_ZARR]))
    rest = {ending: n for ending, n in counts.items() if ending not in FOREIGN_EXTENSIONS | {_ZARR}}
    if rest:
        which = ", ".join(f"{n} {_PHRASES.get(ending, ending)}" for ending, n in rest.items())
        files = "" if list(rest)[-1] in _PHRASES else " files"
        why = WORDS[NOT_INCLUDED if included else NOT_IMAGE]
        remedy = (
            "name them there (--include) to have them measured"
            if included
            else "images of a format that tierflow reads need their usual ending, such as .tif"
        )
        words.append(f"{which}{files} were left out: {why}; {remedy}")
    return "; ".join(words)


_PHRASES = {OTHERS: "other files", NO_ENDING: "files without an ending"}


def _sentinel_names(pattern: str | None) -> re.Pattern[str] | None:
    """Return the names that sentinels may have, whichever file they speak of."""
    if not pattern:
        return None
    literal = re.split(r"\{name\}|\{stem\}", pattern)
    # A sentinel that is a bare stem has no name of its own to be known by: then those without an ending.
    some = ".*" if any(literal) else "[^.]*"
    return re.compile(some.join(map(re.escape, literal)), re.DOTALL)

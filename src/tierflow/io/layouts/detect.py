"""Find out which naming layout a folder's files follow.

Each folder that holds files directly is judged by itself: instruments name the files of one folder alike, while trees
mix plates, exports and derived images at any depth. It also keeps readings stable: files that come elsewhere in the
tree never change what is read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierflow import plugins

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tierflow.io.layouts.base import Layout

GENERIC = "generic"
MIN_SHARE = 0.25
"""Share of a folder's names that must fit. Low, because names of these forms hardly arise by chance."""
SAMPLE = 64
"""Names looked at per folder, evenly spread over the sorted list."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a layout fits some names.

    Attributes:
        layout: Name of the layout.
        share: Share of the names that it reads, from 0 to 1.
        specificity: The layout's own, from 0 to 1.
    """

    layout: str
    share: float
    specificity: float

    @property
    def confidence(self) -> float:
        """Share of names read x specificity, from 0 to 1."""
        return self.share * self.specificity


def candidates() -> list[Layout]:
    """Return the installed layouts that read names, without `generic`, sorted by name."""
    layouts = [plugins.load("layouts", name) for name in plugins.available("layouts")]
    return [layout for layout in layouts if layout.name != GENERIC and layout.from_header is None]


def header_layouts() -> list[Layout]:
    """Return the installed layouts that read headers, sorted by name."""
    layouts = [plugins.load("layouts", name) for name in plugins.available("layouts")]
    return [layout for layout in layouts if layout.from_header is not None]


def detect(paths: Sequence[str], layouts: Iterable[Layout], *, sample: int = SAMPLE) -> list[Fit]:
    """Return the layouts that read some of the paths, the best first.

    Order: confidence; then specificity; then the name, so that the same files always give the same answer.

    Args:
        paths: Relative paths, as text.
        layouts: Layouts to try.
        sample: Paths to look at, at most, evenly spread.
    """
    looked_at = paths[:: -(-len(paths) // sample) or 1]
    fits = []
    for layout in layouts:
        read = sum(layout.parse(path) is not None for path in looked_at)
        if read:
            fits.append(Fit(layout.name, read / len(looked_at), layout.specificity))
    return sorted(fits, key=lambda fit: (-fit.confidence, -fit.specificity, fit.layout))


def choose(paths: Sequence[str], layouts: Iterable[Layout]) -> Fit | None:
    """Return the best fit that reads at least `MIN_SHARE` of the paths, or None."""
    return next((fit for fit in detect(paths, layouts) if fit.share >= MIN_SHARE), None)

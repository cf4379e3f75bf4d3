"""Read the names of all files: per folder with the layout that fits it, `generic` for what doesn't."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierflow import plugins
from tierflow.io.layouts import generic, regex
from tierflow.io.layouts.base import Layout, Names, split_path
from tierflow.io.layouts.detect import GENERIC, Fit, candidates, choose, header_layouts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tierflow.config import Scan

    ReadHeader = Callable[[int], Mapping[str, str]]


@dataclass(slots=True)
class Naming:
    """What the names say.

    Attributes:
        names: Per file.
        layouts: Per file, the layout that read it.
        fits: Layout that was chosen for each folder; None where none fits.
        unparsed: Positions of files that the layout of their folder, or any layout, can't read.
        headers: Files whose header was asked for.
    """

    names: list[Names]
    layouts: list[str]
    fits: dict[str, Fit | None] = field(default_factory=dict)
    unparsed: list[int] = field(default_factory=list)
    headers: int = 0

    def summary(self) -> list[dict[str, object]]:
        """Return the layouts with the number of objects each read and its confidence, most objects first.

        The confidence is the mean over the objects of the folders where the layout was chosen; null for layouts that
        read headers.
        """
        counts = Counter(self.layouts)
        return [
            {"name": name, "objects": n, "confidence": self._confidence(name)}
            for name, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        ]

    def _confidence(self, name: str) -> float | None:
        if name == GENERIC:
            return generic.LAYOUT.specificity
        values = [fit.confidence for fit in self.fits.values() if fit and fit.layout == name]
        return round(sum(values) / len(values), 4) if values else None


def read_names(
    paths: Sequence[str],
    scan: Scan,
    read_header: ReadHeader,
    *,
    chosen: Mapping[str, Fit | None] | None = None,
) -> Naming:
    """Read what the names of files say, and headers where that is wanted.

    Args:
        paths: Relative paths as text, sorted.
        scan: Section `scan` of the configuration. `layout: ome_tiff` (or another that reads headers) opens every file;
            `read_headers` opens those whose names give neither well nor channel.
        read_header: Reads the header of the file at a position of `paths`.
        chosen: Layouts that are settled already, by folder, where `paths` are only some of a folder's files.

    Raises:
        ConfigError: if the layout isn't installed or the pattern is wrong.
    """
    naming = Naming(names=[generic.parse(path) for path in paths], layouts=[GENERIC] * len(paths))
    forced = None if scan.layout == "auto" else _layout(scan)
    if forced is not None and forced.from_header is not None:
        naming.unparsed = list(range(len(paths)))
        _read_headers(naming, paths, naming.unparsed, [forced], read_header)
        return naming
    folders: defaultdict[str, list[int]] = defaultdict(list)
    for position, path in enumerate(paths):
        folders[split_path(path)[0]].append(position)
    known = {layout.name: layout for layout in ([forced] if forced else candidates())}
    for folder, positions in folders.items():
        fit = chosen[folder] if chosen and folder in chosen else _fit([paths[i] for i in positions], forced, known)
        naming.fits[folder] = fit
        _read_folder(naming, paths, positions, known[fit.layout] if fit else None)
    if all(layout == GENERIC for layout in naming.layouts) and (forced is None or forced.name == GENERIC):
        # A folder of photographs: nothing was expected of its names.
        naming.unparsed.clear()
    if scan.read_headers:
        silent = [i for i, names in enumerate(naming.names) if names.well is None and names.channel is None]
        _read_headers(naming, paths, silent, header_layouts(), read_header)
    return naming


def _layout(scan: Scan) -> Layout:
    if scan.pattern is not None:
        return regex.layout(scan.pattern)
    layout: Layout = plugins.load("layouts", scan.layout)
    return layout


def _fit(paths: Sequence[str], forced: Layout | None, known: Mapping[str, Layout]) -> Fit | None:
    if forced is None:
        return choose(paths, known.values())
    read = sum(forced.parse(path) is not None for path in paths)
    return Fit(forced.name, read / len(paths), forced.specificity)


def _read_folder(naming: Naming, paths: Sequence[str], positions: Sequence[int], layout: Layout | None) -> None:
    for position in positions:
        names = layout.parse(paths[position]) if layout else None
        if layout is None or names is None:
            naming.unparsed.append(position)
        else:
            naming.names[position] = names
            naming.layouts[position] = layout.name


def _read_headers(
    naming: Naming, paths: Sequence[str], positions: Sequence[int], layouts: Sequence[Layout], read_header: ReadHeader
) -> None:
    for position in positions:
        header = read_header(position)
        naming.headers += 1
        for layout in layouts:
            found = layout.from_header(header, paths[position]) if layout.from_header else None
            if found is not None:
                naming.names[position] = _merge(found, naming.names[position])
                naming.layouts[position] = layout.name
                break
    read = {i for i in positions if naming.layouts[i] != GENERIC}
    naming.unparsed = [i for i in naming.unparsed if i not in read]


def _merge(header: Names, name: Names) -> Names:
    return Names._make(a if a is not None else b for a, b in zip(header, name, strict=True))

"""The page of a catalogue, whatever holds it: the views of the Kibana dashboards where there is no Kibana.

One file, no script, nothing from elsewhere. It is drawn from counts that the catalogue gives, so that it stays as small
for a million objects as for a hundred.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from tierflow.catalogue.open import open_catalogue
from tierflow.catalogue.parquet import ParquetCatalogue
from tierflow.catalogue.query import Eq
from tierflow.config import QUARANTINE, Report
from tierflow.errors import ConfigError
from tierflow.io.atomic import write_text
from tierflow.report import charts, gallery, plates, views_charts, views_data, words
from tierflow.report.build import asset, environment
from tierflow.report.overview import TierRow
from tierflow.report.page import palette_of, ratio
from tierflow.report.palette import SEQUENTIAL
from tierflow.report.text import count, counted, number, printable, share, size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tierflow.catalogue.base import Catalogue
    from tierflow.report.images import Picture
    from tierflow.report.views_data import Overview, Part, Plates, Tiers

WORST = 18
LOST = 12
EDGE_PX = 220
MAX_PLANE_MB = 1024
SECURITY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def build_views(catalogue: Catalogue, target: Path, *, title: str) -> None:
    """Write the page of a catalogue, whole or not at all.

    Args:
        catalogue: Any backend.
        target: The HTML file to write.
        title: Heading of the page, such as the address of the catalogue.

    Raises:
        InputMissingError: if the catalogue isn't there.
        TryAgainError: if its server is away.
    """
    overview = views_data.read(catalogue)
    content = page(overview, title=title) | {"galleries": _galleries(catalogue, overview.tiers)}
    text = environment().get_template("views.html.j2").render(**content)
    write_text(target, text.encode("utf-8", "backslashreplace").decode("utf-8"))


def catalogue_of(where: str, *, run: str | None = None) -> tuple[Catalogue, str]:
    """Open a catalogue for its page.

    Args:
        where: Output folder of a run, or the address of a server.
        run: Name of the only run to look at, of a server's.

    Returns:
        The catalogue, and a title for its page.

    Raises:
        ConfigError: if it is neither, or a run is named where there is no server, or the server has no such run.
        InputMissingError: if there is no such folder or catalogue.
    """
    found = open_catalogue(where)
    if run is None:
        return found, _title(where)
    if isinstance(found, ParquetCatalogue):
        raise ConfigError(f"--run {run}: {where} is a folder, which holds one run; leave --run out")
    if not found.count(Eq("run", run)):
        raise ConfigError(f"no run {run!r} at {where}: `tierflow facets run --from {where}` lists its runs")
    # The server's client costs 0.2 s to import.
    from tierflow.catalogue.elastic.connection import settings_of
    from tierflow.catalogue.elastic.search import ElasticCatalogue

    return ElasticCatalogue(settings_of(where), run=run), run


def _title(where: str) -> str:
    """Return the last part of an address or folder."""
    return where.rstrip("/").rpartition("/")[2] or where


def page(overview: Overview, *, title: str) -> dict[str, Any]:
    """Return the variables of the template `views.html.j2`, but for the pictures."""
    tiers = overview.tiers
    best = [name for name in tiers.names if name != QUARANTINE]
    moments = overview.moments if len(overview.moments) > 1 else ()
    scored = [moment for moment in moments if moment.percents.get(50.0) is not None]
    return {
        "title": printable(title),
        "made_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "security": SECURITY,
        "style": Markup(asset("style.css")),  # noqa: S704 - our own file
        "palette": palette_of(len(best)) if best else palette_of(1),
        "meta": _meta(overview),
        "verdict": _verdict(overview),
        "tiers": _tier_rows(tiers, overview.objects),
        "scores": _scores(overview) if overview.scores.any() else None,
        "channels": _spread_chart(overview.channels, "Interestingness by channel"),
        "spreads": _spread_chart(overview.runs, "Interestingness by run") if len(overview.runs) > 1 else None,
        "band": views_charts.band(scored, title="Interestingness over time", about="day of acquisition")
        if len(scored) > 1
        else None,
        "columns": views_charts.columns(
            moments, title="Objects over time", about="day of acquisition", failed=len(best)
        )
        if moments
        else None,
        "runs": [_part_row(part, tiers) for part in overview.runs],
        "plates": [_part_row(part, tiers) for part in overview.plates],
        "maps": _maps(overview.maps),
        "flags": _findings(overview.flags, overview.objects),
        "failures": _findings(overview.failures, overview.objects),
        "reasons": [(printable(reason), count(objects)) for reason, objects in overview.reasons],
        "glossary": words.GLOSSARY,
    }


def _meta(overview: Overview) -> list[str]:
    shown = (
        (overview.objects, "object"),
        (len(overview.runs), "run"),
        (overview.maps.total or len(overview.plates), "plate"),
        (len(overview.channels), "channel"),
    )
    return [counted(number_of, noun) for number_of, noun in shown if number_of] + [size(sum(overview.tiers.sizes))]


def _verdict(overview: Overview) -> str:
    if not overview.objects:
        return "The catalogue is empty."
    fine = overview.objects - overview.failed - overview.flagged
    text = f"{count(fine)} of {counted(overview.objects, 'object')} measured fine."
    if overview.flagged:
        text += f" {counted(overview.flagged, 'more was', 'more were')} measured but carry a finding."
    if overview.failed:
        text += f" {counted(overview.failed, 'object', 'objects')} could not be measured."
    return text


def _colours(tiers: Tiers) -> dict[str, int]:
    """Return the number of each tier's colour: the quarantine's comes after those of all tiers."""
    best = [name for name in tiers.names if name != QUARANTINE]
    return {name: i for i, name in enumerate([*best, QUARANTINE])}


def _tier_rows(tiers: Tiers, objects: int) -> list[TierRow]:
    colours, total = _colours(tiers), sum(tiers.sizes)
    return [
        TierRow(
            index=colours[name],
            name=printable(name),
            about="could not be read, measured or scored" if name == QUARANTINE else "",
            range="",
            driver="",
            count=held,
            size=size(weight),
            share=share(held, objects),
            width=100 * held / max(objects, 1),
            byte_width=100 * weight / max(total, 1.0),
        )
        for name, held, weight in zip(tiers.names, tiers.counts, tiers.sizes, strict=True)
    ]


def _scores(overview: Overview) -> Markup:
    objects = int(overview.scores.sum())
    return charts.score_histogram(
        overview.scores,
        (),
        alt=charts.histogram_words(objects, overview.scores),
        note=f"{counted(objects, 'object')} with a score, median {number(overview.percents.get(50.0), 3)}",
    )


def _spread_chart(parts: Sequence[Part], title: str) -> Markup | None:
    known = [part for part in parts if part.percents.get(50.0) is not None]
    return views_charts.spreads(known, title=title) if known else None


def _part_row(part: Part, tiers: Tiers) -> dict[str, Any]:
    colours = _colours(tiers)
    slices = [
        {"index": colours[name], "name": printable(name), "width": 100 * held / part.objects, "count": count(held)}
        for name, held in zip(tiers.names, part.tiers, strict=True)
        if held
    ]
    return {
        "name": printable(part.name),
        "objects": count(part.objects),
        "failed": count(part.failed),
        "flagged": count(part.flagged),
        "slices": slices,
        "words": ", ".join(f"{s['name']} {s['count']}" for s in slices),
        "percents": [number(part.percents.get(percent), 3) for percent in (5.0, 50.0, 95.0)],
    }


def _maps(maps: Plates) -> dict[str, Any] | None:
    if not maps.grids:
        return None
    drawn = list(maps.grids)
    shown = []
    for i, (key, label) in enumerate(maps.labels.items()):
        ends = plates.span(drawn, key)
        figures = [
            (grid.name, plates.draw(grid, number_of=j, measure=key, label=label, ends=ends))
            for j, grid in enumerate(drawn)
        ]
        low, high = (number(end, 3) for end in ends)
        shown.append({"id": f"m{i}", "label": label, "figures": figures, "low": low, "high": high})
    wide = max(grid.columns for grid in drawn) > 24
    return {
        "measures": shown,
        "hidden": maps.total - len(drawn),
        "total": maps.total,
        "ramp": ", ".join(SEQUENTIAL),
        "kind": "dense" if wide else "mid" if len(drawn) <= 2 else "",
    }


def _findings(found: Sequence[tuple[str, int]], objects: int) -> list[dict[str, Any]]:
    most = max((number_of for _, number_of in found), default=1)
    return [
        {
            "flag": printable(flag),
            "count": count(number_of),
            "share": share(number_of, objects),
            "width": 100 * number_of / most,
            "about": words.finding(flag).about,
            "remedy": words.finding(flag).remedy,
        }
        for flag, number_of in found
    ]


def _galleries(catalogue: Catalogue, tiers: Tiers) -> list[dict[str, Any]]:
    picks = (
        ("Least interesting", "The lowest scores, lowest first.", views_data.worst(catalogue, WORST)),
        ("In quarantine", "Some that could not be measured, with their reasons.", views_data.lost(catalogue, LOST)),
    )
    show = _Pictures(catalogue)
    groups = []
    for title, about, rows in picks:
        tiles = [
            gallery.tile(row, number_of=i, features=(), baseline={}, show=show.picture) for i, row in enumerate(rows)
        ]
        if tiles:
            groups.append({"title": title, "about": about, "tiles": tiles, "ratio": ratio(tiles)})
    return [group | {"edge": EDGE_PX, "colours": _colours(tiers)} for group in groups]


class _Pictures:
    """Makes pictures of records of several runs, each with folders of its own."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._by_run: dict[str, Any] = {}

    def picture(self, row: Mapping[str, Any]) -> Picture:
        run = str(row["run"])
        if run not in self._by_run:
            folders = self._catalogue.folders(run)
            self._by_run[run] = gallery.pictures_for(
                gallery.MANY + 1,
                thumbnail_px=Report().thumbnail_px,
                max_plane_mb=MAX_PLANE_MB,
                input_root=Path(folders.source) if folders.source else None,
                output=Path(folders.output),
            )
        made: Picture = self._by_run[run](row)
        return made

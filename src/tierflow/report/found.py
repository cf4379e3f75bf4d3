"""A page of the objects of a search: their pictures, and behind each its values."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tierflow.config import QUARANTINE, Config
from tierflow.errors import TierflowError
from tierflow.io.atomic import write_text
from tierflow.report import gallery, words
from tierflow.report.build import read_baseline, render
from tierflow.report.page import palette_of, ratio
from tierflow.report.text import count, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tierflow.catalogue.base import Folders

NO_QUERY = "All objects"


def write_found(
    html: Path,
    records: Sequence[Mapping[str, Any]],
    *,
    folders: Mapping[str, Folders],
    features: Sequence[str],
    where: str,
    query: str,
    total: int,
) -> None:
    """Write the page, whole or not at all.

    Args:
        html: The file to write.
        records: Catalogue records, in the order shown; all columns.
        folders: Folders by run, where files and baselines are looked for.
        features: Names of the feature columns.
        where: What was searched.
        query: What was searched for; "" for everything.
        total: Objects that fulfil the query.
    """
    tiers = sorted({str(r["tier"]) for r in records if r.get("tier") and r["tier"] != QUARANTINE})
    shown = "all shown" if len(records) == total else f"the first {count(len(records))} shown"
    tiles = _tiles(records, folders=folders, features=features)
    pick = gallery.Pick("found", "", "", list(range(len(records))))
    content = {
        "title": printable(query) or NO_QUERY,
        "where": printable(where),
        "note": f"{count(total)} found, {shown}",
        "made_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "galleries": [
            {
                "pick": pick,
                "tiles": tiles,
                "ratio": ratio(tiles),
                "edge": Config().report.thumbnail_px,
                "colours": {name: index for index, name in enumerate([*tiers, QUARANTINE, ""])},
            }
        ],
        "palette": palette_of(len(tiers)),
        "data": {"whatif": None, "plates": None, "tiles": [tile.details for tile in tiles]},
    }
    text = render(content, "found.html.j2").encode("utf-8", "backslashreplace").decode("utf-8")
    write_text(html, text)


def _tiles(
    records: Sequence[Mapping[str, Any]], *, folders: Mapping[str, Folders], features: Sequence[str]
) -> list[gallery.Tile]:
    config = Config()
    show = {
        run: gallery.pictures_for(
            len(records),
            thumbnail_px=config.report.thumbnail_px,
            max_plane_mb=config.extract.max_plane_mb,
            input_root=Path(known.source) if known.source else None,
            output=Path(known.output),
        )
        for run, known in folders.items()
    }
    baselines = {run: _baseline(Path(known.output)) for run, known in folders.items()}
    telling = [name for name in words.PREFERRED if name in features]
    ranked = list(dict.fromkeys([*telling, *features]))
    return [
        gallery.tile(
            record, number_of=number, features=ranked, baseline=baselines[record["run"]], show=show[record["run"]]
        )
        for number, record in enumerate(records)
    ]


def _baseline(output: Path) -> gallery.Baseline:
    try:
        return read_baseline(output / "baseline.parquet")
    except (TierflowError, OSError):  # of a run on another machine, or being written: the pictures do without
        return {}

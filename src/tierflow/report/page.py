"""Everything that the report says, computed section by section for the template."""

from __future__ import annotations

import json
import platform
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from tierflow import __version__, config_io, plugins
from tierflow.catalogue.schema import RECORD_SECTIONS
from tierflow.config import QUARANTINE
from tierflow.errors import ConfigError
from tierflow.policies.base import Cut
from tierflow.report import charts, gallery, measures, overview, whatif, words
from tierflow.report.findings import failure_rows, flag_rows
from tierflow.report.listing import STATIC, listing
from tierflow.report.objects import Objects, choose_features, read_corrected, read_objects
from tierflow.report.palette import QUARANTINE as QUARANTINE_COLOUR
from tierflow.report.palette import tier_colours
from tierflow.report.text import counted, number, printable, size
from tierflow.tables import feature_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tierflow.config import Config
    from tierflow.report.source import Source

HISTOGRAM_BINS = 40
MOST_FEATURES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a report is made from.

    Attributes:
        source: The objects.
        config: The run's configuration.
        summary: What the scan says.
        policy: The resolved policy; None when the run stopped before it.
        baseline: Median and spread by plate, channel and feature.
        output: The run's output folder.
        csv: Address of objects.csv relative to the report; empty when there is none.
        problem: Why the run stopped, if it did.
    """

    source: Source
    config: Config
    summary: Mapping[str, Any]
    policy: Mapping[str, Any] | None
    baseline: gallery.Baseline
    output: Path
    csv: str = ""
    problem: str = ""


def page(material: Material) -> dict[str, Any]:
    """Compute the whole report.

    Returns:
        The variables of the template `report.html.j2`.
    """
    config, source = material.config, material.source
    features = choose_features(source.schema, _preferred(config), MOST_FEATURES)
    objects, corrected = read_objects(source, features), read_corrected(source)
    tiers = list(config.tiers)
    tier = overview.tier_index(objects, tiers)
    cuts = [Cut(**cut) for cut in (material.policy or {}).get("cuts", [])]
    minima = [cut.minimum for cut in cuts[:-1]]
    ranges = {r["tier"]: r["words"] for r in whatif.ranges([cut.tier for cut in cuts], minima)} if cuts else {}
    scored = objects.measured
    scores = _scores(objects, tier, cuts=cuts, free=_free(objects, material.policy or {}) & ~corrected, config=config)
    maps = measures.plate_maps(objects)
    table = listing(objects, source)
    tiles = _galleries(material, objects)
    return {
        "title": printable(config.report.title or config.dataset_name),
        "dataset": printable(str(material.summary.get("dataset") or config.dataset_name)),
        "made_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "objects": len(objects),
        "bytes": size(float(objects.size.sum())),
        "names": _names_line(objects),
        "verdict": " ".join(filter(None, (overview.verdict(objects), overview.corrections(int(corrected.sum()))))),
        "stopped": bool(material.problem),
        "warnings": overview.warnings(material.summary, objects, material.problem),
        "skipped": overview.skipped(material.summary),
        "tiers": overview.tier_rows(objects, tier, config, ranges),
        "galleries": tiles,
        "scores": scores,
        "maps": maps,
        "relations": measures.relations(objects, tier, cuts) if scored.any() else [],
        "channels": measures.channels(objects),
        "timelines": measures.timelines(objects),
        "flags": flag_rows(objects, source, config),
        "failures": failure_rows(objects, source, config),
        "table": table,
        "static_rows": STATIC,
        "csv": material.csv,
        "made": _made(material, cuts),
        "features": [(name, *words.feature(name)) for name in features],
        "glossary": words.GLOSSARY,
        "palette": palette_of(len(tiers)),
        "data": {
            "whatif": scores["data"] if scores else None,
            "plates": maps["data"] if maps else None,
            "tiles": [tile.details for group in tiles for tile in group["tiles"]],
            "table": {"columns": [key for key, _ in table.columns], "rows": table.rows, "keys": table.keys},
            "tiers": [*tiers, QUARANTINE],
        },
    }


def _preferred(config: Config) -> list[str]:
    """Return the features worth drawing: those that the interestingness function names, then the telling ones."""
    said = json.dumps(config.score.parameters)
    named = [name for name in words.PREFERRED if name in said]
    return [*named, *words.PREFERRED]


def _names_line(objects: Objects) -> str:
    row, column = objects.well
    wells = len(np.unique((row.astype(np.int64) * 100_000 + column)[row > 0]))
    parts = [
        counted(len(objects.plate.names), "plate") if len(objects.plate.names) else "",
        counted(wells, "well position") if wells else "",
        counted(len(objects.channel.names), "channel") if len(objects.channel.names) else "",
    ]
    return ", ".join(part for part in parts if part)


def _galleries(material: Material, objects: Objects) -> list[dict[str, Any]]:
    config, source = material.config, material.source
    picks = gallery.choose(objects, config.report.thumbnails)
    root = material.summary.get("input") or config.input
    show = gallery.pictures_for(
        sum(len(pick.indices) for pick in picks),
        thumbnail_px=config.report.thumbnail_px,
        max_plane_mb=config.extract.max_plane_mb,
        input_root=_folder(root),
        output=material.output,
    )
    columns = feature_columns(source.schema)
    # The telling ones first, as in the charts; the dialog lists them all.
    ranked = [name for name in words.PREFERRED if name in columns]
    features = [*ranked, *(name for name in columns if name not in ranked)]
    order = [*config.tiers, QUARANTINE, ""]
    colours = {name: i for i, name in enumerate(order)}
    groups, first = [], 0
    for pick in picks:
        rows = source.rows(pick.indices)
        tiles = [
            gallery.tile(row, number_of=first + i, features=features, baseline=material.baseline, show=show)
            for i, row in enumerate(rows)
        ]
        groups.append(
            {
                "pick": pick,
                "tiles": tiles,
                "ratio": ratio(tiles),
                "edge": config.report.thumbnail_px,
                "colours": colours,
            }
        )
        first += len(tiles)
    return groups


def ratio(tiles: Sequence[gallery.Tile]) -> str:
    """Return the width to height that most of the pictures have, so that few get black margins."""
    ratios = [tile.picture.width / tile.picture.height for tile in tiles if tile.picture]
    return f"{min(max(float(np.median(ratios)), 0.75), 1.6):.3f}" if ratios else "1.333"


def _folder(text: object) -> Path | None:
    return Path(str(text)) if text else None


def _scores(
    objects: Objects, tier: NDArray[np.int64], *, cuts: Sequence[Cut], free: NDArray[np.bool_], config: Config
) -> dict[str, Any] | None:
    scored = np.isfinite(objects.interestingness) & objects.measured
    if not scored.any():
        return None
    names = list(config.tiers)
    kinds = len(names) + 2
    score, size_of, kind = objects.interestingness[scored], objects.size[scored], tier[scored]
    place = np.minimum((score * HISTOGRAM_BINS + 1e-9).astype(np.int64), HISTOGRAM_BINS - 1)
    table = np.bincount(place * kinds + kind, minlength=HISTOGRAM_BINS * kinds).reshape(HISTOGRAM_BINS, kinds)
    chart = charts.score_histogram(
        table,
        cuts,
        alt=charts.histogram_words(int(scored.sum()), table),
        note=f"{counted(int(scored.sum()), 'object')} with a score, median {number(float(np.median(score)), 3)}",
    )
    found: dict[str, Any] = {"chart": chart, "scenarios": [], "tiers": [cut.tier for cut in cuts], "data": None}
    if len(cuts) < 2:
        return found
    free = free[scored] & (kind < len(names))
    minima = [cut.minimum for cut in cuts[:-1]]
    order = [names.index(cut.tier) for cut in cuts]
    fixed = ~free & (kind < len(names))
    found["forced"] = int(fixed.sum())
    found["split"] = any(cut.last_unit for cut in cuts)
    found["scenarios"] = whatif.scenarios(score[free], size_of[free], minima)
    found["data"] = {
        "tiers": [cut.tier for cut in cuts],
        "colours": order,
        "minima": minima,
        "fine": whatif.fine_histogram(score[free], size_of[free]),
        "fixed": _per_tier(kind[fixed], size_of[fixed], order),
        "now": _per_tier(kind[kind < len(names)], size_of[kind < len(names)], order),
        "bins": HISTOGRAM_BINS,
    }
    return found


def _per_tier(kind: NDArray[np.int64], sizes: NDArray[np.int64], order: Sequence[int]) -> dict[str, list[int]]:
    counts = np.bincount(kind, minlength=max(order) + 1)
    totals = np.bincount(kind, weights=sizes.astype(np.float64), minlength=max(order) + 1)
    return {"counts": [int(counts[i]) for i in order], "sizes": [int(totals[i]) for i in order]}


def _free(objects: Objects, policy: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Tell which objects the cut-offs decide about: those without a flag that forces a tier."""
    forced = np.zeros(len(objects), dtype=bool)
    for flag in policy.get("flag_tiers") or {}:
        if flag in objects.flags:
            forced |= objects.flags[flag]
    return ~forced


def _made(material: Material, cuts: Sequence[Cut]) -> dict[str, Any]:
    config, summary = material.config, material.summary
    policy = material.policy or {}
    kind = str(policy.get("kind") or config.policy.kind)
    source = str(summary.get("input") or config.input or "INPUT")
    output = material.output.absolute()
    command = ["tierflow", "run", source, "--output", str(output), "--config", str(output / "config.yaml")]
    facts = [
        ("input", printable(source)),
        ("layout of names", printable(_layout(summary, config))),
        ("one decision per", config.scan.unit),
        ("interestingness function", config.score.function),
        ("its parameters", _settings("interestingness", config.score.function, config.score.parameters)),
        ("policy", kind),
        ("its parameters", _settings("policies", kind, policy.get("parameters") or config.policy.parameters)),
        ("cut-offs", "; ".join(f"{cut.tier} from {number(cut.minimum, 6)}" for cut in cuts)),
        ("flags that force a tier", ", ".join(f"{flag}: {tier}" for flag, tier in config.policy.flag_tiers.items())),
        ("configuration digest, as in every record", config.digest(RECORD_SECTIONS)),
        ("tierflow", __version__),
        ("Python", platform.python_version()),
        ("NumPy", np.__version__),
    ]
    return {
        "facts": [(name, text) for name, text in facts if text],
        "command": printable(shlex.join(command)),
        "config": "\n".join(printable(line) for line in config_io.dump(config).splitlines()),
    }


def _layout(summary: Mapping[str, Any], config: Config) -> str:
    found = [entry for entry in summary.get("layouts") or [] if isinstance(entry, dict) and entry.get("name")]
    if not found:
        return config.scan.layout
    return "; ".join(
        f"{entry['name']} ({counted(int(entry.get('objects') or 0), 'object')}, confidence {entry.get('confidence')})"
        for entry in found
    )


def _settings(kind: plugins.Kind, name: str, parameters: Mapping[str, Any]) -> str:
    """Return the parameters of a plug-in, its defaults filled in where it can be asked."""
    try:
        filled = plugins.load(kind, name).Parameters(**parameters).model_dump(mode="json")
    except (ConfigError, ImportError, ValidationError):
        filled = dict(parameters)
    told = ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in filled.items())
    return printable(told) or "none"


def palette_of(tiers: int) -> dict[str, list[str]]:
    """Return the colours of tiers, quarantine and objects without a tier, for light and for dark paper."""
    light, dark = tier_colours(tiers, dark=False), tier_colours(tiers, dark=True)
    return {
        "light": [*light, QUARANTINE_COLOUR["light"], "#7a8794"],
        "dark": [*dark, QUARANTINE_COLOUR["dark"], "#8795a3"],
    }

"""The content: which data views, saved searches and dashboards there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierflow.catalogue.query import EVERYTHING, And, Eq, Exists
from tierflow.kibana.panels import Bins, Control, Dashboard, Dates, Listing, Panel, Place, Search, Terms, Value

if TYPE_CHECKING:
    from tierflow.catalogue.query import Filter

SCORE = "interestingness"
FAILED = Eq("status", "failed")
MEASURED = Eq("status", "ok")
FLAGGED = And((MEASURED, Exists("flags")))

OBJECTS = Value("count")
MEAN = Value("average", SCORE, "mean interestingness", decimals=3)
MEDIAN = Value("median", SCORE, "median", decimals=3)
PLATES = Terms("plate", "plate", 30, "name", descending=False)
TIERS = Terms("tier", "tier", 12, "name", descending=False)
FLAGS = Terms("flags", "flag", 12)
RUNS = Terms("run", "run", 20, "name", descending=False)
# The largest plates have 48 columns and 32 rows.
WELL_COLUMNS = Terms("column", "column", 48, "name", descending=False)
WELL_ROWS = Terms("row", "row", 32, "name", descending=False)

HEAT_MAPS = {
    "mid_band_share": "Mid-band share: high in focus",
    "sharpness": "Sharpness: fine detail without the noise",
    "structure_z": "Structure: how surely there is more than noise",
    "snr": "Signal to noise",
    "ImageQuality_PowerLogLogSlope": "Power spectrum slope: strongly negative for blur",
    "ImageQuality_MeanIntensity": "Mean intensity",
    "background": "Background, in counts",
    "illumination_ratio": "Illumination: 1 is even",
    "saturated_share": "Saturated share",
}
"""Title by feature of the heat maps of a plate, the most telling first."""


def percentile(percent: int, label: str = "") -> Value:
    """Return a percentile of the score."""
    return Value("percentile", SCORE, label or f"{percent} %", percent=percent, decimals=3)


SPREAD = (percentile(5), percentile(25), MEDIAN, percentile(75), percentile(95))

SEARCHES = (
    Search(
        name="worst",
        title="worst images",
        about="Measured objects, the least interesting first.",
        columns=(
            "object_id",
            SCORE,
            "tier",
            "reason",
            "flags",
            "plate",
            "well",
            "channel",
            "path",
            "run",
        ),
        sort=((SCORE, "asc"), ("object_id", "asc")),
        where=MEASURED,
    ),
    Search(
        name="quarantine",
        title="quarantine, with reasons",
        about="What could not be read, measured or scored, and why.",
        columns=("reason", "flags", "path", "bytes", "plate", "well", "run", "problem"),
        sort=(("indexed_at", "desc"), ("object_id", "asc")),
        where=Eq("tier", "quarantine"),
    ),
    Search(
        name="flagged",
        title="flagged objects",
        about="Measured objects with a finding.",
        columns=("object_id", "flags", SCORE, "tier", "reason", "plate", "well", "channel", "path", "run"),
        sort=((SCORE, "asc"), ("object_id", "asc")),
        where=FLAGGED,
    ),
    Search(
        name="corrected",
        title="corrected by a person",
        about="Objects whose tier a person decided, with who and why.",
        columns=("object_id", "tier", "why", "corrected_by", "corrected_at", SCORE, "plate", "well", "path", "run"),
        sort=(("corrected_at", "desc"), ("object_id", "asc")),
        where=Exists("corrected_by"),
    ),
    Search(
        name="run-list",
        title="runs",
        about="What every run was made from, and how.",
        columns=("run", "dataset", "function", "parameter_set", "config_digest", "input", "output", "updated_at"),
        sort=(("updated_at", "desc"), ("run", "asc")),
        view="runs",
    ),
)
"""All saved searches."""


def _figures() -> tuple[Panel, ...]:
    told: tuple[tuple[str, str, Value, Filter], ...] = (
        ("objects", "Objects", OBJECTS, EVERYTHING),
        ("mean", "Interestingness", MEAN, EVERYTHING),
        ("failed", "Failed", Value("count", label="in quarantine"), FAILED),
        ("flagged", "Flagged", Value("count", label="with a finding"), FLAGGED),
        ("plates", "Plates", Value("unique_count", "plate", "plates"), EVERYTHING),
        ("runs", "Runs", Value("unique_count", "run", "runs"), EVERYTHING),
    )
    return tuple(
        Panel(
            name=name,
            title=title,
            kind="metric",
            values=(value,),
            where=where,
            place=Place(8 * i, 0, 8, 6),
        )
        for i, (name, title, value, where) in enumerate(told)
    )


OVERVIEW = Dashboard(
    name="overview",
    title="overview",
    about="How much there is, how interesting it is, what went wrong, and what came in.",
    controls=(Control("plate", "Plate"), Control("channel", "Channel"), Control("run", "Run"), Control("tier", "Tier")),
    panels=(
        *_figures(),
        Panel(
            name="tiers",
            title="Share of each tier",
            kind="donut",
            values=(OBJECTS,),
            across=TIERS,
            place=Place(0, 6, 12, 13),
        ),
        Panel(
            name="scores",
            title="How interesting the objects are",
            kind="bars",
            values=(OBJECTS,),
            across=Bins(SCORE, "interestingness", 0.05),
            split=TIERS,
            where=MEASURED,
            place=Place(12, 6, 18, 13),
        ),
        Panel(
            name="by-plate",
            title="Tiers by plate",
            kind="bars",
            values=(OBJECTS,),
            across=PLATES,
            split=TIERS,
            shares=True,
            place=Place(30, 6, 18, 13),
        ),
        Panel(
            name="acquired",
            title="Interestingness by day of acquisition",
            kind="line",
            values=(percentile(5), MEDIAN, percentile(95)),
            across=Dates("acquired_at.date", "acquired", "1d"),
            where=MEASURED,
            place=Place(0, 19, 24, 12),
        ),
        Panel(
            name="scored",
            title="Interestingness by day of scoring",
            kind="line",
            values=(percentile(5), MEDIAN, percentile(95)),
            across=Dates("scored_at.date", "scored", "1d"),
            where=MEASURED,
            place=Place(24, 19, 24, 12),
        ),
        Panel(
            name="flags",
            title="Findings",
            kind="rows",
            values=(OBJECTS,),
            across=FLAGS,
            split=TIERS,
            place=Place(0, 31, 16, 13),
        ),
        Panel(
            name="failures",
            title="Failures by day of measuring",
            kind="bars",
            values=(OBJECTS,),
            across=Dates("measured_at.date", "measured", "1d"),
            split=FLAGS,
            where=FAILED,
            place=Place(16, 31, 16, 13),
        ),
        Panel(
            name="reasons",
            title="Why objects failed",
            kind="table",
            values=(OBJECTS,),
            across=Terms("reason", "reason", 20),
            where=FAILED,
            place=Place(32, 31, 16, 13),
        ),
        Panel(
            name="ingest",
            title="Records received by the server, per hour (obeys the time range above)",
            kind="bars",
            values=(OBJECTS,),
            across=Dates("indexed_at", "received", "1h"),
            split=Terms("run", "run", 10),
            view="ingest",
            place=Place(0, 44, 48, 11),
        ),
    ),
)


def _heat_map(name: str, title: str, value: Value, *, place: Place, span: tuple[float, float] | None = None) -> Panel:
    return Panel(
        name=name,
        title=title,
        kind="heatmap",
        values=(value,),
        across=WELL_COLUMNS,
        split=WELL_ROWS,
        span=span,
        place=place,
    )


def _feature_maps() -> tuple[Panel, ...]:
    return tuple(
        _heat_map(
            name.lower().replace("_", "-"),
            title,
            Value("median", f"features.{name}", "median", decimals=3),
            place=Place(16 * (i % 3), 27 + 13 * (i // 3), 16, 13),
        )
        for i, (name, title) in enumerate(HEAT_MAPS.items())
    )


PLATE = Dashboard(
    name="plate",
    title="plate",
    about="Wells of one plate, by score and by feature. Choose a plate first: otherwise all lie on each other.",
    controls=(
        Control("plate", "Plate", single=True),
        Control("channel", "Channel"),
        Control("run", "Run", single=True),
    ),
    panels=(
        _heat_map("score", "Interestingness", MEDIAN, place=Place(0, 0, 24, 16), span=(0.0, 1.0)),
        _heat_map("count", "Objects", OBJECTS, place=Place(24, 0, 12, 16)),
        Panel(
            name="tiers",
            title="Tiers",
            kind="donut",
            values=(OBJECTS,),
            across=TIERS,
            place=Place(36, 0, 12, 16),
        ),
        Panel(
            name="channels",
            title="Interestingness by channel",
            kind="table",
            values=(OBJECTS, *SPREAD),
            across=Terms("channel", "channel", 20, "name", descending=False),
            where=MEASURED,
            place=Place(0, 16, 24, 11),
        ),
        Panel(
            name="flags",
            title="Findings by row of the plate",
            kind="bars",
            values=(OBJECTS,),
            across=WELL_ROWS,
            split=FLAGS,
            where=Exists("flags"),
            place=Place(24, 16, 24, 11),
        ),
        *_feature_maps(),
    ),
)

COMPARISON = Dashboard(
    name="comparison",
    title="runs",
    about="Runs side by side: score, tiers, failures and findings of each.",
    controls=(Control("dataset", "Data set"), Control("run", "Run"), Control("plate", "Plate")),
    panels=(
        Panel(
            name="percentiles",
            title="Interestingness of each run, by percentile",
            kind="groups",
            values=SPREAD,
            across=RUNS,
            where=MEASURED,
            place=Place(0, 0, 28, 14),
        ),
        Panel(
            name="tiers",
            title="Tiers of each run",
            kind="rows",
            values=(OBJECTS,),
            across=RUNS,
            split=TIERS,
            shares=True,
            place=Place(28, 0, 20, 14),
        ),
        Panel(
            name="failures",
            title="Failures of each run",
            kind="rows",
            values=(OBJECTS,),
            across=RUNS,
            split=FLAGS,
            where=FAILED,
            place=Place(0, 14, 24, 13),
        ),
        Panel(
            name="flags",
            title="Findings of each run",
            kind="rows",
            values=(OBJECTS,),
            across=RUNS,
            split=FLAGS,
            where=FLAGGED,
            place=Place(24, 14, 24, 13),
        ),
        Panel(
            name="numbers",
            title="In numbers",
            kind="table",
            values=(
                OBJECTS,
                MEAN,
                *SPREAD,
                Value("unique_count", "plate", "plates"),
                Value("max", "scored_at.date", "last scored"),
            ),
            across=RUNS,
            place=Place(0, 27, 48, 12),
        ),
        Panel(
            name="settings",
            title="Settings that the records were made with",
            kind="table",
            values=(OBJECTS, MEDIAN),
            across=RUNS,
            split=Terms("parameter_set", "parameter set", 10),
            place=Place(0, 39, 48, 11),
        ),
    ),
)

WORST = Dashboard(
    name="look",
    title="images to look at",
    about="The least interesting, the flagged and the unreadable, with thumbnails where these are served.",
    controls=(
        Control("plate", "Plate"),
        Control("channel", "Channel"),
        Control("run", "Run"),
        Control("flags", "Flag"),
    ),
    panels=(
        Panel(
            name="worst-table",
            title="The least interesting",
            kind="table",
            values=(Value("min", SCORE, "interestingness", decimals=3),),
            across=Terms("object_id", "image", 50, "value", descending=False),
            split=Terms("path", "path", 1, "name", descending=False),
            where=MEASURED,
            place=Place(0, 0, 20, 22),
        ),
        Listing(name="worst-list", search="worst", place=Place(20, 0, 28, 22)),
        Listing(name="flagged-list", search="flagged", place=Place(0, 22, 48, 18)),
        Listing(name="quarantine-list", search="quarantine", place=Place(0, 40, 48, 16)),
    ),
)

DASHBOARDS = (OVERVIEW, PLATE, COMPARISON, WORST)
"""All dashboards, in the order in which one looks at them."""

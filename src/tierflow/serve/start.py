"""The page at `/`: which runs there are, how their objects were tiered, and some of their best pictures."""

from __future__ import annotations

import base64
import hashlib
import threading
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from markupsafe import Markup

from tierflow import __version__
from tierflow.catalogue.query import Exists, Query, Sort
from tierflow.config import QUARANTINE
from tierflow.errors import InputMissingError, TierflowError
from tierflow.report import words
from tierflow.report.palette import QUARANTINE as QUARANTINE_COLOUR
from tierflow.report.palette import tier_colours
from tierflow.report.templating import environment_of
from tierflow.report.text import counted, printable, share
from tierflow.report.text import score as score_text
from tierflow.stream.batch import LEDGER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Template

    from tierflow.serve.site import Run, Site

PICTURES = 6
MOST_RUNS = 100
_UNTOLD = (None, "", words.TOP_FOLDER)


@dataclass(frozen=True, slots=True)
class Card:
    """One run on the page.

    Attributes:
        number: Its number in addresses.
        name: Name of the run, or of its folder.
        dataset: Name of its data set.
        objects: Its size in words.
        tiers: Name, colour, share in words and percentage of every tier that has objects, best first.
        pictures: Object id, words and score of some of the most interesting objects.
        report: Whether it has a report.
        live: Whether a folder is watched for it, or was.
        note: What is wrong with it, in words.
    """

    number: int
    name: str
    dataset: str = ""
    objects: str = ""
    tiers: Sequence[tuple[str, str, str, float]] = ()
    pictures: Sequence[tuple[str, str, str]] = ()
    report: bool = False
    live: bool = False
    note: str = ""


class StartPage:
    """Makes the page; what it says of a run is computed again only when its catalogue has changed.

    Args:
        site: The runs.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = threading.Lock()
        self._cards: dict[int, tuple[tuple[int, ...], Card]] = {}

    @property
    def policy(self) -> str:
        """What the page may load: thumbnails of this server, and its own style, named by its hash."""
        digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
        return f"img-src 'self'; style-src 'sha256-{digest}'"

    def html(self) -> str:
        """Return the page."""
        runs = self._site.runs()
        cards = [self._card(run) for run in runs[-MOST_RUNS:]][::-1]
        return _template().render(cards=cards, more=len(runs) - len(cards), version=__version__)

    def _card(self, run: Run) -> Card:
        state = _state(run)
        # One at a time: many open pages must not ask the same of a large catalogue at once.
        with self._lock:
            kept = self._cards.get(run.number)
            if kept is None or kept[0] != state:
                kept = self._cards[run.number] = (state, _read(run))
            return kept[1]


def _state(run: Run) -> tuple[int, ...]:
    """Return numbers that change when the run does: tables are replaced by renaming, which changes their folder."""
    names = ("catalogue", "config.yaml", "report.html", LEDGER)
    paths = [run.output / name for name in names]
    times = [path.stat().st_mtime_ns if path.exists() else 0 for path in paths]
    # The ledger of a stream changes all the time; on this page only whether there is one counts.
    return (*times[:-1], bool(times[-1]))


def _read(run: Run) -> Card:
    name = printable(run.output.name)
    report, live = (run.output / "report.html").is_file(), run.has_stream
    try:
        config = run.config()
        name = printable(config.catalogue.run or run.output.name)
        dataset = printable(config.report.title or config.dataset_name)
        tiers = _tiers(run, list(config.tiers))
        total = run.catalogue.count()
        pictures = _pictures(run)
    except InputMissingError:
        return Card(
            run.number, name, report=report, live=live, note="no catalogue yet: the run goes on, or was stopped early"
        )
    except TierflowError as error:
        return Card(run.number, name, report=report, live=live, note=printable(str(error)))
    return Card(run.number, name, dataset, counted(total, "object"), tiers, pictures, report, live)


def _tiers(run: Run, names: list[str]) -> list[tuple[str, str, str, float]]:
    counts = {str(value): count for value, count in run.catalogue.facets("tier", limit=1000)}
    total = sum(counts.values())
    colours = dict(zip(names, tier_colours(len(names), dark=False), strict=True))
    colours[QUARANTINE] = QUARANTINE_COLOUR["light"]
    order = [name for name in colours if name in counts] + [name for name in counts if name not in colours]
    return [
        (
            printable(name),
            colours.get(name, "#888888"),
            share(counts[name], total),
            round(100 * counts[name] / total, 3),
        )
        for name in order
    ]


def _pictures(run: Run) -> list[tuple[str, str, str]]:
    best = Query(
        Exists("interestingness"),
        sort=(Sort("interestingness", descending=True),),
        limit=PICTURES,
        columns=("interestingness", "plate", "well", "channel"),
    )
    return [
        (row["object_id"], _words(row), score_text(row["interestingness"])) for row in run.catalogue.search(best).rows
    ]


def _words(row: dict[str, str | None]) -> str:
    known = [printable(str(row[key])) for key in ("plate", "well", "channel") if row.get(key) not in _UNTOLD]
    return " \u00b7 ".join(known) or printable(str(row["path"]))


@cache
def _style() -> str:
    return files("tierflow.serve").joinpath("templates", "start.css").read_text(encoding="utf-8")


@cache
def _template() -> Template:
    environment = environment_of("tierflow.serve")
    environment.globals["style"] = Markup(_style())  # noqa: S704 - our own file
    return environment.get_template("start.html.j2")

"""What a panel shows, said once: `lens.py` draws it in Kibana, `aggregations.py` asks for the same numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tierflow.catalogue.query import EVERYTHING, Filter

COLUMNS = 48
"""Width of a dashboard's grid."""

Operation = Literal["count", "median", "average", "min", "max", "percentile", "unique_count"]
Kind = Literal["metric", "bars", "rows", "groups", "line", "donut", "heatmap", "table"]
"""`bars` stand upright and `rows` lie, stacked where they are split; `groups` are bars side by side."""

ViewName = Literal["objects", "ingest", "runs"]
"""A data view: the objects, the objects by the time at which the server got them, the runs."""


@dataclass(frozen=True, slots=True)
class Value:
    """A number that a panel shows.

    Attributes:
        operation: What is computed.
        field: Of which field; empty for `count`, which counts objects.
        label: Its name on the page.
        percent: For `percentile`: which, from 0 to 100.
        decimals: Digits after the point.
    """

    operation: Operation
    field: str = ""
    label: str = "objects"
    percent: float = 0
    decimals: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """One group per value of a field.

    Attributes:
        field: The field.
        label: Its name on the page.
        size: Number of groups, at most.
        order: By the value of the field, by the number of objects, or by the panel's first value.
        descending: The greatest first.
    """

    field: str
    label: str
    size: int = 10
    order: Literal["name", "count", "value"] = "count"
    descending: bool = True


@dataclass(frozen=True, slots=True)
class Bins:
    """One group per interval of a number: [k * interval, (k + 1) * interval)."""

    field: str
    label: str
    interval: float


@dataclass(frozen=True, slots=True)
class Dates:
    """One group per hour or day in UTC."""

    field: str
    label: str
    interval: Literal["1h", "1d"]


Bucket: TypeAlias = Terms | Bins | Dates


@dataclass(frozen=True, slots=True)
class Place:
    """A rectangle of the grid, in its cells, from the top left."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A chart.

    Attributes:
        name: Unique within its dashboard; part of ids.
        title: What is seen.
        kind: How it is drawn.
        values: Numbers.
        across: Groups along the axis, columns of a heat map, rows of a table, slices of a donut.
        split: Groups in colours; rows of a heat map.
        where: Which objects.
        view: Data view.
        shares: Stacked to 100 per cent.
        span: For a heat map: values at the ends of the colours; None takes those of the data.
        place: Where it lies.
    """

    name: str
    title: str
    kind: Kind
    values: tuple[Value, ...]
    across: Bucket | None = None
    split: Bucket | None = None
    where: Filter = EVERYTHING
    view: ViewName = "objects"
    shares: bool = False
    span: tuple[float, float] | None = None
    place: Place

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """The groups, outermost first.

        Colours come before bins and moments, so that the most frequent values are those of all objects rather than
        those of each bin.
        """
        order = (self.across, self.split) if isinstance(self.across, Terms) else (self.split, self.across)
        return tuple(bucket for bucket in order if bucket is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A saved search: a list of records.

    Attributes:
        name: Part of its id.
        title: What is listed.
        about: For whom and why.
        columns: Fields that are shown.
        sort: Fields and directions, the first one leading.
        where: Which records.
        view: Data view.
    """

    name: str
    title: str
    about: str
    columns: tuple[str, ...]
    sort: tuple[tuple[str, Literal["asc", "desc"]], ...]
    where: Filter = EVERYTHING
    view: ViewName = "objects"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A saved search on a dashboard."""

    name: str
    search: str
    place: Place


@dataclass(frozen=True, slots=True)
class Control:
    """A choice above a dashboard: one or several values of a field."""

    field: str
    title: str
    single: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """A page of panels.

    Attributes:
        name: Part of its id.
        title: Its name, after that of the catalogue.
        about: What questions it answers.
        panels: Charts and lists.
        controls: Choices above them.
        since: Beginning of the time range that panels of view `ingest` obey when it is opened.
    """

    name: str
    title: str
    about: str
    panels: tuple[Panel | Listing, ...]
    controls: tuple[Control, ...] = ()
    since: str = "now-30d"

    @property
    def charts(self) -> tuple[Panel, ...]:
        """The panels that are charts."""
        return tuple(panel for panel in self.panels if isinstance(panel, Panel))

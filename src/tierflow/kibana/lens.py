"""A panel as Kibana's Lens draws it: pure, a description in, the attributes of a Lens visualization out.

The names and values of every key are those that Kibana 8.9 wrote and that later ones still read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierflow.catalogue.language import format_filter
from tierflow.catalogue.query import EVERYTHING
from tierflow.kibana.panels import Bins, Dates, Terms
from tierflow.report.palette import SEQUENTIAL

if TYPE_CHECKING:
    from tierflow.catalogue.query import Filter
    from tierflow.kibana.panels import Bucket, Kind, Panel, Value

Tree = dict[str, Any]
LAYER = "layer"
LAYER_REFERENCE = f"indexpattern-datasource-layer-{LAYER}"
RECORDS = "___records___"
VISUALIZATIONS: dict[Kind, str] = {
    "metric": "lnsMetric",
    "donut": "lnsPie",
    "heatmap": "lnsHeatmap",
    "table": "lnsDatatable",
}
"""All other kinds are `lnsXY`."""

_SERIES: dict[tuple[Kind, bool], str] = {
    ("bars", False): "bar_stacked",
    ("bars", True): "bar_percentage_stacked",
    ("rows", False): "bar_horizontal_stacked",
    ("rows", True): "bar_horizontal_percentage_stacked",
    ("groups", False): "bar",
    ("line", False): "line",
}


def kql(filters: Filter) -> str:
    """Return a filter in Kibana's query language; empty for everything."""
    return "" if filters == EVERYTHING else format_filter(filters)


def attributes(panel: Panel, *, data_view: str) -> Tree:
    """Return the attributes of a Lens visualization.

    Args:
        panel: What it shows.
        data_view: Id of its data view.
    """
    return {
        "title": panel.title,
        "description": "",
        "type": "lens",
        "visualizationType": VISUALIZATIONS.get(panel.kind, "lnsXY"),
        "references": [{"type": "index-pattern", "id": data_view, "name": LAYER_REFERENCE}],
        "state": {
            "query": {"query": kql(panel.where), "language": "kuery"},
            "filters": [],
            "internalReferences": [],
            "adHocDataViews": {},
            "datasourceStates": {"formBased": {"layers": {LAYER: _layer(panel)}}},
            "visualization": _visualization(panel),
        },
    }


def _layer(panel: Panel) -> Tree:
    groups = {_group_id(panel, bucket): _group(bucket, panel) for bucket in panel.buckets}
    values = {f"v{i}": _value(value) for i, value in enumerate(panel.values)}
    return {
        "columnOrder": [*groups, *values],
        "columns": groups | values,
        "incompleteColumns": {},
        "sampling": 1,
    }


def _group_id(panel: Panel, bucket: Bucket | None) -> str:
    return f"g{panel.buckets.index(bucket)}" if bucket is not None else ""


def _value(value: Value) -> Tree:
    is_moment = value.field.endswith((".date", "_at"))
    column: Tree = {
        "label": value.label,
        "customLabel": True,
        "dataType": "date" if is_moment else "number",
        "operationType": value.operation,
        "isBucketed": False,
        "scale": "ratio",
        "sourceField": value.field or RECORDS,
        "params": {"emptyAsNull": False},
    }
    if value.operation == "percentile":
        column["params"]["percentile"] = value.percent
    if not is_moment:
        column["params"]["format"] = {"id": "number", "params": {"decimals": value.decimals}}
    return column


def _group(bucket: Bucket, panel: Panel) -> Tree:
    column: Tree = {"label": bucket.label, "customLabel": True, "isBucketed": True, "sourceField": bucket.field}
    match bucket:
        case Terms():
            more = {"operationType": "terms", "dataType": _kind_of(bucket), "scale": "ordinal"}
            params = _terms(bucket, panel)
        case Bins(_, _, interval):
            more = {"operationType": "range", "dataType": "number", "scale": "interval"}
            # Kibana rounds the width to a handy number; this many bars of [0, 1] make it the panel's own interval.
            params = {
                "type": "histogram",
                "ranges": [{"from": 0, "to": 1, "label": ""}],
                "maxBars": round(1 / interval),
                "includeEmptyRows": True,
            }
        case Dates(_, _, interval):
            more = {"operationType": "date_histogram", "dataType": "date", "scale": "interval"}
            params = {"interval": interval, "includeEmptyRows": False, "dropPartials": False}
    return column | more | {"params": params}


def _kind_of(bucket: Terms) -> str:
    return "number" if bucket.field in ("row", "column") else "string"


def _terms(bucket: Terms, panel: Panel) -> Tree:
    return {
        "size": bucket.size,
        "orderBy": _order_by(bucket, panel),
        "orderDirection": "desc" if bucket.descending else "asc",
        "otherBucket": False,
        "missingBucket": False,
        "parentFormat": {"id": "terms"},
        "include": [],
        "exclude": [],
        "includeIsRegex": False,
        "excludeIsRegex": False,
    }


def _order_by(bucket: Terms, panel: Panel) -> Tree:
    if bucket.order == "name":
        return {"type": "alphabetical", "fallback": False}
    if bucket.order == "value":
        return {"type": "column", "columnId": "v0"}
    counts = [i for i, value in enumerate(panel.values) if value.operation == "count"]
    return {"type": "column", "columnId": f"v{counts[0]}"}


def _visualization(panel: Panel) -> Tree:
    layer = {"layerId": LAYER, "layerType": "data"}
    values = [f"v{i}" for i in range(len(panel.values))]
    across, split = _group_id(panel, panel.across), _group_id(panel, panel.split)
    match panel.kind:
        case "metric":
            return layer | {"metricAccessor": "v0"}
        case "donut":
            return {"shape": "donut", "layers": [layer | _slices(across, values)]}
        case "heatmap":
            return layer | _heat_map(panel, across=across, split=split)
        case "table":
            return layer | {
                "columns": [{"columnId": name} for name in [across, split, *values] if name],
                "rowHeight": "auto",
                "rowHeightLines": 1,
                "paging": {"enabled": True, "size": 20},
            }
    return _xy(panel, layer, across=across, split=split, values=values)


def _slices(across: str, values: list[str]) -> Tree:
    return {
        "primaryGroups": [across],
        "metrics": values,
        "numberDisplay": "percent",
        "categoryDisplay": "default",
        "legendDisplay": "show",
        "nestedLegend": False,
    }


def _heat_map(panel: Panel, *, across: str, split: str) -> Tree:
    return {
        "shape": "heatmap",
        "xAccessor": across,
        "yAccessor": split,
        "valueAccessor": "v0",
        "legend": {"type": "heatmap_legend", "isVisible": True, "position": "right"},
        "gridConfig": {
            "type": "heatmap_grid",
            "isCellLabelVisible": False,
            "isYAxisLabelVisible": True,
            "isXAxisLabelVisible": True,
            "isYAxisTitleVisible": False,
            "isXAxisTitleVisible": False,
        },
        "palette": {"type": "palette", "name": "custom", "accessor": "v0", "params": _palette(panel.span)},
    }


def _palette(span: tuple[float, float] | None) -> Tree:
    low, high = span or (0, 100)
    step = (high - low) / len(SEQUENTIAL)
    stops = [(colour, round(low + i * step, 6), round(low + (i + 1) * step, 6)) for i, colour in enumerate(SEQUENTIAL)]
    return {
        "name": "custom",
        "progression": "fixed",
        "reverse": False,
        "continuity": "above",
        "rangeType": "number" if span else "percent",
        "rangeMin": low,
        "rangeMax": high,
        "steps": len(SEQUENTIAL),
        "maxSteps": len(SEQUENTIAL),
        # Kibana keeps both: where a colour begins, and where it ends.
        "colorStops": [{"color": colour, "stop": begin} for colour, begin, _ in stops],
        "stops": [{"color": colour, "stop": end} for colour, _, end in stops],
    }


def _xy(panel: Panel, layer: Tree, *, across: str, split: str, values: list[str]) -> Tree:
    series = _SERIES[panel.kind, panel.shares]
    drawn: Tree = layer | {"seriesType": series, "xAccessor": across, "accessors": values}
    if split:
        drawn["splitAccessor"] = split
    return {
        "preferredSeriesType": series,
        "layers": [drawn],
        "legend": {"isVisible": True, "position": "right"},
        "valueLabels": "hide",
        "fittingFunction": "None",
        "axisTitlesVisibilitySettings": {"x": True, "yLeft": len(values) == 1, "yRight": False},
        "tickLabelsVisibilitySettings": {"x": True, "yLeft": True, "yRight": True},
        "gridlinesVisibilitySettings": {"x": False, "yLeft": True, "yRight": True},
        "labelsOrientation": {"x": 0, "yLeft": 0, "yRight": 0},
    }

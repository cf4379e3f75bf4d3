"""Kibana's saved objects of the whole content: data views, saved searches, dashboards and a tag, as NDJSON.

Ids are made from the alias and the names of the parts, so that importing again replaces what is there, and the same
content always gives the same bytes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tierflow.catalogue.elastic.template import runs_alias
from tierflow.catalogue.schema import BASE, TIME_UNIT
from tierflow.config import Elasticsearch
from tierflow.features.base import FeatureSettings
from tierflow.features.image_quality import ImageQuality
from tierflow.kibana import lens
from tierflow.kibana.dashboards import DASHBOARDS, SEARCHES
from tierflow.kibana.panels import Panel
from tierflow.report.plates import row_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tierflow.kibana.panels import Dashboard, Listing, Search

Tree = dict[str, Any]
DEFAULT_ALIAS: str = Elasticsearch().alias
LOCAL_THUMBNAILS = "http://localhost:8600"
"""Where `tierflow serve` gives thumbnails on the machine of the reader."""

CORE_VERSION = "8.8.0"
TYPE_VERSIONS = {"dashboard": "8.9.0", "index-pattern": "8.0.0", "search": "8.0.0", "tag": "8.0.0"}
"""The newest that every Kibana from 8.9 on imports; without them every migration since 6.x would run."""

PANEL_VERSION = "8.9.0"
PLATE_ROWS = 32
_SEARCH_SOURCE = "kibanaSavedObjectMeta.searchSourceJSON.index"


def files(*, alias: str = DEFAULT_ALIAS, thumbnail_url: str | None = None) -> dict[str, str]:
    """Return the text of each NDJSON file by its name.

    Objects and runs are in files of their own: each belongs to one index and can be checked against its template.

    Args:
        alias: Alias of the objects' index.
        thumbnail_url: Address at which thumbnails are served; without one, ids are shown as text.
    """
    stem = stem_of(alias)
    every = saved_objects(alias=alias, thumbnail_url=thumbnail_url)
    runs_only = {object_id(alias, "runs"), object_id(alias, "run-list")}
    runs = [item for item in every if item["id"] in runs_only or item["type"] == "tag"]
    rest = [item for item in every if item["id"] not in runs_only]
    return {f"{stem}.ndjson": ndjson(rest), f"{stem}-runs.ndjson": ndjson(runs)}


def saved_objects(*, alias: str = DEFAULT_ALIAS, thumbnail_url: str | None = None) -> list[Tree]:
    """Return every saved object, those that others refer to first."""
    return [
        _tag(alias),
        *_data_views(alias, thumbnail_url),
        *(_search(search, alias) for search in SEARCHES),
        *(_dashboard(dashboard, alias) for dashboard in DASHBOARDS),
    ]


def ndjson(objects: Iterable[Tree]) -> str:
    """Return one line per object, keys in order."""
    return "".join(f"{_json(item)}\n" for item in objects)


def stem_of(alias: str) -> str:
    """Return what ids and titles begin with.

    >>> stem_of("lab-objects")
    'lab'
    """
    return alias.removesuffix("-objects")


def object_id(alias: str, name: str) -> str:
    """Return the id of a saved object; catalogues with other aliases have others, so that one Kibana can show both."""
    return f"{stem_of(alias)}-{name}"


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _object(kind: str, name: str, attributes: Tree, *, alias: str, references: Iterable[Tree] = ()) -> Tree:
    tagged = [] if kind == "tag" else [_reference("tag", object_id(alias, "tag"), f"tag-ref-{object_id(alias, 'tag')}")]
    return {
        "id": object_id(alias, name),
        "type": kind,
        "attributes": attributes,
        "references": [*references, *(tagged if kind != "index-pattern" else [])],
        "coreMigrationVersion": CORE_VERSION,
        "typeMigrationVersion": TYPE_VERSIONS[kind],
    }


def _reference(kind: str, target: str, name: str) -> Tree:
    return {"type": kind, "id": target, "name": name}


def _tag(alias: str) -> Tree:
    about = "Image quality, interestingness and storage tiers, made by tierflow"
    return _object("tag", "tag", {"name": stem_of(alias), "description": about, "color": "#1f7fb5"}, alias=alias)


def _data_views(alias: str, thumbnail_url: str | None) -> list[Tree]:
    stem = stem_of(alias)
    formats = _json(field_formats(thumbnail_url))
    labels = _json({name: {"customLabel": label} for name, label in field_labels().items()})
    shared = {"title": alias, "fieldFormatMap": formats, "fieldAttrs": labels}
    views: dict[str, Tree] = {
        "objects": {"name": f"{stem} objects", **shared},
        "ingest": {"name": f"{stem} objects by time received", "timeFieldName": "indexed_at", **shared},
        "runs": {"name": f"{stem} runs", "title": runs_alias(alias)},
    }
    empty = {"fields": "[]", "runtimeFieldMap": "{}", "sourceFilters": "[]", "typeMeta": "{}"}
    return [_object("index-pattern", name, empty | attributes, alias=alias) for name, attributes in views.items()]


def builtin_features() -> dict[str, str]:
    """Return the unit by name of the built-in features at default settings."""
    return ImageQuality(FeatureSettings()).units()


def field_formats(thumbnail_url: str | None) -> dict[str, Tree]:
    """Return how Kibana shows the values of fields, by name.

    Rows of plates become letters, shares per cent, sizes bytes, and ids thumbnails where these are served.
    """
    letters = [{"key": str(row + 1), "value": row_name(row)} for row in range(PLATE_ROWS)]
    shares = [name for name in builtin_features() if name.endswith("_share")]
    found: dict[str, Tree] = {
        "bytes": {"id": "bytes", "params": {"pattern": "0,0.[0]b"}},
        "interestingness": {"id": "number", "params": {"pattern": "0.000"}},
        "row": {"id": "static_lookup", "params": {"lookupEntries": letters, "unknownKeyValue": None}},
        **{f"features.{name}": {"id": "percent", "params": {"pattern": "0,0.[00]%"}} for name in shares},
    }
    if thumbnail_url is not None:
        template = f"{thumbnail_url.rstrip('/')}/thumbnail/{{{{rawValue}}}}.png"
        params = {"type": "img", "urlTemplate": template, "labelTemplate": None, "width": "160", "height": "160"}
        found["object_id"] = {"id": "url", "params": params}
    return found


def field_labels() -> dict[str, str]:
    """Return what Kibana calls the fields that have a unit: the unit stands behind the name."""
    columns = {column.name: (column.metadata or {}).get(b"unit", b"").decode() for column in BASE}
    units = columns | {f"features.{name}": unit for name, unit in builtin_features().items()}
    return {name: f"{name} ({unit})" for name, unit in units.items() if unit not in ("", "byte", TIME_UNIT)}


def _search(search: Search, alias: str) -> Tree:
    source = {
        "query": {"query": lens.kql(search.where), "language": "kuery"},
        "filter": [],
        "indexRefName": _SEARCH_SOURCE,
    }
    attributes = {
        "title": f"{stem_of(alias)}: {search.title}",
        "description": search.about,
        "columns": list(search.columns),
        "sort": [list(pair) for pair in search.sort],
        "grid": {"columns": {"object_id": {"width": 200}, "path": {"width": 320}, "reason": {"width": 320}}},
        "hideChart": True,
        "isTextBasedQuery": False,
        "timeRestore": False,
        "kibanaSavedObjectMeta": {"searchSourceJSON": _json(source)},
    }
    reference = _reference("index-pattern", object_id(alias, search.view), _SEARCH_SOURCE)
    return _object("search", search.name, attributes, alias=alias, references=[reference])


def _dashboard(dashboard: Dashboard, alias: str) -> Tree:
    parts = [_panel(panel, alias) for panel in dashboard.panels]
    controls, control_references = _controls(dashboard, alias)
    attributes = {
        "title": f"{stem_of(alias)} {dashboard.title}",
        "description": dashboard.about,
        "panelsJSON": _json([panel for panel, _ in parts]),
        "optionsJSON": _json(
            {
                "useMargins": True,
                "hidePanelTitles": False,
                "syncColors": True,
                "syncCursor": True,
                "syncTooltips": False,
            }
        ),
        "controlGroupInput": controls,
        "timeRestore": True,
        "timeFrom": dashboard.since,
        "timeTo": "now",
        "refreshInterval": {"pause": True, "value": 60_000},
        "version": 1,
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": _json({"query": {"query": "", "language": "kuery"}, "filter": []})
        },
    }
    references = [*(reference for _, reference in parts), *control_references]
    return _object("dashboard", dashboard.name, attributes, alias=alias, references=references)


def _panel(panel: Panel | Listing, alias: str) -> tuple[Tree, Tree]:
    index, place = panel.name, panel.place
    frame: Tree = {
        "version": PANEL_VERSION,
        "panelIndex": index,
        "gridData": {"x": place.x, "y": place.y, "w": place.width, "h": place.height, "i": index},
    }
    if isinstance(panel, Panel):
        view = object_id(alias, panel.view)
        config = {"attributes": lens.attributes(panel, data_view=view), "enhancements": {}}
        drawn = frame | {"type": "lens", "title": panel.title, "embeddableConfig": config}
        return drawn, _reference("index-pattern", view, f"{index}:{lens.LAYER_REFERENCE}")
    name = f"panel_{index}"
    # -1: as high as its content, so that thumbnails aren't cut.
    shown = frame | {"type": "search", "panelRefName": name, "embeddableConfig": {"enhancements": {}, "rowHeight": -1}}
    return shown, _reference("search", object_id(alias, panel.search), f"{index}:{name}")


def _controls(dashboard: Dashboard, alias: str) -> tuple[Tree, list[Tree]]:
    panels: dict[str, Tree] = {}
    references = []
    for order, control in enumerate(dashboard.controls):
        panels[control.field] = {
            "type": "optionsListControl",
            "order": order,
            "width": "medium",
            "grow": True,
            "explicitInput": {
                "id": control.field,
                "fieldName": control.field,
                "title": control.title,
                "singleSelect": control.single,
                "selectedOptions": [],
                "enhancements": {},
            },
        }
        name = f"controlGroup_{control.field}:optionsListDataView"
        references.append(_reference("index-pattern", object_id(alias, "objects"), name))
    ignored = ("ignoreFilters", "ignoreQuery", "ignoreTimerange", "ignoreValidations")
    settings = {
        "controlStyle": "oneLine",
        "chainingSystem": "HIERARCHICAL",
        "ignoreParentSettingsJSON": _json(dict.fromkeys(ignored, False)),
        "panelsJSON": _json(panels),
    }
    return settings, references

"""Check saved objects without a Kibana: its import accepts dashboards that break when somebody opens them.

Panels are JSON inside a string there, which nothing looks into before. `problems` does: versions, references, the grid,
every column of every Lens layer, and that each field exists in the index with a type that fits what is done with it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Tree = dict[str, Any]
NEWEST = {"dashboard": (8, 9, 0), "index-pattern": (8, 0, 0), "search": (8, 0, 0), "tag": (8, 0, 0)}
"""Newest version of each type that Kibana 8.9 knows."""

CORE = (8, 8, 0)
COLUMNS = 48
NUMBERS = frozenset({"double", "float", "long", "integer", "short", "byte"})
GROUPS = NUMBERS | {"keyword", "boolean", "date"}
FITS: dict[str, frozenset[str]] = {
    "terms": GROUPS,
    "unique_count": GROUPS,
    "range": NUMBERS,
    "median": NUMBERS,
    "average": NUMBERS,
    "percentile": NUMBERS,
    "min": NUMBERS | {"date"},
    "max": NUMBERS | {"date"},
    "date_histogram": frozenset({"date"}),
}
"""Types of fields by Lens operation; other operations aren't used."""

SERVERS_OWN = ("version", "updated_at", "created_at", "created_by", "updated_by", "namespaces", "originId", "managed")
ATTRIBUTES = {
    "dashboard": {
        "title",
        "description",
        "panelsJSON",
        "optionsJSON",
        "controlGroupInput",
        "timeRestore",
        "timeFrom",
        "timeTo",
        "refreshInterval",
        "version",
        "hits",
        "kibanaSavedObjectMeta",
    },
    "search": {
        "title",
        "description",
        "columns",
        "sort",
        "grid",
        "hideChart",
        "isTextBasedQuery",
        "timeRestore",
        "kibanaSavedObjectMeta",
    },
    "index-pattern": {
        "title",
        "name",
        "timeFieldName",
        "fieldFormatMap",
        "fieldAttrs",
        "fields",
        "runtimeFieldMap",
        "sourceFilters",
        "typeMeta",
    },
    "tag": {"name", "description", "color"},
}
"""Attributes that every Kibana from 8.9 on takes, by type."""

_VISUALIZATIONS = {"lnsXY", "lnsMetric", "lnsPie", "lnsHeatmap", "lnsDatatable"}
_RECORDS = "___records___"
_DRAWN = re.compile(r".*(Accessor|accessor|columnId)$")
_DRAWN_LISTS = {"accessors", "metrics", "primaryGroups"}
_KQL_FIELD = re.compile(r"(?:^|[\s(])([A-Za-z_][\w.]*)(?=\s*(?::|<|>))")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


def problems(text: str, *, mapping: Mapping[str, Any], alias: str) -> list[str]:
    """Return what would break in Kibana, one sentence each; empty when all is well.

    Args:
        text: Saved objects as NDJSON.
        mapping: Body of the index (or its template) that the data views read.
        alias: Alias that they must cover.
    """
    return _Check(text, fields=_fields(mapping["mappings"]["properties"]), alias=alias).found


def _fields(properties: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, spec in properties.items():
        path = f"{prefix}{name}"
        if "properties" in spec:
            found |= _fields(spec["properties"], f"{path}.")
        elif spec.get("type") != "object":
            found[path] = spec["type"]
            found |= {f"{path}.{sub}": inner["type"] for sub, inner in spec.get("fields", {}).items()}
    return found


class _Check:
    def __init__(self, text: str, *, fields: Mapping[str, str], alias: str) -> None:
        self.found: list[str] = []
        self._fields, self._alias = fields, alias
        objects = [json.loads(line) for line in text.splitlines() if line]
        self._ids = Counter((item["type"], item["id"]) for item in objects)
        self._say("file", "the same id twice", any(number > 1 for number in self._ids.values()))
        checks: dict[str, Callable[[str, Tree], None]] = {
            "dashboard": self._dashboard,
            "search": self._search,
            "index-pattern": self._data_view,
        }
        for item in objects:
            where = f"{item['type']}/{item['id']}"
            self._envelope(where, item)
            if item["type"] in checks:
                checks[item["type"]](where, item)

    def _say(self, where: str, what: str, is_wrong: bool) -> None:
        if is_wrong:
            self.found.append(f"{where}: {what}")

    def _envelope(self, where: str, item: Tree) -> None:
        kind = item["type"]
        if kind not in NEWEST:
            self._say(where, f"type {kind} isn't one of {', '.join(NEWEST)}", True)
            return
        for key, newest in (("typeMigrationVersion", NEWEST[kind]), ("coreMigrationVersion", CORE)):
            stated = _version(item.get(key))
            self._say(where, f"{key} is {item.get(key)}, expected at most {newest}", stated is None or stated > newest)
        own = [key for key in SERVERS_OWN if key in item]
        self._say(where, f"{', '.join(own)} is for Kibana to write", bool(own))
        unknown = set(item["attributes"]) - ATTRIBUTES[kind]
        self._say(where, f"attributes {', '.join(sorted(unknown))} aren't known to every version", bool(unknown))
        names = Counter(reference["name"] for reference in item["references"])
        self._say(where, "two references of one name", any(number > 1 for number in names.values()))
        for reference in item["references"]:
            missing = (reference["type"], reference["id"]) not in self._ids
            self._say(where, f"reference {reference['name']} leads to nothing: {reference['id']}", missing)

    def _inner(self, where: str, text: str) -> Any:
        try:
            return json.loads(text)
        except (TypeError, ValueError):
            self._say(where, "isn't JSON in a string", True)
            return {}

    def _field(self, where: str, name: str, operation: str = "") -> None:
        kind = self._fields.get(name)
        self._say(where, f"no field {name} in the index", kind is None)
        if kind is not None and operation:
            self._say(where, f"{operation} of {name}, which is {kind}", kind not in FITS.get(operation, frozenset()))

    def _query(self, where: str, query: Tree) -> None:
        self._say(where, f"query language {query['language']}, expected kuery", query["language"] != "kuery")
        for name in _KQL_FIELD.findall(_QUOTED.sub('""', query["query"])):
            self._field(f"{where}: query", name)

    def _data_view(self, where: str, item: Tree) -> None:
        attributes = item["attributes"]
        self._say(where, f"title {attributes['title']} isn't {self._alias}", attributes["title"] != self._alias)
        if "timeFieldName" in attributes:
            self._field(where, attributes["timeFieldName"], "date_histogram")
        for key in ("fieldFormatMap", "fieldAttrs"):
            for name in self._inner(f"{where}: {key}", attributes.get(key, "{}")):
                self._field(f"{where}: {key}", name)

    def _search(self, where: str, item: Tree) -> None:
        attributes = item["attributes"]
        source = self._inner(where, attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])
        named = {reference["name"] for reference in item["references"]}
        self._say(where, "its data view isn't among its references", source.get("indexRefName") not in named)
        self._query(where, source["query"])
        for name in attributes["columns"]:
            self._field(where, name)
        for name, direction in attributes["sort"]:
            self._field(where, name, "terms")
            self._say(where, f"direction {direction}", direction not in ("asc", "desc"))

    def _dashboard(self, where: str, item: Tree) -> None:
        attributes = item["attributes"]
        targets = {reference["name"]: reference for reference in item["references"]}
        panels = self._inner(f"{where}: panelsJSON", attributes["panelsJSON"]) or []
        self._inner(f"{where}: optionsJSON", attributes["optionsJSON"])
        self._grid(where, [panel["gridData"] for panel in panels])
        indices = [panel["panelIndex"] for panel in panels]
        self._say(where, "the same panelIndex twice", len(set(indices)) < len(indices))
        used = {name for name in targets if name.startswith("tag-ref-")}
        for panel in panels:
            used |= self._panel(f"{where}: panel {panel['panelIndex']}", panel, targets)
        used |= self._controls(where, attributes.get("controlGroupInput"), targets)
        lost = set(targets) - used
        self._say(where, f"references that nothing uses: {', '.join(sorted(lost))}", bool(lost))

    def _grid(self, where: str, places: Sequence[Tree]) -> None:
        taken: dict[tuple[int, int], str] = {}
        for place in places:
            own = f"{where}: panel {place['i']}"
            self._say(own, "outside the grid", place["x"] < 0 or place["y"] < 0 or place["x"] + place["w"] > COLUMNS)
            self._say(own, "has no size", place["w"] < 1 or place["h"] < 1)
            cells = _cells(place)
            others = {taken[cell] for cell in cells if cell in taken}
            self._say(own, f"lies on {', '.join(sorted(others))}", bool(others))
            taken.update(dict.fromkeys(cells, str(place["i"])))

    def _panel(self, where: str, panel: Tree, targets: Mapping[str, Tree]) -> set[str]:
        index = panel["panelIndex"]
        self._say(where, "gridData.i is another", panel["gridData"]["i"] != index)
        if panel["type"] == "search":
            name = f"{index}:{panel.get('panelRefName')}"
            self._say(where, f"no reference {name}", targets.get(name, {}).get("type") != "search")
            return {name}
        self._say(where, f"type {panel['type']}", panel["type"] != "lens")
        attributes = panel["embeddableConfig"]["attributes"]
        kind = attributes["visualizationType"]
        self._say(where, f"visualization {kind}", kind not in _VISUALIZATIONS)
        self._query(where, attributes["state"]["query"])
        own = {reference["name"]: reference["id"] for reference in attributes["references"]}
        names: set[str] = set()
        columns: Tree = {}
        for layer_id, layer in attributes["state"]["datasourceStates"]["formBased"]["layers"].items():
            name = f"indexpattern-datasource-layer-{layer_id}"
            outer = targets.get(f"{index}:{name}", {}).get("id")
            self._say(where, f"no reference {index}:{name} of the dashboard", outer is None)
            self._say(where, f"reference {name} of the panel is another than the dashboard's", own.get(name) != outer)
            self._layer(where, layer)
            columns |= layer["columns"]
            names.add(f"{index}:{name}")
        drawn = set(_drawn(attributes["state"]["visualization"]))
        odd = drawn ^ set(columns)
        self._say(where, f"drawn or defined alone: {', '.join(sorted(odd))}", bool(odd))
        return names

    def _layer(self, where: str, layer: Tree) -> None:
        columns, order = layer["columns"], layer["columnOrder"]
        self._say(where, "columnOrder isn't the columns", sorted(order) != sorted(columns))
        bucketed = [columns[name]["isBucketed"] for name in order if name in columns]
        self._say(where, "values before groups in columnOrder", bucketed != sorted(bucketed, reverse=True))
        for name, column in columns.items():
            own = f"{where}: column {name}"
            operation, field = column["operationType"], column["sourceField"]
            if operation == "count":
                self._say(own, f"count of {field}, expected {_RECORDS}", field != _RECORDS)
            else:
                self._say(own, f"operation {operation} isn't one of {', '.join(FITS)}", operation not in FITS)
                self._field(own, field, operation)
            grouping = operation in ("terms", "range", "date_histogram")
            self._say(own, "isBucketed doesn't fit the operation", column["isBucketed"] != grouping)
            by = column["params"].get("orderBy", {})
            lost = by.get("type") == "column" and (
                by["columnId"] not in columns or columns[by["columnId"]]["isBucketed"]
            )
            self._say(own, f"ordered by {by.get('columnId')}, which is no value", lost)

    def _controls(self, where: str, group: Tree | None, targets: Mapping[str, Tree]) -> set[str]:
        used = set()
        for name, control in self._inner(f"{where}: controls", (group or {}).get("panelsJSON", "{}")).items():
            own = f"{where}: control {name}"
            self._field(own, control["explicitInput"]["fieldName"], "terms")
            self._say(own, "explicitInput.id is another", control["explicitInput"]["id"] != name)
            reference = f"controlGroup_{name}:optionsListDataView"
            self._say(own, f"no reference {reference}", reference not in targets)
            used.add(reference)
        return used


def _version(text: Any) -> tuple[int, ...] | None:
    return tuple(map(int, text.split("."))) if isinstance(text, str) and re.fullmatch(r"\d+\.\d+\.\d+", text) else None


def _cells(place: Tree) -> set[tuple[int, int]]:
    across, down = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
    return {(x, y) for x in across for y in down}


def _drawn(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if _DRAWN.fullmatch(key) and isinstance(value, str):
                yield value
            elif key in _DRAWN_LISTS:
                yield from value
            else:
                yield from _drawn(value)
    elif isinstance(node, list):
        for item in node:
            yield from _drawn(item)

"""A catalogue so small that its answers can be worked out in plain Python: what the contract suite compares with."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tierflow.catalogue.query import TIE_BREAKERS, And, Contains, Eq, Exists, Filter, In, Not, Or, Prefix, Range, Sort
from tierflow.catalogue.schema import catalogue_schema, metadata_field
from tierflow.config import MetadataField
from tierflow.io.identity import display_path, object_id

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from tierflow.catalogue.fields import Field, Fields

Row = dict[str, Any]
FEATURES = {"snr": "", "mid_band_share": "", "ImageQuality_MeanIntensity": ""}
METADATA = {
    "compound": MetadataField(about="what was added", unit="as ordered"),
    "dose": MetadataField(type="number", about="how much of it", unit="uM"),
    "passage": MetadataField(type="integer", about="how often the cells were split"),
    "seeded_on": MetadataField(type="date", about="when the cells were seeded"),
}
RUN = "planted-1"
PATHS = [
    b"Plate 1/A01_s1.tif",
    b"plate 1/A01_s2.tif",
    b"PLATE 1/a01_s10.tif",
    b"Plate 1/B01_s1.tif",
    "größe/Ünïcode_Σ.tif".encode(),
    "größe/日本語_🔬.tif".encode(),
    b"caf\xe9/\xff\xfe.tif",
    b"with space/and 'quotes' \"double\".tif",
    b"with\nnewline/and\ttab.tif",
    b"with,comma;semicolon.tif",
    b"100%_done/under_score*star?.tif",
    b"back\\slash/[brackets].tif",
    b"null.tif",
    b"NULL",
    b"or",
    b"=1+1.tif",
    b" leading and trailing .tif",
    b"z_last/D12.tif",
]
_SCORES = [
    0.5,
    0.5,
    0.5,
    None,
    0.0,
    1.0,
    None,
    0.25,
    0.5,
    0.1,
    None,
    0.75,
    0.5,
    1 / 3,
    0.9999999999999999,
    0.5,
    0.7,
    0.3,
]
_FLAGS: list[list[str] | None] = [
    [],
    ["saturated"],
    ["blank", "saturated"],
    ["truncated"],
    [],
    ["blank"],
    None,
    ["Blank"],
]
_SNR = [5.0, None, -0.5, 1e300, 1e-300, 5.0, 2.0, None, 5.000000000000001]
_BYTES = [0, 2**53 + 1, 2**53, 10_240, 10_240, 7]
# Letters whose cases are special: sharp s, dotted I, Kelvin and Angstrom sign, final sigma; and empty text.
_COMPOUNDS = [
    "Stra\u1e9ee",
    "straße",
    "\u0130stanbul",
    "5 \u212a",
    "\u212b",
    "\u039f\u0394\u039f\u03a3",
    "\u03bf\u03b4\u03bf\u03c2",
    "",
    None,
    "a.b*c?[d]|\\e",
]
_DOSES = [0.0, -0.0, None, 1e-9, 2.5, -2.5, 10.0]
_PASSAGES = [None, -3, 0, 2**40, 12]
_DAYS = ["2024-02-29", None, "2024-02-29T07:00:00Z", "2023-12-31"]


def planted_records() -> pa.Table:
    """Return records with ties, nulls, both cases, lists, numbers at the limits, and names that break naive code.

    Features are `snr`, `mid_band_share` and `ImageQuality_MeanIntensity`, the last without any value. Fields of the
    data set's own table are `METADATA`. All are of the run `RUN`.
    """
    rows = [_record(i, path) for i, path in enumerate(PATHS)]
    metadata = [metadata_field(name, declared) for name, declared in METADATA.items()]
    return pa.Table.from_pylist(rows, schema=catalogue_schema(FEATURES, metadata=metadata))


def _record(i: int, path: bytes) -> Row:
    score = _SCORES[i]
    flags = _FLAGS[i % len(_FLAGS)]
    details = [{"flag": f, "feature": "snr", "value": 0.5, "limit": 1.0, "text": "low"} for f in flags or []]
    shown = display_path(path)
    return {
        "object_id": object_id("planted", path),
        "path": shown,
        "path_bytes": path,
        "dataset": "planted",
        "run": RUN,
        "unit_id": shown,
        "status": "failed" if score is None else "ok",
        "reason": "the file ends early: Truncated" if score is None else None,
        "interestingness": score,
        "tier": "quarantine" if score is None else "DCBA"[min(3, int(score * 4))],
        "flags": flags,
        "flag_details": details,
        "placement": "placed" if i % 3 else "kept",
        "destination": f"tiers/x/{shown}" if i % 3 else None,
        "bytes": _BYTES[i % len(_BYTES)],
        "plate": ["Plate", "plate", "PLATE", None][i % 4],
        "well": f"{'ABH'[i % 3]}{i % 12 + 1:02d}",
        "row": i % 3 + 1,
        "column": None if i % 5 == 0 else i % 12 + 1,
        "site": str(i),
        "acquired_at": [f"2024-03-{i + 1:02d}", "2024-03-05T10:00:00", None][i % 3],
        "planes": 0 if score is None else 1,
        "snr": _SNR[i % len(_SNR)],
        "mid_band_share": None if score is None else round(score / 7, 6),
        "measured_at": f"2026-11-{i + 1:02d}T08:15:30.123Z",
        "scored_at": f"2026-11-20T08:15:{i % 3:02d}.000Z",
        "corrected_at": f"2026-11-21T00:00:00.{i:03d}Z" if i % 3 else None,
        "metadata.compound": _COMPOUNDS[i % len(_COMPOUNDS)],
        "metadata.dose": _DOSES[i % len(_DOSES)],
        "metadata.passage": _PASSAGES[i % len(_PASSAGES)],
        "metadata.seeded_on": _DAYS[i % len(_DAYS)],
    }


def fulfils(row: Row, filters: Filter, fields: Fields) -> bool:
    """Tell whether a row fulfils checked filters, by the rules in `tierflow.catalogue.query`."""
    match filters:
        case And(parts):
            return all(fulfils(row, part, fields) for part in parts)
        case Or(parts):
            return any(fulfils(row, part, fields) for part in parts)
        case Not(part):
            return not fulfils(row, part, fields)
    value = row[fields.find(filters.field).column]
    values = value if isinstance(value, list) else [value]
    return any(part is not None and _matches(part, filters) for part in values)


def _matches(value: Any, leaf: Eq | In | Range | Exists | Prefix | Contains) -> bool:
    match leaf:
        case Eq(_, wanted):
            return bool(value == wanted)
        case In(_, several):
            return value in several
        case Prefix(_, text):
            return bool(value.startswith(text))
        case Contains(_, text):
            return lowered(text) in lowered(value)
        case Range(_, gt, gte, lt, lte):
            return (
                (gt is None or value > gt)
                and (gte is None or value >= gte)
                and (lt is None or value < lt)
                and (lte is None or value <= lte)
            )
    return True


def lowered(text: str) -> str:
    """Return text in lower case letter by letter, so that it stays as long as it is."""
    return "".join("i" if letter == "\u0130" else letter.lower() for letter in text)


def ordered(rows: Sequence[Row], sort: Sequence[Sort], fields: Fields) -> list[Row]:
    """Return rows in the order of the sort keys: nulls last, ties by `TIE_BREAKERS`."""
    done = sorted(rows, key=lambda row: [(row[name] is None, row[name] or "") for name in TIE_BREAKERS])
    for key in reversed(sort):
        column = fields.find(key.field).column
        present = [row for row in done if row[column] is not None]
        # Equal elements keep their order with reverse, too.
        present.sort(key=partial(_value_of, column=column), reverse=key.descending)
        done = present + [row for row in done if row[column] is None]
    return done


def _value_of(row: Row, column: str) -> Any:
    return row[column]


def random_filter(rng: random.Random, rows: Sequence[Row], fields: Fields, *, depth: int = 3) -> Filter:
    """Invent checked filters about fields and values that the rows have."""
    choice = rng.random()
    if depth > 0 and choice < 0.4:
        parts = tuple(random_filter(rng, rows, fields, depth=depth - 1) for _ in range(rng.randint(2, 3)))
        return And(parts) if choice < 0.2 else Or(parts)
    if depth > 0 and choice < 0.55:
        return Not(random_filter(rng, rows, fields, depth=depth - 1))
    field = rng.choice([f for f in fields.values() if f.kind != "opaque"])
    return _random_leaf(rng, rows, field)


def _random_leaf(rng: random.Random, rows: Sequence[Row], field: Field) -> Filter:
    known = [part for row in rows for part in _parts(row[field.column])]
    if not known:
        return Exists(field.name)
    value = rng.choice(known)
    makers: list[Callable[[], Filter]] = [
        lambda: Eq(field.name, value),
        lambda: In(field.name, tuple(rng.sample(known, min(3, len(known))))),
        lambda: Exists(field.name),
    ]
    if field.kind in ("text", "texts"):
        cut = rng.randint(0, len(value))
        makers += [lambda: Prefix(field.name, value[:cut]), lambda: Contains(field.name, value[cut:].upper())]
    if field.kind != "texts":
        bound = rng.choice(["gt", "gte", "lt", "lte"])
        makers += [lambda: Range(field.name, **{bound: value})] * 2
    return rng.choice(makers)()


def _parts(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if value is None else [value]

"""Synthesise the tables of a run, without an image being opened, for tests of the steps that come after.

The values are plausible: focus varies over the plate, channels differ in brightness, some objects failed, some carry
flags, tiers follow the interestingness. The same arguments always give the same tables.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tierflow import tables
from tierflow.config import QUARANTINE, Config
from tierflow.config_io import dump
from tierflow.io.atomic import write_text
from tierflow.io.identity import object_id
from tierflow.steps import index

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

FEATURES = {
    "ImageQuality_PowerLogLogSlope": "",
    "ImageQuality_FocusScore": "",
    "ImageQuality_Correlation_20": "",
    "ImageQuality_MeanIntensity": "",
    "ImageQuality_PercentMaximal": "%",
    "mid_band_share": "",
    "snr": "",
    "noise_sigma": "count",
    "background": "count",
    "saturated_share": "",
    "sharpness": "",
    "structure_z": "",
    "object_z": "",
    "black_share": "",
    "finite_share": "",
    "illumination_ratio": "",
}
"""Unit by name of the features that `make_run` invents."""

FAILURES = (
    ("empty_file", "the file is empty (0 bytes): copy it again from the microscope"),
    ("truncated", "the file ends after 1,024 of 2,048 bytes: copy it again from the microscope"),
    ("unreadable", "not an image: the file starts with b'hello wo'"),
)
SHAPE = (64, 80)
PER_PLATE = 96 * 2


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What `make_run` writes.

    Attributes:
        objects: Number of objects (files).
        shard_objects: Objects per shard, at most.
        failed_share: Share of objects that couldn't be read, from 0 to 1; at least one when above 0.
        channels: Names of the channels, taken in turn.
        planes: Planes per object that was read.
        unit: `file` or `site`: which objects share one decision.
        seed: Of all random numbers.
        histogram: Fill the 256-bin histograms (1 kB per plane).
        placed: Write the place tables too; False is a run that stopped after `policy`.
        catalogue: Write the catalogue as well, by the step `index`; needs `placed`.
        images: Write the images as well (8-bit PNG, 64 x 80), so that a report finds something to show.
    """

    objects: int = 96
    shard_objects: int = 40
    failed_share: float = 0.05
    channels: tuple[str, ...] = ("DAPI", "GFP")
    planes: int = 1
    unit: str = "file"
    seed: int = 0
    histogram: bool = False
    placed: bool = True
    catalogue: bool = False
    images: bool = False


@dataclass(frozen=True, slots=True)
class _Objects:
    """Everything known about the objects of a run, column by column, shape (object,)."""

    path: list[str]
    object_id: list[str]
    unit_id: list[str]
    names: dict[str, list[Any]]
    failure: NDArray[np.int64]  # index into FAILURES, -1 when read
    interestingness: NDArray[np.float64]  # NaN when failed
    features: dict[str, NDArray[np.float64]]


def make_run(folder: Path, **recipe: Any) -> Path:
    """Write the tables of a whole run: scan, extract, baseline, score, policy, place and its configuration.

    Args:
        folder: Where to write; the input is `folder/input`, the output `folder/output`.
        **recipe: Fields of `Recipe`.

    Returns:
        The output folder.
    """
    plan = Recipe(**recipe)
    output, source = folder / "output", folder / "input"
    config = Config(input=str(source), dataset="synthetic")
    objects = _invent(plan, dataset=config.dataset_name)
    stamp = {"input": str(source), "dataset": config.dataset_name}
    shards = []
    for shard, first in enumerate(range(0, plan.objects, plan.shard_objects)):
        rows = range(first, min(first + plan.shard_objects, plan.objects))
        name = f"{shard:05d}.parquet"
        shards.append({"name": f"{shard:05d}", "objects": len(rows)})
        tables.write(output / "scan" / "shards" / name, _scan(objects, rows), **stamp)
        tables.write(output / "extract" / name, _extract(objects, rows, plan), **stamp, at=_at(shard, 8))
        tables.write(output / "score" / name, _score(objects, rows), **stamp, at=_at(shard, 9))
        if plan.placed:
            tables.write(output / "place" / name, _place(objects, rows, output), **stamp)
    tables.write(output / "baseline.parquet", _baseline(objects), **stamp)
    tables.write(output / "history.parquet", tables.history_schema(()).empty_table(), **stamp)
    write_text(output / "policy.json", json.dumps({"cuts": _CUTS}, indent=1))
    summary = {"objects": plan.objects, "input": str(source), "dataset": config.dataset_name, "shards": shards}
    write_text(output / "scan" / "summary.json", json.dumps(summary, indent=1))
    write_text(output / "config.yaml", dump(config))
    if plan.catalogue:
        index_run(output)
    if plan.images:
        _write_images(objects, source)
    return output


def _at(shard: int, hour: int) -> str:
    """Return when a step wrote a shard's table: a day per shard."""
    return f"2024-03-{shard % 28 + 1:02d}T{hour:02d}:00:00.000Z"


def index_run(output: Path) -> None:
    """Run the step `index` on every shard of a run."""
    for shard in sorted((output / "scan" / "shards").glob("*.parquet")):
        index.run(
            shard=shard,
            extract=output / "extract" / shard.name,
            score=output / "score" / shard.name,
            place=output / "place" / shard.name,
            config=output / "config.yaml",
            catalogue=output / "catalogue" / shard.name,
            receipt=output / "index" / shard.with_suffix(".json").name,
        )


_CUTS = [
    {"tier": tier, "minimum": minimum, "last_unit": None}
    for tier, minimum in (("A", 0.75), ("B", 0.5), ("C", 0.25), ("D", 0.0))
]


def _invent(plan: Recipe, *, dataset: str) -> _Objects:
    rng = np.random.default_rng(plan.seed)
    index = np.arange(plan.objects)
    channels = len(plan.channels)
    field = index // channels
    plate, well, site = field // PER_PLATE, (field // 2) % 96, field % 2 + 1
    row, column = well // 12 + 1, well % 12 + 1
    names = _names(plate=plate, row=row, column=column, site=site, channel=index % channels, channels=plan.channels)
    path = [
        f"{p}/{p}_{w}_s{s}_w{c}.png"
        for p, w, s, c in zip(names["plate"], names["well"], names["site"], index % channels + 1, strict=True)
    ]
    keys = path if plan.unit == "file" else [f"{p}/{s}" for p, s in zip(names["plate"], field, strict=True)]
    failure = np.full(plan.objects, -1)
    failed = round(plan.objects * plan.failed_share)
    if plan.failed_share > 0:
        chosen = rng.choice(plan.objects, size=max(1, failed), replace=False)
        failure[chosen] = np.arange(len(chosen)) % len(FAILURES)
    # Focus falls towards the right edge of a plate, as with a tilted one; objects of a site share it.
    focus = np.clip(1.05 - column / 12 + rng.normal(0, 0.12, field[-1] + 1)[field], 0, 1)
    features = _features(rng, focus=focus, channel=index % channels)
    return _Objects(
        path=path,
        object_id=[object_id(dataset, p) for p in path],
        unit_id=keys,
        names=names,
        failure=failure,
        interestingness=np.where(failure < 0, np.round(focus, 3), np.nan),
        features=features,
    )


def _names(
    *,
    plate: NDArray[np.int64],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    site: NDArray[np.int64],
    channel: NDArray[np.int64],
    channels: Sequence[str],
) -> dict[str, list[Any]]:
    return {
        "plate": [f"P{p + 1:03d}" for p in plate],
        "well": [f"{chr(64 + r)}{c:02d}" for r, c in zip(row, column, strict=True)],
        "row": row.tolist(),
        "column": column.tolist(),
        "site": [str(s) for s in site],
        "channel": [channels[c] for c in channel],
        "z": [None] * len(plate),
        "timepoint": [None] * len(plate),
        "acquired_at": [f"2024-03-{p % 28 + 1:02d}" for p in plate],
    }


def _features(
    rng: np.random.Generator, *, focus: NDArray[np.float64], channel: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    noise = rng.normal(size=(len(FEATURES), len(focus)))
    saturated = np.where(rng.random(len(focus)) < 0.03, 0.05, 0.0)
    values = [
        -2.6 + 1.2 * focus + 0.05 * noise[0],
        0.01 + 0.05 * focus + 0.002 * noise[1],
        0.9 - 0.5 * focus + 0.02 * noise[2],
        0.1 + 0.05 * channel + 0.01 * noise[3],
        100 * saturated,
        0.02 + 0.2 * focus + 0.005 * noise[5],
        2 + 12 * focus + 0.5 * noise[6],
        6 + 0.3 * noise[7],
        100 + 20 * channel + 3 * noise[8],
        saturated,
        0.002 + 0.2 * focus + 0.0005 * np.abs(noise[10]),
        200 + 2000 * focus + 20 * noise[11],
        100 + 500 * focus + 10 * noise[12],
        np.zeros(len(focus)),
        np.ones(len(focus)),
        1.1 + 0.01 * np.abs(noise[15]),
    ]
    return dict(zip(FEATURES, values, strict=True))


def _pick(values: Sequence[Any], rows: range) -> list[Any]:
    return list(values[rows.start : rows.stop])


def _scan(objects: _Objects, rows: range) -> pa.Table:
    paths = _pick(objects.path, rows)
    columns = {
        "object_id": _pick(objects.object_id, rows),
        "path": paths,
        "path_bytes": [path.encode() for path in paths],
        "bytes": [_size(objects, i) for i in rows],
        "mtime_ns": [1_700_000_000_000_000_000 + i for i in rows],
        "is_link": [False] * len(rows),
        "unit_id": _pick(objects.unit_id, rows),
        "layout": ["imagexpress"] * len(rows),
        **{name: _pick(values, rows) for name, values in objects.names.items()},
    }
    return pa.table(columns, schema=tables.SCAN)


def _size(objects: _Objects, i: int) -> int:
    return 0 if objects.failure[i] == 0 else 2 * SHAPE[0] * SHAPE[1] + i % 7


def _extract(objects: _Objects, rows: range, plan: Recipe) -> pa.Table:
    records = [record for i in rows for record in _planes(objects, i, plan)]
    return tables.from_rows(records, tables.extract_schema(FEATURES))


def _planes(objects: _Objects, i: int, plan: Recipe) -> list[dict[str, Any]]:
    base = {"object_id": objects.object_id[i], "sha256": _sha256(objects, i), "bytes": _size(objects, i)}
    if objects.failure[i] >= 0:
        flag, reason = FAILURES[objects.failure[i]]
        return [base | {"plane": -1, "status": "failed", "flag": flag, "reason": reason}]
    bins = [40 if 20 <= b < 148 else 0 for b in range(tables.HISTOGRAM_BINS)] if plan.histogram else None
    return [
        base
        | {name: float(values[i]) * (1 - 0.01 * plane) for name, values in objects.features.items()}
        | {"plane": plane, "series": 0, "c": 0, "z": plane, "t": 0, "status": "ok", "samples": 1, "dtype": "uint8"}
        | {"height": SHAPE[0], "width": SHAPE[1], "pixel_size_um": 0.65, "histogram": bins}
        | {"pixel_hash": hashlib.sha256(f"{objects.path[i]}{plane}".encode()).hexdigest()[:32]}
        for plane in range(plan.planes)
    ]


def _sha256(objects: _Objects, i: int) -> str:
    return hashlib.sha256(f"content of {objects.path[i]}".encode()).hexdigest()


def _flags(objects: _Objects, i: int) -> list[dict[str, Any]]:
    if objects.failure[i] >= 0:
        flag, reason = FAILURES[objects.failure[i]]
        return [{"flag": flag, "feature": None, "value": None, "limit": None, "text": reason}]
    found = []
    share, focus = float(objects.features["saturated_share"][i]), float(objects.interestingness[i])
    if share > 0.01:
        text = "more than 1 % of the pixels are at the detector's limit"
        found.append({"flag": "saturated", "feature": "saturated_share", "value": share, "limit": 0.01, "text": text})
    if focus < 0.1:
        value = float(objects.features["mid_band_share"][i])
        text = "little fine detail compared with the plate"
        found.append({"flag": "out_of_focus", "feature": "mid_band_share", "value": value, "limit": 0.04, "text": text})
    return found


def _score(objects: _Objects, rows: range) -> pa.Table:
    return tables.from_rows((_score_row(objects, i) for i in rows), tables.SCORE)


def _score_row(objects: _Objects, i: int) -> dict[str, Any]:
    details = _flags(objects, i)
    base = {
        "object_id": objects.object_id[i],
        "unit_id": objects.unit_id[i],
        "flags": [d["flag"] for d in details],
        "flag_details": details,
        "sha256": _sha256(objects, i),
        "bytes": _size(objects, i),
    }
    if objects.failure[i] >= 0:
        return base | {"status": "failed", "reason": FAILURES[objects.failure[i]][1]}
    value = float(objects.interestingness[i])
    band = float(objects.features["mid_band_share"][i])
    reason = f"mid_band_share {band:.3f} gives {value:.3f}"
    return base | {"status": "ok", "reason": reason, "interestingness": value, "best_plane": 0}


def _place(objects: _Objects, rows: range, output: Path) -> pa.Table:
    return tables.from_rows((_place_row(objects, i, output) for i in rows), tables.PLACE)


def _place_row(objects: _Objects, i: int, output: Path) -> dict[str, Any]:
    value = objects.interestingness[i]
    if np.isnan(value):
        tier, why = QUARANTINE, FAILURES[objects.failure[i]][1]
    else:
        tier, minimum = next((str(c["tier"]), c["minimum"]) for c in _CUTS if value >= float(str(c["minimum"])))
        why = f"interestingness {value:.3f} >= {minimum}"
    destination = output / "tiers" / tier / objects.path[i]
    return {
        "object_id": objects.object_id[i],
        "tier": tier,
        "why": why,
        "driver": "link",
        "placement": "placed",
        "destination": str(destination),
    }


def _baseline(objects: _Objects) -> pa.Table:
    plate, channel = np.array(objects.names["plate"]), np.array(objects.names["channel"])
    rows = []
    for p, c in sorted(set(zip(objects.names["plate"], objects.names["channel"], strict=True))):
        chosen = (plate == p) & (channel == c) & (objects.failure < 0)
        for name, values in objects.features.items():
            of_group = values[chosen]
            median = float(np.median(of_group)) if of_group.size else float("nan")
            mad = 1.4826 * float(np.median(np.abs(of_group - median))) if of_group.size else float("nan")
            rows.append(
                {"plate": p, "channel": c, "feature": name, "n": int(of_group.size), "median": median, "mad": mad}
            )
    return tables.from_rows(rows, tables.BASELINE)


def _write_images(objects: _Objects, source: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for i, path in enumerate(objects.path):
        target = source / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if objects.failure[i] >= 0:
            target.write_bytes(b"" if objects.failure[i] == 0 else b"hello world")
            continue
        coarse = rng.random((SHAPE[0] // 8, SHAPE[1] // 8)).repeat(8, 0).repeat(8, 1)
        fine = rng.random(SHAPE)
        focus = float(objects.interestingness[i])
        pixels = 40 + 120 * coarse + 80 * focus * fine
        Image.fromarray(pixels.astype(np.uint8)).save(target)

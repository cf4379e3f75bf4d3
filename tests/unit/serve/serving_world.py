"""A run small enough to be written by hand: some images, their records, a report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tifffile
import yaml

from tierflow import tables
from tierflow.catalogue.schema import CATALOGUE_VERSION, catalogue_schema
from tierflow.io.identity import object_id
from tierflow.serve.app import App, Response
from tierflow.serve.site import Site

FEATURES = {"snr": ""}


@dataclass(frozen=True)
class World:
    """A run."""

    input: Path
    output: Path

    def id(self, name: str) -> str:
        return object_id("world", name)

    def app(self, *, loopback_only: bool = True) -> App:
        return App(Site([self.output]), loopback_only=loopback_only)

    def get(self, target: str, method: str = "GET", **headers: str) -> Response:
        sent = {"host": "127.0.0.1:8600"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.app().respond(method, target, sent)

    def thumbnail(self, name: str, **headers: str) -> Response:
        return self.get(f"/thumbnail/{self.id(name)}.png", **headers)


def record(name: str, **values: Any) -> dict[str, Any]:
    base = {
        "object_id": object_id("world", name),
        "path": name,
        "path_bytes": name.encode(),
        "dataset": "world",
        "run": "world-1",
        "unit_id": name,
        "status": "ok",
        "interestingness": 0.5,
        "best_plane": 0,
        "tier": "A",
        "flags": [],
        "plate": "P1",
        "well": "A01",
    }
    return {**base, **values}


def write_run(output: Path, source: Path, records: list[dict[str, Any]], **config: Any) -> None:
    tree = {"input": str(source), "dataset": "world", "catalogue": {"run": "world-1"}, **config}
    output.mkdir(parents=True, exist_ok=True)
    (output / "config.yaml").write_text(yaml.safe_dump(tree))
    table = pa.Table.from_pylist(records, schema=catalogue_schema(FEATURES))
    tables.write(
        output / "catalogue" / "00000.parquet",
        table,
        input=str(source),
        dataset="world",
        catalogue_version=CATALOGUE_VERSION,
    )


def make_world(folder: Path) -> World:
    """Eight objects: ordinary, of several planes, placed, coloured, damaged, without pixels, deleted, oddly named."""
    source, output = folder / "images", folder / "results"
    source.mkdir()
    ramp = np.tile(np.arange(600, dtype=np.uint16), (300, 1))
    tifffile.imwrite(source / "ramp.tif", ramp)
    tifffile.imwrite(source / "planes.tif", np.stack([ramp, ramp[:, ::-1]]), photometric="minisblack")
    tifffile.imwrite(source / "colour.tif", np.full((50, 80, 3), (250, 10, 10), np.uint8), photometric="rgb")
    (source / "damaged.tif").write_bytes(b"II*\0 this is no image")
    (source / "text.tif").write_text("only words")
    (source / "<b>&.tif").write_bytes((source / "ramp.tif").read_bytes())
    placed = output / "tiers" / "A" / "placed.tif"
    placed.parent.mkdir(parents=True)
    tifffile.imwrite(placed, ramp.T.copy())
    records = [
        record("ramp.tif", interestingness=0.9),
        record("planes.tif", best_plane=1),
        record("placed.tif", destination="tiers/A/placed.tif", tier="B"),
        record("colour.tif"),
        record("damaged.tif", status="failed", interestingness=None, best_plane=None, tier="quarantine"),
        record("text.tif"),
        record("deleted.tif"),
        record("<b>&.tif", plate="<script>alert(1)</script>"),
    ]
    write_run(output, source, records)
    (output / "report.html").write_text("<!doctype html><title>report</title>")
    (output / "objects.csv").write_text("object_id,path\n")
    return World(source, output)

"""Step `report`: one HTML file that explains the run, and objects.csv with a row per object."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

from tierflow import config_io
from tierflow.catalogue.objects_csv import write_objects_csv
from tierflow.report.build import build, read_baseline, read_json
from tierflow.report.page import Material
from tierflow.report.source import CatalogueSource
from tierflow.steps._ports import In, Out, Param

if TYPE_CHECKING:
    from pathlib import Path


def run(*, summary: In, policy: In, baseline: In, catalogue: Param, config: Param, html: Out, objects: Out) -> None:
    """Write the report of a run.

    Args:
        summary: `scan/summary.json`.
        policy: `policy.json`, the resolved cut-offs.
        baseline: `baseline.parquet`.
        catalogue: Folder of the catalogue's Parquet files.
        config: Configuration file.
        html: The report to write.
        objects: The CSV file to write, a row per object.

    Raises:
        InputMissingError: if the catalogue holds no table.
        TableError: if one of its tables is damaged.
    """
    write_objects_csv(catalogue.parent, objects)
    material = Material(
        source=CatalogueSource(catalogue),
        config=config_io.load(config),
        summary=read_json(summary) or {},
        policy=read_json(policy),
        baseline=read_baseline(baseline),
        output=html.parent,
        csv=relative_address(objects, html.parent),
    )
    build(material, html)


def relative_address(target: Path, folder: Path) -> str:
    """Return the address of a file as a link in a page of `folder`."""
    return quote(os.path.relpath(os.fsencode(target), os.fsencode(folder)))

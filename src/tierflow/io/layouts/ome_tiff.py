"""OME-TIFF: names say nothing, the OME-XML in the header does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierflow.io.layouts.base import Layout, Names
from tierflow.io.layouts.headers import names_from

if TYPE_CHECKING:
    from collections.abc import Mapping


def parse(_: str) -> None:
    """Return None: only the header knows. Files named `.ome.tif` without OME-XML exist."""


def from_header(header: Mapping[str, str], path: str) -> Names | None:
    """Return what OME-XML says: plate, well and sample, the channel's name, the time of acquisition."""
    return names_from(header, path) if header.get("kind") == "ome_tiff" else None


LAYOUT = Layout(
    name="ome_tiff",
    about="OME-TIFF: OME-XML in the file's header (scan.read_headers)",
    example="any.ome.tif",
    specificity=1.0,
    parse=parse,
    from_header=from_header,
)

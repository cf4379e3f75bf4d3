"""MetaMorph XML in the header, as MetaXpress and MetaMorph write it, for files that were renamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierflow.io.layouts.base import Layout, Names
from tierflow.io.layouts.headers import names_from

if TYPE_CHECKING:
    from collections.abc import Mapping


def parse(_: str) -> None:
    """Return None: only the header knows."""


def from_header(header: Mapping[str, str], path: str) -> Names | None:
    """Return what the tags say: plate name, stage label ("E07 : Site 1"), illumination setting, local time."""
    return names_from(header, path) if header.get("kind") == "metamorph" else None


LAYOUT = Layout(
    name="metamorph",
    about="MetaMorph / MetaXpress XML in the file's header (scan.read_headers)",
    example="any.tif",
    specificity=1.0,
    parse=parse,
    from_header=from_header,
)

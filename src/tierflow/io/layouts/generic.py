"""Any file: the plate is its folder, nothing else is known."""

from __future__ import annotations

from tierflow.io.layouts.base import Layout, Names, folder_plate, split_path


def parse(path: str) -> Names:
    """Return the folder as the plate; fits every path."""
    return Names(plate=folder_plate(split_path(path)[0]))


LAYOUT = Layout(
    name="generic",
    about="any file; the folder counts as the plate",
    example="patient 12/left/image-0001.tif",
    specificity=0.05,
    parse=parse,
)

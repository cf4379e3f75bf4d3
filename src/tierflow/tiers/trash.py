"""Driver `trash`: out of the way, but nothing is ever deleted."""

from __future__ import annotations

from typing import ClassVar

from tierflow.tiers.move import Move


class Trash(Move):
    """Moves files into the folder `trash` of the output, from where `tierflow undo` brings them back."""

    name: ClassVar[str] = "trash"
    folder: ClassVar[str] = "trash"

"""Whose objects these are: the metadata field `owner`, else the owner of the file."""

from __future__ import annotations

import os
import pwd
from functools import cache
from typing import TYPE_CHECKING

from tierflow.catalogue.parquet import current_path

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from tierflow.config import Config

GONE = "(file not found)"


def owners_of(objects: pa.Table, *, output: Path, config: Config) -> list[str | None]:
    """Return the owner of every object.

    Args:
        objects: Catalogue with the columns path, path_bytes and destination, and `metadata.owner` where the
            configuration declares the field `owner`.
        output: Output folder of the run.
        config: Its configuration.
    """
    if "metadata.owner" in objects.column_names:
        return [None if value is None else str(value) for value in objects["metadata.owner"].to_pylist()]
    columns = zip(*(objects[name].to_pylist() for name in ("path", "path_bytes", "destination")), strict=True)
    return [
        _owner(current_path(path=path, path_bytes=raw, destination=place, source=config.input or "", output=output))
        for path, raw, place in columns
    ]


def _owner(path: bytes) -> str:
    try:
        # Of a symbolic link the owner of the image counts, not of the link.
        return _name(os.stat(path).st_uid)  # noqa: PTH116 - pathlib can't hold bytes
    except OSError:
        return GONE


@cache
def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)

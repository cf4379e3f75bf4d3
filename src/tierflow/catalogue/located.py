"""Find the files of a search: each object's record with the place where its file is now."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tierflow.catalogue.parquet import current_path
from tierflow.catalogue.query import Query
from tierflow.objectstore.connect import is_url, place_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tierflow.catalogue.base import Catalogue, Folders
    from tierflow.objectstore.connect import Place

NEEDED = ("object_id", "path", "path_bytes", "run", "destination")
"""Columns without which a file can't be found."""


class Located(NamedTuple):
    """One object of a search.

    Attributes:
        path: Where its file is now, as far as the catalogue knows.
        record: Its record.
        folders: Folders of its run.
    """

    path: Place
    record: dict[str, Any]
    folders: Folders


def located(catalogue: Catalogue, query: Query) -> Iterator[Located]:
    """Yield the objects of a query with the places of their files, in the order of the query.

    Args:
        catalogue: Any backend.
        query: What to find; its cursor is not used. Columns that places need are added to its columns.
    """
    asked = query.columns and (*query.columns, *NEEDED)
    folders: dict[str, Folders] = {}
    for batch in catalogue.batches(Query(query.filters, sort=query.sort, limit=query.limit, columns=asked)):
        for record in batch.to_pylist():
            run = record["run"]
            if run not in folders:
                folders[run] = catalogue.folders(run)
            yield Located(place_of(record, folders[run]), record, folders[run])


def place_of(record: Mapping[str, Any], folders: Folders) -> Place:
    """Return where an object's file is now, as an absolute path or a place in an object store.

    Args:
        record: At least the columns `path`, `path_bytes` and `destination`.
        folders: Folders of its run.
    """
    raw = current_path(
        path=record["path"],
        path_bytes=record["path_bytes"],
        destination=record["destination"],
        source=folders.source,
        output=Path(folders.output),
    )
    text = os.fsdecode(raw)
    return place_at(text) if is_url(text) else Path(text).absolute()

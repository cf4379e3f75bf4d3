"""Open a catalogue by what a user calls it: the output folder of a run, or the address of a server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tierflow.errors import ConfigError, InputMissingError

if TYPE_CHECKING:
    from tierflow.catalogue.base import Catalogue

_WEB = re.compile(r"https?://", re.IGNORECASE)
_EXPECTED = "expected the output folder of a run, or the address of a server such as http://host:9200/lab-objects"


def open_catalogue(where: str | Path) -> Catalogue:
    """Open the catalogue of one run or of a server.

    Args:
        where: Output folder of a run, or an http(s) address, optionally with the alias as its path.

    Raises:
        ConfigError: if it is neither.
        InputMissingError: if there is no such folder.
    """
    if isinstance(where, str) and _WEB.match(where):
        # The server's client costs 0.2 s to import; a search in a folder needn't wait for it.
        from tierflow.catalogue.elastic.connection import settings_of
        from tierflow.catalogue.elastic.search import ElasticCatalogue

        return ElasticCatalogue(settings_of(where))
    if isinstance(where, str) and (not where or "://" in where):
        raise ConfigError(
            f"{where!r} can't be searched: {_EXPECTED}; a run on an object store is searched after it was published to "
            "a server, or fetched into a folder (docs/object-stores.md)"
        )
    return _of_folder(Path(where).expanduser())


def _of_folder(folder: Path) -> Catalogue:
    from tierflow.catalogue.parquet import ParquetCatalogue

    if folder.is_file():
        raise ConfigError(f"{folder} is a file: {_EXPECTED}")
    if not folder.is_dir():
        raise InputMissingError(f"{folder} is no folder: {_EXPECTED}")
    if folder.name == "catalogue" and not (folder / "catalogue").is_dir() and (folder.parent / "scan").is_dir():
        raise ConfigError(f"{folder} is a part of a run: give the run's output folder {folder.parent}")
    return ParquetCatalogue(folder)

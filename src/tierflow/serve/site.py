"""The runs that are served: which there are, and where the file of an object is now."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tierflow import config_io
from tierflow.catalogue.parquet import ParquetCatalogue
from tierflow.errors import InputMissingError
from tierflow.render.snakemake import CONFIG_FILE
from tierflow.stream.batch import LEDGER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tierflow.config import Config


@dataclass(frozen=True, slots=True)
class Run:
    """One run.

    Attributes:
        number: Its number in addresses, from 1; stays while the server runs.
        output: Its output folder.
        catalogue: Its catalogue.
    """

    number: int
    output: Path
    catalogue: ParquetCatalogue = field(repr=False)

    @property
    def has_stream(self) -> bool:
        """Whether a folder is watched for it, or was."""
        return (self.output / LEDGER).is_file()

    def config(self) -> Config:
        """Return its configuration as it is now.

        Raises:
            InputMissingError: if the run is gone.
            ConfigError: if it can't be read.
        """
        return config_io.load(self.output / CONFIG_FILE)

    def record(self, object_id: str) -> dict[str, Any] | None:
        """Return the record of an object; None if the run hasn't got it, or no catalogue yet.

        Raises:
            TryAgainError: if the catalogue changes at this moment.
            TableError: if it is damaged.
        """
        try:
            return self.catalogue.get(object_id)
        except InputMissingError:
            return None


class Site:
    """The runs that are served.

    Args:
        folders: Output folders of runs, and folders that hold such folders, in which new runs may appear later.

    Raises:
        InputMissingError: if a folder isn't there.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        missing = [str(folder) for folder in folders if not folder.is_dir()]
        if missing:
            raise InputMissingError(f"{', '.join(missing)}: no such folder; give the --output of `tierflow run`")
        self._folders = [folder.absolute() for folder in folders]
        self._lock = threading.Lock()
        self._runs: dict[Path, Run] = {}

    def runs(self) -> list[Run]:
        """Return the runs that are there now, in the order of their numbers."""
        with self._lock:
            outputs = [output for folder in self._folders for output in _outputs(folder)]
            for output in outputs:
                if output not in self._runs:
                    self._runs[output] = Run(len(self._runs) + 1, output, ParquetCatalogue(output))
            present = set(outputs)
            return [run for output, run in self._runs.items() if output in present]

    def empty(self) -> list[Path]:
        """Return the folders that hold no run now; some may appear later."""
        return [folder for folder in self._folders if not _outputs(folder)]

    def run(self, number: int) -> Run | None:
        """Return the run of that number, None if there is none."""
        return next((run for run in self.runs() if run.number == number), None)


def _outputs(folder: Path) -> list[Path]:
    if (folder / CONFIG_FILE).is_file():
        return [folder]
    try:
        return sorted(child for child in folder.iterdir() if (child / CONFIG_FILE).is_file())
    except OSError:
        return []

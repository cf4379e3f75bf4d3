"""Outputs that an administrator names on the command line: their configuration, run and records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tierflow import config_io, tables
from tierflow.catalogue.elastic.connection import address_of
from tierflow.catalogue.engine import Engine
from tierflow.catalogue.provenance import UNNAMED_RUN
from tierflow.errors import ConfigError
from tierflow.render.snakemake import CONFIG_FILE, configuration_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from tierflow.config import Config, Elasticsearch


@dataclass(frozen=True, slots=True)
class Output:
    """An output folder with a catalogue.

    Attributes:
        folder: The folder.
        config: Its configuration.
        files: Catalogue tables that belong to its scan, sorted.
        schema: Union of their columns.
        run: Name of its run.
        records: Number of records.
    """

    folder: Path
    config: Config
    files: tuple[str, ...]
    schema: pa.Schema
    run: str
    records: int

    def tables(self) -> Iterator[pa.Table]:
        """Yield the catalogue tables, one at a time."""
        return (tables.read(Path(name)) for name in self.files)


def open_output(folder: Path) -> Output:
    """Read what an output's catalogue consists of.

    Raises:
        InputMissingError: if the folder holds no run, or no catalogue yet.
        TableError: if a table is damaged.
        ConfigError: if its records are of another run than the configuration names.
    """
    config = config_of(folder)
    snapshot = Engine(folder, threads=1, memory_mb=200).snapshot()
    run = config.catalogue.run or UNNAMED_RUN
    records = 0
    for name in snapshot.files:
        found = tables.read(Path(name), ["run"])["run"]
        records += len(found)
        others = [str(other) for other in found.unique().to_pylist() if other != run]
        if others:
            raise ConfigError(
                f"{name} has records of run {others[0]!r}, but {folder / CONFIG_FILE} says {run!r}: finish the run by "
                f"`tierflow run`, then try again"
            )
    return Output(folder, config, snapshot.files, snapshot.schema, run, records)


def config_of(folder: Path) -> Config:
    """Return the configuration of an output.

    Raises:
        InputMissingError: if the folder doesn't hold a run.
    """
    return config_io.load(configuration_of(folder))


def common_settings(outputs: Sequence[Output]) -> Elasticsearch:
    """Return the settings of the server that all outputs publish to.

    Raises:
        ConfigError: if they name different servers or aliases, or two are the same run.
    """
    first = outputs[0]
    runs: dict[str, Path] = {}
    for output in outputs:
        ours, theirs = first.config.catalogue.elasticsearch, output.config.catalogue.elasticsearch
        if (address_of(ours), ours.alias) != (address_of(theirs), theirs.alias):
            raise ConfigError(
                f"{first.folder} publishes to {ours.alias} at {address_of(ours)}, {output.folder} to {theirs.alias} at "
                f"{address_of(theirs)}: give outputs of one alias at a time"
            )
        if output.run in runs:
            raise ConfigError(f"{runs[output.run]} and {output.folder} are both run {output.run!r}: give one of them")
        runs[output.run] = output.folder
    return first.config.catalogue.elasticsearch

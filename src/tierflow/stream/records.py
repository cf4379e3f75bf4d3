"""Catalogue records of a micro-batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tierflow import metadata_table, tables
from tierflow.catalogue.provenance import provenance
from tierflow.catalogue.records import join
from tierflow.catalogue.schema import CATALOGUE_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from tierflow.catalogue.records import Provenance
    from tierflow.config import Config


class Records:
    """Makes catalogue records as the step `index` does, from tables in memory.

    Args:
        config: Configuration of the stream.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._metadata: tuple[int, pa.Table] | None = None
        self._provenance: dict[str, Provenance] = {}

    def make(self, found: Mapping[str, pa.Table]) -> pa.Table:
        """Return the records of a batch, with the stamps of a catalogue table.

        Args:
            found: Tables scan, extract, score and place of the same objects, in the same order.

        Raises:
            TableError: if a table lacks an object.
            ConfigError: if the table of what is known about the objects is wrong.
        """
        stamp = tables.metadata_of(found["scan"])
        dataset = stamp.get("dataset", self._config.dataset_name)
        if dataset not in self._provenance:
            self._provenance[dataset] = provenance(self._config, dataset=dataset)
        made = replace(
            self._provenance[dataset],
            measured_at=tables.metadata_of(found["extract"]).get("at"),
            scored_at=tables.metadata_of(found["score"]).get("at"),
        )
        records = join(
            shard=found["scan"],
            extract=found["extract"],
            score=found["score"],
            place=found["place"],
            provenance=made,
            metadata=self._known(found["scan"]),
            histogram=self._config.catalogue.histogram,
        )
        source = stamp.get("input", self._config.input or "")
        return tables.stamped(records, input=source, dataset=dataset, catalogue_version=CATALOGUE_VERSION)

    def _known(self, objects: pa.Table) -> pa.Table | None:
        """Return the user's fields; that a batch has no object in their table is no error, unlike a whole data set."""
        declared = self._config.metadata
        if not declared.table:
            return None
        changed_at = Path(declared.table).stat().st_mtime_ns if Path(declared.table).exists() else 0
        if self._metadata is None or self._metadata[0] != changed_at:
            self._metadata = changed_at, metadata_table.read(self._config)
        return metadata_table.join(objects, self._metadata[1], declared)
